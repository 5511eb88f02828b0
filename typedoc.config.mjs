// Every exported name of the public entry is documented: `npm run check` fails on what is missing, and on broken links.
import { ERROR_CODES } from './dist/base/errors.js';
import { METRICS } from './dist/base/metrics.js';

// Properties of union members are explained by the comment of their member.
const MEMBERS = {
  PathEvent: ['type', 'id', 'remoteAddr', 'reason', 'missed'],
  PathAbandonReason: ['type', 'code'],
  TransportAddr: ['type', 'url', 'addr'],
  TransportAddrJson: ['Relay', 'Ip', 'Custom', 'Custom.__type.id', 'Custom.__type.data'],
  'ParseError.toJSON': ['name', 'code', 'message'],
  'TransportConfig.keyUpdateAfterPackets': ['min', 'max'],
  // A code's text is its documentation.
  ERROR_CODES: Object.keys(ERROR_CODES),
  METRICS: Object.keys(METRICS),
};

export default {
  entryPoints: ['src/index.ts'],
  tsconfig: 'tsconfig.build.json',
  readme: 'none',
  emit: 'none',
  disableGit: true,
  sourceLinkTemplate: 'src/{path}#L{line}',
  excludeInternal: true,
  excludePrivate: true,
  intentionallyNotDocumented: Object.entries(MEMBERS).flatMap(([name, properties]) =>
    properties.map((property) => `${name}.__type.${property}`),
  ),
  requiredToBeDocumented: [
    'Class',
    'Interface',
    'TypeAlias',
    'Function',
    'Variable',
    'Method',
    'Accessor',
    'Property',
  ],
  // What an engine is, is read in its source; endpoints only hand it on.
  intentionallyNotExported: ['QuicEngine', 'EngineOptions'],
  validation: { notDocumented: true, notExported: true, invalidLink: true },
  treatWarningsAsErrors: true,
  treatValidationWarningsAsErrors: true,
};
