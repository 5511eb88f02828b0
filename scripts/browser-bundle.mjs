// The core as a browser gets it: bundled without anything of Node, its size printed, and run: two endpoints on a network
// in memory exchange an echo where no global of Node exists.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const fail = (...reasons) => {
  console.error(...reasons);
  process.exit(1);
};

/** Bundles an entry for browsers; fails on anything of Node. */
async function bundle(entry) {
  const result = await build({
    ...entry,
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'esm',
    write: false,
    logLevel: 'silent',
    conditions: ['browser'],
    metafile: true,
    absWorkingDir: root,
  }).catch((error) => fail('the browser bundle cannot be made:', error.message));
  if (result.warnings.length > 0) fail('warnings of the browser bundle:', result.warnings);
  const { text } = result.outputFiles[0];
  const inputs = Object.keys(result.metafile.inputs);
  const ofNode = [/["']node:/, /\bBuffer\b/].filter((pattern) => pattern.test(text));
  if (ofNode.length > 0) fail('the browser bundle needs Node:', ofNode.map(String));
  return { text, inputs };
}

const { text, inputs } = await bundle({ entryPoints: ['dist/index.browser.js'] });
const kib = (bytes) => `${(bytes / 1_024).toFixed(0)} KiB`;
const ours = inputs.filter((path) => path.startsWith('dist/')).length;
console.log(
  `browser bundle: ${kib(text.length)}, ${kib(gzipSync(text).length)} gzip, ${ours} modules of ours`,
);

const echo = await bundle({
  stdin: {
    resolveDir: root,
    contents: `
      import { Endpoint } from './dist/index.browser.js';
      import { MemoryNetwork } from './dist/transport/memory.js';
      import { systemPlatform } from './dist/transport/system-platform.browser.js';

      const network = new MemoryNetwork(systemPlatform.clock);
      const platform = { ...systemPlatform, bindUdp: async (request) => network.bind(request) };
      const bind = ['10.0.0.1:0', '[fd00::1]:0'];
      const server = await Endpoint.bind({ preset: 'minimal', platform, alpns: ['echo'], bind });
      const client = await Endpoint.bind({ preset: 'minimal', platform, bind: ['10.0.0.2:0', '[fd00::2]:0'] });
      const serve = async () => {
        const connection = await (await server.accept()).accept();
        const { send, recv } = await connection.acceptBi();
        await recv.readable.pipeTo(send.writable);
        await connection.closed;
      };
      const serving = serve();
      const connection = await client.connect(server.addr.toTicket(), 'echo', { timeoutMs: 20_000 });
      const { send, recv } = await connection.openBi();
      const sent = new Uint8Array(200_000).map((_, i) => i % 251);
      await send.write(sent);
      send.finish();
      const back = await recv.readToEnd(sent.length);
      connection.close(0, 'bye');
      await serving;
      await client.close();
      await server.close();
      const isEqual = back.length === sent.length && back.every((byte, i) => byte === sent[i]);
      console.log(JSON.stringify({ isEqual, bytes: back.length, isAuthentic: connection.remoteId.equals(server.id) }));
    `,
  },
});

const folder = mkdtempSync(join(tmpdir(), 'iroh-ts-browser-'));
try {
  const bundlePath = join(folder, 'bundle.mjs');
  writeFileSync(bundlePath, echo.text);
  const runner = join(folder, 'run.mjs');
  // Node's own globals go before the bundle is loaded; what remains is what browsers have, too.
  writeFileSync(
    runner,
    `for (const name of ['process', 'Buffer', 'global', 'require', 'module', 'setImmediate', 'clearImmediate'])
       delete globalThis[name];
     await import(${JSON.stringify(pathToFileURL(bundlePath).href)});`,
  );
  const { status, stdout, stderr } = spawnSync(process.execPath, [runner], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  const expected = JSON.stringify({ isEqual: true, bytes: 200_000, isAuthentic: true });
  if (status !== 0 || stdout.trim() !== expected)
    fail(`the browser bundle does not echo (${relative(root, bundlePath)}):`, stdout, stderr);
  console.log('browser bundle: two endpoints in memory echo 200000 bytes without any global of Node');
} finally {
  rmSync(folder, { recursive: true, force: true });
}
