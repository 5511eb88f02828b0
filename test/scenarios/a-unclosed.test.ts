/** A21: an endpoint that is dropped without `close`; in processes of their own, where garbage is collected on demand. */
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { endPrograms, runNode } from '../support/program.ts';

const PROGRAM = `
  import { Endpoint, Router } from ${JSON.stringify(join(import.meta.dirname, '..', '..', 'dist', 'index.js'))};
  const lines = [];
  const bind = (options) => Endpoint.bind({ bind: ['127.0.0.1:0'], logger: { debug: (line) => lines.push(line) }, ...options });
  const kept = [];
  async function use() {
    // Used in every way that might keep a handle alive.
    const dropped = await bind({ alpns: ['test'] });
    const closed = await bind();
    const accepted = dropped.accept().then((incoming) => incoming.accept().connected);
    const ours = await closed.connect(dropped.addr, 'test');
    kept.push(ours, await accepted, dropped.id, dropped.addr$, dropped.metrics(), dropped.externalAddrs, dropped.relays, dropped.lookup);
    dropped.addr$.subscribe(() => undefined);
    dropped.closed.then(() => undefined);
    kept.push(new WeakRef(dropped));
    await closed.close();
    // Somebody waits for attempts, so it is in use.
    const serving = await bind({ alpns: ['test'] });
    serving.accept();
    kept.push(new WeakRef(serving));
    const routed = await bind();
    Router.builder(routed).accept('test', () => undefined).spawn();
    kept.push(new WeakRef(routed));
    // Nobody waits for its end, but it has been asked for.
    void (await bind()).close();
  }
  await use();
  for (let i = 0; i < 20; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    globalThis.gc();
  }
  const refs = kept.filter((each) => each instanceof WeakRef).map((ref) => ref.deref() !== undefined);
  const id = kept[2].toString().slice(0, 10);
  console.log(JSON.stringify({ id, refs, lines: lines.filter((line) => line.includes('never closed')) }));
  process.exit();
`;

afterEach(endPrograms);

test('A21: an endpoint that is collected unclosed warns once; others do not', async () => {
  const program = runNode(['--expose-gc', '--input-type=module', '-e', PROGRAM]);
  const { code, stdout, stderr } = await program.ended();
  expect({ code, stderr: stderr.replace(/\b[0-9a-f]{10}\b/g, '<id>') }).toEqual({
    code: 0,
    stderr:
      'iroh-ts: endpoint <id> was collected as garbage and never closed: its sockets stay open, its peers are not told. ' +
      'Await endpoint.close(), or use "await using".\n',
  });
  const { id, refs, lines } = JSON.parse(stdout) as { id: string; refs: boolean[]; lines: string[] };
  expect(refs).toEqual([false, true, true]);
  expect(stderr).toContain(id);
  expect(lines).toEqual([expect.stringMatching(`^iroh:endpoint ${id} was collected as garbage`)]);
}, 30_000);
