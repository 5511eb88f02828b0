/**
 * What neighbours say: a datagram to the group, as a node takes it.
 *
 * @module
 */
import {
  MAX_MDNS_DATAGRAM_BYTES,
  decodeMdnsMessage,
  encodeMdnsAnswer,
  encodeMdnsQuery,
  serviceDomain,
} from '../../../src/address-lookup/mdns-message.ts';
import { Swarm } from '../../../src/address-lookup/mdns-swarm.ts';
import { MAX_ADDRS_PER_ANSWER } from '../../../src/address-lookup/endpoint-info.ts';
import { concatBytes, fromHex, utf8 } from '../../../src/base/bytes.ts';
import { encodeBase32 } from '../../../src/base/encoding.ts';
import { EndpointAddr } from '../../../src/base/endpoint-addr.ts';
import { EndpointId } from '../../../src/base/endpoint-id.ts';
import { DnsError } from '../../../src/base/errors.ts';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { toAddr } from '../../../src/base/socket-addr.ts';
import type { TransportAddr } from '../../../src/base/transport-addr.ts';
import {
  CLASS_IN,
  EMPTY_MESSAGE,
  TYPE_A,
  TYPE_SRV,
  TYPE_TXT,
  encodeDnsMessage,
  encodeTxt,
} from '../../../src/dns/message.ts';
import { encodeSrv } from '../../../src/dns/srv.ts';
import { SimRng } from '../../support/sim-rng.ts';
import { clientKey, serverKey } from '../../support/tls-pair.ts';
import { must, refused, type Target } from '../target.ts';

const SERVICE = 'irohv1';
const DOMAIN = serviceDomain(SERVICE);
const SELF = EndpointId.fromBytes(serverKey);
const PEER = EndpointId.fromBytes(clientKey);
const ip = (text: string, port: number): TransportAddr => ({ type: 'ip', addr: toAddr(text, port) });
const ADDRS = [
  ip('192.0.2.1', 1),
  ip('2001:db8::1', 2),
  { type: 'relay', url: RelayUrl.parse('https://r.example/') },
] as const;

const answer = (id: EndpointId, addrs: readonly TransportAddr[], userData?: string): Uint8Array =>
  encodeMdnsAnswer(DOMAIN, { addr: new EndpointAddr(id, addrs), userData })!;

/** An answer with these names, as short as it gets. */
function short(owner: string, target: string, ...strings: string[]): Uint8Array {
  const record = { class: CLASS_IN, ttl: 0 };
  return encodeDnsMessage({
    ...EMPTY_MESSAGE,
    answers: [
      {
        ...record,
        name: owner,
        type: TYPE_SRV,
        data: encodeSrv({ priority: 0, weight: 0, port: 9, target }),
      },
      { ...record, name: owner, type: TYPE_TXT, data: encodeTxt(strings.map(utf8)) },
    ],
    additionals: [{ ...record, name: target, type: TYPE_A, data: Uint8Array.of(192, 0, 2, 1) }],
  });
}

export const mdns: Target = {
  name: 'mdns',
  decoders: [
    {
      file: 'src/address-lookup/mdns-message.ts',
      except: /^(encode|toMessage|toRecord|targetOf)/,
    },
    { file: 'src/dns/srv.ts', except: /^encode/ },
  ],
  maxLength: MAX_MDNS_DATAGRAM_BYTES + 8,
  // As many keys as fit into a datagram are looked at: some 19.
  maxWork: 400_000,
  seeds: () => [
    encodeMdnsQuery(DOMAIN),
    encodeMdnsQuery(serviceDomain('ipp')),
    answer(PEER, ADDRS, 'hello'),
    answer(SELF, ADDRS),
    answer(PEER, [ip('192.0.2.1', 1)]),
    short(`a.${DOMAIN}`, 'b.local', 'relay=', 'flag', '=x', 'k=v', 'k=w'),
    short(`${PEER.toString().slice(0, 63)}.${DOMAIN}`, 'b.local', `user-data=${'x'.repeat(245)}`),
    short(`${encodeBase32(PEER.toBytes())}.${DOMAIN}`, 'b.local', 'relay=no url', 'user-data=x'),
    concatBytes(encodeMdnsQuery(DOMAIN), new Uint8Array(MAX_MDNS_DATAGRAM_BYTES)),
  ],
  dictionary: [
    fromHex('c00c'),
    fromHex('00210001'),
    fromHex('00100001'),
    fromHex('001c0001'),
    utf8('relay='),
    utf8('user-data='),
    concatBytes(Uint8Array.of(5), utf8('local')),
  ],
  run: (bytes) => {
    const isRefused = refused(
      () => {
        const message = decodeMdnsMessage(DOMAIN, bytes);
        for (const { addrs, label } of message.type === 'answer' ? message.peers : []) {
          must(addrs.length > 0 && addrs.length <= MAX_ADDRS_PER_ANSWER, `${addrs.length} addresses`);
          must(label !== '' && label === label.toLowerCase(), `a label as it was sent: ${label}`);
        }
      },
      (error) => error instanceof DnsError,
    );
    const swarm = new Swarm({ serviceName: SERVICE, rng: new SimRng(1) });
    swarm.setSelf(SELF, undefined);
    swarm.begin(0);
    const outputs = swarm.receive(bytes, 4, 1);
    must(
      outputs.every(({ type }) => type === 'discovered') && outputs.length === swarm.peers.length,
      'a datagram did something else than to tell of its peers',
    );
    must(swarm.peer(SELF) === undefined, 'we are among our neighbours');
    if (isRefused) must(swarm.refused.size === 1, 'what is refused is not counted');
    // It goes on as before: in two steps there is a question of ours.
    const [first, second] = [swarm.advance(swarm.deadline), swarm.advance(swarm.deadline)];
    must(
      [...first, ...second].some(({ type }) => type === 'send'),
      'a datagram silenced the node',
    );
  },
};
