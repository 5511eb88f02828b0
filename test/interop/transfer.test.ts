/**
 * Bulk data with real iroh: byte-identical, one stream, each way, whoever dialled.
 *
 * 16 MiB a piece, because the binding moves bytes as arrays of numbers; IROH_INTEROP_MIB=256 moves more, and
 * test/interop/rust moves 256 MiB with a peer that does not.
 */
import { afterEach, describe, expect, test } from '@jest/globals';
import { fork, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { EndpointAddr, EndpointId, parseAddr, type Connection, type Endpoint } from '../../src/index.ts';
import { ALPN, bindOurs, DIALLERS, WAIT, type Dialler } from './native.ts';

const MIB = 1_024 * 1_024;
const LENGTH = Number(process.env['IROH_INTEROP_MIB'] ?? 16) * MIB;
const CHUNK = 64 * 1_024;
/** Half a megabyte a second: the binding shares a busy machine. */
const TIME_LIMIT_MS = 30_000 + (2 * LENGTH) / 500;

interface Report {
  readonly bytes: number;
  readonly sha256: string;
}

/** A real endpoint in another process. */
class NativeChild {
  readonly #process: ChildProcess;

  constructor() {
    this.#process = fork(fileURLToPath(new URL('native-child.mjs', import.meta.url)), {
      // No loader options of the test runner.
      execArgv: ['--no-deprecation'],
    });
  }

  async message<T>(): Promise<T> {
    const [message] = (await once(this.#process, 'message')) as [T];
    return message;
  }

  send(message: object): void {
    this.#process.send(message);
  }

  async end(): Promise<void> {
    this.send({ close: true });
    if (this.#process.exitCode === null) await once(this.#process, 'exit');
  }
}

let child: NativeChild | undefined;
let our: Endpoint | undefined;

afterEach(async () => {
  await Promise.all([our?.close(), child?.end()]);
});

async function connect(dialler: Dialler): Promise<{ ours: Connection; theirs: NativeChild }> {
  child = new NativeChild();
  our = await bindOurs();
  const { id, addr } = await child.message<{ id: string; addr: string }>();
  if (dialler === 'we dial') {
    const remote = new EndpointAddr(EndpointId.parse(id), [{ type: 'ip', addr: parseAddr(addr) }]);
    const [ours] = await Promise.all([our.connect(remote, ALPN, WAIT), child.message()]);
    return { ours, theirs: child };
  }
  const at = our.boundSockets.find(({ family }) => family === 4)!;
  const connected = child.message();
  child.send({ connect: { id: our.id.toString(), addr: at.text } });
  const ours = await (await our.accept(WAIT))!.accept().connected;
  await connected;
  return { ours, theirs: child };
}

describe(`${LENGTH / MIB} MiB each way, byte-identical`, () => {
  test.each(DIALLERS)(
    '%s',
    async (dialler) => {
      const { ours, theirs } = await connect(dialler);

      theirs.send({ sink: true });
      const sunk = theirs.message<Report>();
      const send = await ours.openUni();
      const chunk = randomBytes(CHUNK);
      const sent = createHash('sha256');
      for (let at = 0; at < LENGTH; at += CHUNK) {
        // Each chunk is another one, so that one in a wrong place shows.
        chunk.writeUInt32LE(at, 0);
        sent.update(chunk);
        await send.write(chunk);
      }
      send.finish();
      expect(await sunk).toEqual({ bytes: LENGTH, sha256: sent.digest('hex') });
      expect(await send.stopped).toBeUndefined();

      theirs.send({ source: LENGTH });
      const sourced = theirs.message<Report>();
      const received = createHash('sha256');
      let bytes = 0;
      for await (const piece of await ours.acceptUni()) {
        bytes += piece.length;
        received.update(piece);
      }
      expect(await sourced).toEqual({ bytes, sha256: received.digest('hex') });
      expect(bytes).toBe(LENGTH);
      ours.close();
    },
    TIME_LIMIT_MS,
  );
});
