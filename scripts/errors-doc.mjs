// Writes docs/errors.md from the table in src/base/errors.ts; `--check` fails when the file is stale.
import { readFileSync, writeFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';
import { ERROR_CODES } from '../dist/base/errors.js';

const families = new Map();
for (const [code, meaning] of Object.entries(ERROR_CODES)) {
  const family = code.slice(0, code.indexOf('.'));
  families.set(family, [...(families.get(family) ?? []), `| \`${code}\` | ${meaning} |`]);
}
const sections = [...families].map(
  ([family, rows]) => `## ${family}\n\n| code | meaning |\n| --- | --- |\n${rows.join('\n')}\n`,
);
const text = `# Errors

Generated from \`src/base/errors.ts\` by \`npm run docs:errors\`. Do not edit.

Every error of this library is an \`IrohError\` with a \`code\`. Test for one with \`isIrohError(error, 'ConnectError')\` (a family)
or \`isIrohError(error, 'ConnectionError.TimedOut')\` (a leaf). \`cause\` leads to the reason, \`toJSON()\` gives plain data.

${sections.join('\n')}`;
const path = 'docs/errors.md';
const formatted = await format(text, { ...(await resolveConfig(path)), parser: 'markdown' });
if (!process.argv.includes('--check')) {
  writeFileSync(path, formatted);
} else if (readFileSync(path, 'utf8') !== formatted) {
  console.error('docs/errors.md is stale: npm run docs:errors');
  process.exit(1);
}
