// Bundles the core as a browser would get it, and fails when anything of Node is in it. Prints the size.
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const result = await build({
  entryPoints: ['dist/index.browser.js'],
  bundle: true,
  minify: true,
  platform: 'browser',
  format: 'esm',
  write: false,
  logLevel: 'silent',
  conditions: ['browser'],
  metafile: true,
});
const text = result.outputFiles[0].text;
const offending = [/["']node:/, /\bBuffer\b/, /\bprocess\./].filter((pattern) => pattern.test(text));
if (result.warnings.length > 0 || offending.length > 0) {
  console.error('the browser bundle needs Node:', offending.map(String), result.warnings);
  process.exit(1);
}
console.log(
  `browser bundle: ${(text.length / 1024).toFixed(0)} KiB, ${(gzipSync(text).length / 1024).toFixed(0)} KiB gzip`,
);
