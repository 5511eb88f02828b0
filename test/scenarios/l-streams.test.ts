/** Streams, iterators, disposal, and every wait as an application uses them. */
import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../src/base/bytes.ts';
import { EndpointAddr, type Connection, type WaitOptions } from '../../src/index.ts';
import { ALPN, failure, onLoopback, simulated, WAIT } from '../support/endpoints.ts';

test(
  'L01: one options object makes independent endpoints',
  onLoopback(async (place) => {
    const options = { alpns: [ALPN] };
    const [a, b] = [await place.bind(options), await place.bind(options)];
    expect(a.id.equals(b.id)).toBe(false);
    await a.close();
    expect(b.state).toBe('open');
    expect((await place.dial(await place.bind(options), b)).ours.alpnText).toBe(ALPN);
  }),
);

test(
  'L02: a ticket says who and where, and can be dialled',
  onLoopback(async (place) => {
    const server = await place.serve();
    const client = await place.bind();
    const addr = place.addrOf(server);
    const ticket = addr.toTicket();
    expect(EndpointAddr.fromTicket(ticket).equals(addr)).toBe(true);
    expect(EndpointAddr.fromTicket(ticket).toTicket()).toBe(ticket);
    const accepted = place.acceptOn(server);
    const ours = await client.connect(ticket, ALPN, WAIT);
    expect(ours.remoteId.equals(server.id)).toBe(true);
    await accepted;
  }),
);

const forms: [string, (bytes: Uint8Array) => Uint8Array][] = [
  ['Uint8Array', (bytes) => bytes.slice()],
  ['Buffer', (bytes) => Buffer.from(bytes)],
  ['a view into more', (bytes) => new Uint8Array([9, 9, ...bytes, 9]).subarray(2, 2 + bytes.length)],
];
test.each(forms)(
  'L03: bytes as %s arrive as they were, whatever the caller does to them afterwards',
  (_name, form) =>
    onLoopback(async (place) => {
      const text = utf8('bytes');
      const spoilt = <T>(use: (bytes: Uint8Array) => T): T => {
        const bytes = form(text);
        const result = use(bytes);
        bytes.fill(0);
        return result;
      };
      const server = await spoilt((alpn) => place.bind({ alpns: [alpn] }));
      const secret = new Uint8Array(32).fill(7);
      const client = await place.bind({ secretKey: form(secret) });
      expect(client.secretKey.toBytes()).toEqual(secret);
      const accepted = place.acceptOn(server);
      const ours = await spoilt((alpn) => client.connect(place.addrOf(server), alpn, WAIT));
      const theirs = await accepted;
      expect(ours.alpn).toEqual(text);
      const send = await ours.openUni();
      await spoilt((bytes) => send.write(bytes));
      send.finish();
      expect(new Uint8Array(await (await theirs.acceptUni(WAIT)).readToEnd(100))).toEqual(text);
      spoilt((bytes) => ours.sendDatagram(bytes));
      expect(new Uint8Array(await theirs.readDatagram(WAIT))).toEqual(text);
      expect(ours.exportKeyingMaterial(16, 'l', form(text))).toEqual(
        theirs.exportKeyingMaterial(16, 'l', text),
      );
      spoilt((bytes) => ours.close(1, bytes));
      expect((await theirs.closed).reason).toEqual(text);
    })(),
);

describe('L04: a ReadableStream of 10 MB', () => {
  const SIZE = 10_000_000;
  const CHUNK = 50_000;
  const WINDOW = 200_000;
  const small = { transport: { sendWindow: WINDOW, streamReceiveWindow: WINDOW, maxReceiveWindow: WINDOW } };

  test(
    'is pulled as fast as the other side reads, and no faster',
    onLoopback(async (place) => {
      const { ours, theirs } = await place.connect({ client: small, server: small });
      let produced = 0;
      let consumed = 0;
      let ahead = 0;
      const source = new ReadableStream<Uint8Array>({
        pull(controller) {
          controller.enqueue(new Uint8Array(CHUNK).fill(produced / CHUNK));
          produced += CHUNK;
          ahead = Math.max(ahead, produced - consumed);
          if (produced === SIZE) controller.close();
        },
      });
      const piping = source.pipeTo((await ours.openUni()).writable);
      const { readable } = await theirs.acceptUni(WAIT);
      for await (const chunk of readable) {
        for (let i = 0; i < chunk.length; i += 10_000)
          expect(chunk[i]).toBe(Math.floor((consumed + i) / CHUNK) % 256);
        consumed += chunk.length;
      }
      await piping;
      expect(consumed).toBe(SIZE);
      // Both windows, and what the queues of the pipe hold.
      expect(ahead).toBeLessThan(2 * WINDOW + 6 * CHUNK);
    }),
  );

  test(
    'cancel sends STOP_SENDING with the code, abort sends RESET_STREAM with the code',
    onLoopback(async (place) => {
      const { ours, theirs } = await place.connect({ client: small, server: small });
      const send = await ours.openUni();
      const endless = new ReadableStream<Uint8Array>({ pull: (c) => c.enqueue(new Uint8Array(CHUNK)) });
      const piping = failure(endless.pipeTo(send.writable));
      const recv = await theirs.acceptUni(WAIT);
      const reader = recv.readable.getReader();
      await reader.read();
      await reader.cancel({ code: 33 });
      expect(await send.stopped).toBe(33);
      expect(await piping).toMatchObject({ code: 'WriteError.Stopped', errorCode: 33 });

      const other = await ours.openUni();
      const writer = other.writable.getWriter();
      await writer.write(utf8('x'));
      const second = await theirs.acceptUni(WAIT);
      expect(await second.read()).toEqual(utf8('x'));
      await writer.abort({ code: 44 });
      expect(await failure(second.read())).toMatchObject({ code: 'ReadError.Reset', errorCode: 44 });
      expect(await second.resetReceived).toBe(44);
    }),
  );
});

describe('L05: iterators', () => {
  test(
    'left early or thrown out of, they take nothing with them',
    simulated(async (place) => {
      const { client, server, ours, theirs } = await place.connect();
      for (let i = 0; i < 3; i++) {
        const { send } = await ours.openBi();
        await send.write(utf8('bi'));
        await (await ours.openUni()).write(utf8('uni'));
        ours.sendDatagram(utf8('datagram'));
      }
      await place.sleep(100);
      for await (const { recv } of theirs.incomingBi()) {
        for await (const chunk of recv) {
          expect(chunk).toEqual(utf8('bi'));
          break;
        }
        break;
      }
      const problem = new Error('in the loop');
      const loop = async (): Promise<void> => {
        for await (const recv of theirs.incomingUni()) throw Object.assign(problem, { id: recv.id });
      };
      expect(await failure(loop())).toBe(problem);
      for await (const datagram of theirs.datagrams()) {
        expect(datagram).toEqual(utf8('datagram'));
        break;
      }
      // What was not taken is still there.
      await theirs.acceptBi(place.wait);
      await theirs.acceptUni(place.wait);
      await theirs.readDatagram(place.wait);
      const dialled = client.connect(place.addrOf(server), ALPN, place.wait);
      for await (const incoming of server.incoming()) {
        place.mustSettle('accepted', Promise.resolve(incoming.accept()));
        break;
      }
      await dialled;
    }),
  );

  test(
    'they end with the connection',
    simulated(async (place) => {
      const { ours, theirs } = await place.connect();
      const count = async (items: AsyncIterable<unknown>): Promise<number> => {
        let n = 0;
        for await (const _ of items) n++;
        return n;
      };
      const counts = Promise.all(
        [theirs.incomingBi(), theirs.incomingUni(), theirs.datagrams(), theirs.pathEvents()].map(count),
      );
      await (await ours.openUni()).write(utf8('x'));
      ours.sendDatagram(utf8('y'));
      await place.sleep(100);
      ours.close();
      const [bi, uni, datagrams] = await counts;
      expect([bi, uni, datagrams]).toEqual([0, 1, 1]);
      expect(await count(theirs.incomingBi())).toBe(0);
    }),
  );
});

test.each(['endpoint first', 'connection first'])('L06: disposal closes with code 0, %s', (order) =>
  simulated(async (place) => {
    const { client, ours, theirs } = await place.connect();
    const { send, recv } = await ours.openBi();
    const closed = client.closed;
    if (order === 'endpoint first') await client[Symbol.asyncDispose]();
    send[Symbol.dispose]();
    recv[Symbol.dispose]();
    ours[Symbol.dispose]();
    if (order === 'connection first') await client[Symbol.asyncDispose]();
    await closed;
    expect(client.state).toBe('closed');
    expect(await theirs.closed).toMatchObject({ code: 'ConnectionError.ApplicationClosed', errorCode: 0 });
    theirs[Symbol.dispose]();
  })(),
);

test(
  'L06: disposal of streams: a finished sender, a stopped receiver',
  simulated(async (place) => {
    const { ours, theirs } = await place.connect();
    const { send, recv } = await ours.openBi();
    await send.write(utf8('x'));
    send[Symbol.dispose]();
    recv[Symbol.dispose]();
    const other = await theirs.acceptBi(place.wait);
    expect(await other.recv.readToEnd(10)).toEqual(utf8('x'));
    expect(await other.send.stopped).toBe(0);
    // What the peer stopped is reset, so that both forget it.
    other.send[Symbol.dispose]();
    await place.sleep(1_000);
    expect(await failure(other.send.write(utf8('y')))).toMatchObject({ name: 'WriteError' });
  }),
);

test(
  'L09: waiting for stopped and resetReceived holds nobody up',
  onLoopback(async (place) => {
    const { ours, theirs } = await place.connect();
    const { send, recv } = await ours.openBi();
    const waits = Promise.all([send.stopped, recv.resetReceived]);
    for (let i = 0; i < 5; i++) {
      await send.write(utf8(`${i}`));
      if (i > 0) continue;
      const far = await theirs.acceptBi(WAIT);
      place.mustSettle('echo', far.recv.readable.pipeTo(far.send.writable));
    }
    expect(await recv.readExact(5, WAIT)).toEqual(utf8('01234'));
    send.finish();
    expect(await recv.read()).toBeNull();
    expect(await waits).toEqual([undefined, undefined]);
  }),
);

describe('every wait can be given up', () => {
  const tiny = {
    transport: {
      streamReceiveWindow: 1_000,
      receiveWindow: 1_000,
      maxReceiveWindow: 1_000,
      maxConcurrentBidiStreams: 1,
      maxConcurrentUniStreams: 0,
    },
  };
  const waits: [string, (ours: Connection, options: WaitOptions) => Promise<unknown>][] = [
    ['acceptBi', (ours, options) => ours.acceptBi(options)],
    ['acceptUni', (ours, options) => ours.acceptUni(options)],
    ['openUni', (ours, options) => ours.openUni(options)],
    ['readDatagram', (ours, options) => ours.readDatagram(options)],
    ['write', async (ours, options) => (await ours.openBi()).send.write(new Uint8Array(2_000), options)],
    ['read', async (ours, options) => (await ours.openBi()).recv.read(10, options)],
    ['readExact', async (ours, options) => (await ours.openBi()).recv.readExact(10, options)],
    ['readToEnd', async (ours, options) => (await ours.openBi()).recv.readToEnd(10, options)],
  ];
  test.each(waits)('%s', (_name, wait) =>
    simulated(async (place) => {
      const start = place.clock.now();
      const { client, ours } = await place.connect({ server: tiny });
      const reason = new Error('no more patience');
      const controller = new AbortController();
      const aborted = failure(wait(ours, { signal: controller.signal }));
      await place.sleep(1);
      controller.abort(reason);
      expect(await aborted).toBe(reason);
      expect(place.clock.now() - start).toBeLessThan(1_000);
      const second = await client
        .connect(place.addrOf(place.endpoints[0]!), ALPN, { signal: AbortSignal.abort(reason) })
        .catch((error: unknown) => error);
      expect(second).toBe(reason);
      // Limits count in the time of the endpoint, and "none" is a number as well.
      const { ours: other } = await place.dial(client, place.endpoints[0]!);
      const from = place.clock.now();
      const timedOut = await failure(wait(other, { timeoutMs: 77 }));
      expect(timedOut).toMatchObject({ code: 'TimeoutError.Elapsed', message: 'timed out after 77 ms' });
      expect(place.clock.now() - from).toBeCloseTo(77, 3);
      const { ours: third } = await place.dial(client, place.endpoints[0]!);
      const endless = failure(wait(third, { timeoutMs: Infinity }));
      await place.sleep(10);
      third.close();
      expect((await endless).code).not.toBe('TimeoutError.Elapsed');
    })(),
  );

  test(
    'accept',
    simulated(async (place) => {
      const server = await place.serve();
      const controller = new AbortController();
      const aborted = failure(server.accept({ signal: controller.signal }));
      const reason = new Error('no more patience');
      controller.abort(reason);
      expect(await aborted).toBe(reason);
      expect(await failure(server.accept({ timeoutMs: 5 }))).toMatchObject({ code: 'TimeoutError.Elapsed' });
    }),
  );
});

test(
  'a write that waits behind another gives up by its own signal; nothing of it is sent, and order is kept',
  onLoopback(async (place) => {
    const small = { transport: { sendWindow: 1_000, streamReceiveWindow: 1_000, maxReceiveWindow: 1_000 } };
    const { ours, theirs } = await place.connect({ client: small, server: small });
    const send = await ours.openUni();
    const first = send.write(new Uint8Array(10_000).fill(1));
    const giveUp = new AbortController();
    const second = failure(send.write(new Uint8Array(5_000).fill(2), { signal: giveUp.signal }));
    const late = failure(send.write(new Uint8Array(5_000).fill(3), { timeoutMs: 5 }));
    const last = send.write(Uint8Array.of(4));
    giveUp.abort(new Error('no more'));
    expect(await second).toMatchObject({ message: 'no more' });
    expect(await late).toMatchObject({ name: 'TimeoutError' });
    const received = theirs.acceptUni(WAIT).then((recv) => recv.readToEnd(20_000, WAIT));
    await Promise.all([first, last]);
    send.finish();
    expect([...(await received)]).toEqual([...new Array<number>(10_000).fill(1), 4]);
  }),
);
