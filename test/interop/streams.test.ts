/** Streams with real iroh, in both roles: bytes, ends, resets, stops, credit, what stays readable after a close. */
import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../src/base/bytes.ts';
import {
  DIALLERS,
  eventually,
  nativeBytes,
  nativeMessage,
  readNative,
  withPair,
  type NativeConnection,
} from './native.ts';
import { sameBytes, sourceBytes } from './source-bytes.ts';

const LIMIT = 16 << 20;

/** Sends back what each of `count` streams brings. */
async function echoNative(connection: NativeConnection, count: number): Promise<void> {
  const echoes: Promise<void>[] = [];
  for (let i = 0; i < count; i++) {
    const { send, recv } = await connection.acceptBi();
    const echo = async (): Promise<void> => {
      await send.writeAll(await recv.readToEnd(LIMIT));
      await send.finish();
    };
    echoes.push(echo());
  }
  await Promise.all(echoes);
}

describe('L08: echo, unidirectional stream, datagram', () => {
  test.each(DIALLERS)('%s', (dialler) =>
    withPair(dialler, async ({ ours, theirs }) => {
      const echo = echoNative(theirs, 1);
      const { send, recv } = await ours.openBi();
      await send.write(utf8('hello'));
      send.finish();
      expect(await recv.readToEnd(LIMIT)).toEqual(utf8('hello'));
      await echo;
      expect(await send.stopped).toBeUndefined();

      const uni = await ours.openUni();
      await uni.write(utf8('one way'));
      uni.finish();
      expect(await readNative(await theirs.acceptUni())).toEqual(utf8('one way'));

      const back = await theirs.openUni();
      await back.writeAll(nativeBytes('and back'));
      await back.finish();
      expect(await (await ours.acceptUni()).readToEnd(LIMIT)).toEqual(utf8('and back'));

      ours.sendDatagram(utf8('ping'));
      expect(await theirs.readDatagram()).toEqual(nativeBytes('ping'));
      theirs.sendDatagram(nativeBytes('pong'));
      expect(await ours.readDatagram()).toEqual(utf8('pong'));
    }),
  );
});

describe('B03: the server closes after a unidirectional stream', () => {
  test('we dial: stream and `closed` tell code 7 and the reason', () =>
    withPair('we dial', async ({ ours, theirs }) => {
      const uni = await ours.openUni();
      await uni.write(utf8('anybody there?'));
      await (await theirs.acceptUni()).readExact(14);
      const back = await theirs.openUni();
      await back.writeAll(nativeBytes('unfinished'));
      const recv = await ours.acceptUni();
      await recv.readExact(10);
      theirs.close(7n, nativeBytes('bye'));
      const lost = {
        cause: { code: 'ConnectionError.ApplicationClosed', errorCode: 7, reason: utf8('bye') },
      };
      await expect(recv.read()).rejects.toMatchObject({ code: 'ReadError.ConnectionLost', ...lost });
      await expect(uni.write(utf8('more'))).rejects.toMatchObject({
        code: 'WriteError.ConnectionLost',
        ...lost,
      });
      expect(await ours.closed).toMatchObject(lost.cause);
    }));

  test('iroh dials: its stream and `closed` tell code 7 and the reason', () =>
    withPair('iroh dials', async ({ ours, theirs }) => {
      const uni = await theirs.openUni();
      await uni.writeAll(nativeBytes('anybody there?'));
      expect(await (await ours.acceptUni()).readExact(14)).toEqual(utf8('anybody there?'));
      ours.close(7, 'bye');
      expect(await theirs.closed()).toBe('closed by peer: bye (code 7)');
      expect(await uni.write([1]).catch(nativeMessage)).toContain('ConnectionLost(ApplicationClosed');
    }));
});

describe('B04: several streams in both directions', () => {
  test.each(DIALLERS)('%s', (dialler) =>
    withPair(dialler, async ({ ours, theirs }) => {
      const payloads = Array.from({ length: 8 }, (_, i) => sourceBytes(1, 40_000 * i, i));
      const fromUs = payloads.map(async (payload) => {
        const { send, recv } = await ours.openBi();
        await send.write(payload);
        send.finish();
        expect(sameBytes(await recv.readToEnd(LIMIT), payload)).toBe(true);
        // Their FIN was seen, ours acknowledged.
        expect(await recv.read()).toBeNull();
        expect(await send.stopped).toBeUndefined();
      });
      const fromThem = payloads.map(async (payload) => {
        const { send, recv } = await theirs.openBi();
        await send.writeAll(nativeBytes(payload));
        await send.finish();
        expect(sameBytes(await readNative(recv), payload)).toBe(true);
        expect(await send.stopped()).toBeNull();
      });
      const echoOurs = async (): Promise<void> => {
        for (let i = 0; i < payloads.length; i++) {
          const { send, recv } = await ours.acceptBi();
          void recv.readable.pipeTo(send.writable);
        }
      };
      await Promise.all([...fromUs, ...fromThem, echoNative(theirs, payloads.length), echoOurs()]);
    }),
  );
});

describe('200 concurrent bidirectional streams', () => {
  const COUNT = 200;

  test('we open them; iroh grants 100 at a time', () =>
    withPair('we dial', async ({ ours, theirs }) => {
      const echo = echoNative(theirs, COUNT);
      const all = Array.from({ length: COUNT }, async (_, i) => {
        const payload = sourceBytes(1, 1_000 + i, i);
        const { send, recv } = await ours.openBi();
        await send.write(payload);
        send.finish();
        expect(sameBytes(await recv.readToEnd(LIMIT), payload)).toBe(true);
      });
      await Promise.all([...all, echo]);
    }));

  test('all of ours open at the same time', () =>
    withPair('we dial', async ({ ours, theirs }) => {
      theirs.setMaxConcurrentBiStreams(BigInt(COUNT));
      const echo = echoNative(theirs, COUNT);
      const streams = await Promise.all(Array.from({ length: COUNT }, () => ours.openBi()));
      for (const [i, { send }] of streams.entries()) await send.write(sourceBytes(1, 700, i));
      for (const [i, { send }] of streams.entries()) {
        await send.write(sourceBytes(1, 700, i + 700));
        send.finish();
      }
      for (const [i, { recv }] of streams.entries()) {
        const echoed = await recv.readToEnd(LIMIT);
        expect(sameBytes(echoed, sourceBytes(1, 1_400, i))).toBe(true);
      }
      await echo;
    }));

  test('iroh opens them; we grant 200', () =>
    withPair(
      'iroh dials',
      async ({ ours, theirs }) => {
        const echo = async (): Promise<void> => {
          for (let i = 0; i < COUNT; i++) {
            const { send, recv } = await ours.acceptBi();
            void recv.readable.pipeTo(send.writable);
          }
        };
        const echoing = echo();
        const streams = await Promise.all(Array.from({ length: COUNT }, () => theirs.openBi()));
        await Promise.all(streams.map(({ send }, i) => send.writeAll(nativeBytes(sourceBytes(1, 900, i)))));
        await Promise.all(streams.map(({ send }) => send.finish()));
        const echoes = await Promise.all(streams.map(({ recv }) => readNative(recv)));
        for (const [i, bytes] of echoes.entries())
          expect(sameBytes(bytes, sourceBytes(1, 900, i))).toBe(true);
        await echoing;
      },
      { our: { transport: { maxConcurrentBidiStreams: COUNT } } },
    ));
});

describe('RESET and STOP codes', () => {
  test.each(DIALLERS)('%s: ours reach iroh', (dialler) =>
    withPair(dialler, async ({ ours, theirs }) => {
      const { send, recv } = await ours.openBi();
      await send.write(utf8('x'));
      const remote = await theirs.acceptBi();
      send.reset(21);
      recv.stop(Number.MAX_SAFE_INTEGER);
      expect(await remote.recv.receivedReset()).toBe(21);
      expect(await remote.send.stopped()).toBe(Number.MAX_SAFE_INTEGER);
      expect(await remote.send.write([1]).catch(nativeMessage)).toBe('Stopped(9007199254740991)');
      expect(() => send.finish()).toThrow(expect.objectContaining({ code: 'WriteError.ClosedStream' }));
    }),
  );

  test.each(DIALLERS)('%s: those of iroh reach us', (dialler) =>
    withPair(dialler, async ({ ours, theirs }) => {
      const remote = await theirs.openBi();
      await remote.send.writeAll([1, 2, 3]);
      const { send, recv } = await ours.acceptBi();
      await remote.send.reset(17n);
      await remote.recv.stop(2n ** 62n - 1n);
      // Bytes before the reset may be read or lost; the reset comes next.
      await expect(recv.readToEnd(LIMIT)).rejects.toMatchObject({ code: 'ReadError.Reset', errorCode: 17 });
      expect(await recv.resetReceived).toBe(17);
      expect(await send.stopped).toBe(Number.MAX_SAFE_INTEGER);
      await expect(send.write(utf8('x'))).rejects.toMatchObject({
        code: 'WriteError.Stopped',
        rawCode: 2n ** 62n - 1n,
      });
    }),
  );
});

describe('I20: what arrived before the close is readable after it', () => {
  test.each(DIALLERS)('%s: iroh closes', (dialler) =>
    withPair(dialler, async ({ ours, theirs }) => {
      const accepted = await theirs.openUni();
      await accepted.writeAll(nativeBytes('accepted before'));
      const recv = await ours.acceptUni();
      const pending = await theirs.openUni();
      await pending.writeAll(nativeBytes('never accepted'));
      await pending.finish();
      // Acknowledged: it is in our buffers, though no stream was taken.
      expect(await pending.stopped()).toBeNull();
      theirs.close(1n, []);
      await ours.closed;
      expect(await recv.readExact(15)).toEqual(utf8('accepted before'));
      await expect(recv.read()).rejects.toMatchObject({ code: 'ReadError.ConnectionLost' });
      expect(await (await ours.acceptUni()).readToEnd(LIMIT)).toEqual(utf8('never accepted'));
      await expect(ours.acceptUni()).rejects.toMatchObject({ code: 'ConnectionError.ApplicationClosed' });
    }),
  );

  test.each(DIALLERS)('%s: we close', (dialler) =>
    withPair(dialler, async ({ ours, theirs }) => {
      const send = await ours.openUni();
      await send.write(utf8('buffered'));
      const recv = await theirs.acceptUni();
      const done = await ours.openUni();
      done.finish();
      // Its acknowledgment says that the bytes before it arrived as well.
      await done.stopped;
      ours.close(1, '');
      await theirs.closed();
      expect(await recv.readExact(8)).toEqual(nativeBytes('buffered'));
      expect(await recv.read(1).catch(nativeMessage)).toContain('ConnectionLost(ApplicationClosed');
    }),
  );
});

describe('L04: WHATWG streams', () => {
  const LENGTH = 10_000_000;
  const CHUNK = 50_000;
  /** iroh's stream receive window, and the transport default of ours. */
  const WINDOW = 1_250_000;
  const SEND_WINDOW = 256 * 1_024;

  test.each(DIALLERS)('%s: 10 MB through pipeTo, no faster than iroh reads', (dialler) =>
    withPair(
      dialler,
      async ({ ours, theirs }) => {
        let pulled = 0;
        const source = new ReadableStream<Uint8Array>(
          {
            pull: (controller) => {
              controller.enqueue(sourceBytes(1, CHUNK, pulled));
              pulled += CHUNK;
              if (pulled === LENGTH) controller.close();
            },
          },
          { highWaterMark: 0 },
        );
        const piped = source.pipeTo((await ours.openUni()).writable);
        const recv = await theirs.acceptUni();
        await recv.readExact(CHUNK);
        // Nobody reads on: the source stops once both windows are full. One chunk may wait in each of two hands.
        const mostPulled = CHUNK + WINDOW + SEND_WINDOW + 2 * CHUNK;
        await eventually(() => pulled >= WINDOW);
        for (let at = CHUNK; at < LENGTH; at += CHUNK) {
          expect(pulled).toBeLessThanOrEqual(at - CHUNK + mostPulled);
          const chunk = Uint8Array.from(await recv.readExact(CHUNK));
          if (!sameBytes(chunk, sourceBytes(1, CHUNK, at))) throw new Error(`byte ${at} and on differ`);
        }
        await piped;
        expect(pulled).toBe(LENGTH);
      },
      { our: { transport: { sendWindow: SEND_WINDOW } } },
    ),
  );

  test.each(DIALLERS)('%s: iroh writes 10 MB, no faster than we read', (dialler) =>
    withPair(dialler, async ({ ours, theirs }) => {
      const payload = sourceBytes(1, LENGTH);
      const remote = await theirs.openUni();
      const written = remote.writeAll(nativeBytes(payload)).then(() => remote.finish());
      const recv = await ours.acceptUni();
      // The window fills, and stays full while nobody reads.
      await eventually(() => ours.stats().udpRx.bytes >= WINDOW);
      ours.sendDatagram(utf8('a round trip'));
      await theirs.readDatagram();
      expect(ours.stats().udpRx.bytes).toBeLessThan(WINDOW * 1.1);
      const received = new Uint8Array(LENGTH);
      let at = 0;
      await recv.readable.pipeTo(
        new WritableStream({
          write: (chunk) => {
            received.set(chunk, at);
            at += chunk.length;
          },
        }),
      );
      await written;
      expect(sameBytes(received, payload)).toBe(true);
    }),
  );

  test.each(DIALLERS)('%s: cancel is STOP_SENDING with its code, abort is RESET_STREAM', (dialler) =>
    withPair(dialler, async ({ ours, theirs }) => {
      const { send, recv } = await ours.openBi();
      await send.write(utf8('x'));
      const remote = await theirs.acceptBi();
      await recv.readable.cancel({ code: 5 });
      await send.writable.abort({ code: 6 });
      expect(await remote.send.stopped()).toBe(5);
      expect(await remote.recv.receivedReset()).toBe(6);
    }),
  );
});
