/** What an open WebSocket does, the same in Node and in browsers; for browsers something else with their interface stands in. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { WebSocket as WsWebSocket, WebSocketServer, type WebSocket as ServerSide } from 'ws';
import { systemPlatform } from '#transport/system-platform';
import { SecretKey } from '../../../src/crypto/keys.ts';
import { RelayServer } from '../../../src/relay-server.ts';
import {
  MAX_MESSAGE_BYTES,
  type RelaySocket,
  type WebSocketRequest,
} from '../../../src/transport/relay-socket.ts';
import { openWebSocket as openInBrowser } from '../../../src/transport/websocket.browser.ts';
import { openWebSocket } from '../../../src/transport/websocket.ts';
import { DialRig, dial, requestOf, switching } from '../../support/dial-rig.ts';
import { RawRelayClient } from '../../support/raw-relay-client.ts';
import { SimClock } from '../../support/sim-clock.ts';

type Open = (request: WebSocketRequest) => Promise<RelaySocket>;
type WebSocketClass = typeof globalThis.WebSocket;

const { clock } = systemPlatform;
const native = globalThis.WebSocket as WebSocketClass | undefined;
const inBrowser: Open = (request) => openInBrowser(request, { clock });
const kinds: [name: string, open: Open, standIn: WebSocketClass | undefined][] = [
  ['Node', dial, undefined],
  ['browser, through ws', inBrowser, WsWebSocket as unknown as WebSocketClass],
  // Node 22 and later have the interface themselves.
  ...(native === undefined
    ? []
    : [['browser, through the WebSocket of Node', inBrowser, native] satisfies (typeof kinds)[number]]),
];

let rig: DialRig;
beforeEach(() => {
  rig = new DialRig();
});
afterEach(() => rig.close());

/** Turns of the event loop in which nothing is to happen. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

/** A listener of the socket's end. @returns what it was told, in order. */
function endsOf(socket: RelaySocket): (Error | undefined)[] {
  const ends: (Error | undefined)[] = [];
  socket.onClose = (error) => ends.push(error);
  return ends;
}

function messagesOf(socket: RelaySocket): Uint8Array[] {
  const messages: Uint8Array[] = [];
  socket.onMessage = (message) => messages.push(message);
  return messages;
}

describe.each(kinds)('%s', (_name, open, standIn) => {
  beforeAll(() => {
    if (standIn !== undefined) globalThis.WebSocket = standIn;
  });
  afterAll(() => {
    if (native === undefined) Reflect.deleteProperty(globalThis, 'WebSocket');
    else globalThis.WebSocket = native;
  });

  /** Both ends of a connection. @param onServer - Runs in the call that answers the upgrade. */
  async function pair(
    onServer: (server: ServerSide) => void = () => undefined,
  ): Promise<{ socket: RelaySocket; server: ServerSide; tcp: Socket }> {
    const upgrades = new WebSocketServer({ noServer: true });
    const web = createServer();
    const opened = new Promise<[ServerSide, Socket]>((resolve) =>
      web.on('upgrade', (request, tcp, head) =>
        upgrades.handleUpgrade(request, tcp, head, (server) => {
          onServer(server);
          resolve([server, tcp as Socket]);
        }),
      ),
    );
    const port = await rig.listen(web);
    const socket = await open(requestOf(`http://127.0.0.1:${port}/`));
    const [server, tcp] = await opened;
    return { socket, server, tcp };
  }

  test('speaks with our relay, its token shown', async () => {
    const tokens: unknown[] = [];
    const relay = await RelayServer.listen({ access: ({ token }) => tokens.push(token) > 0 });
    const request = requestOf(`${relay.url.href}?x=1`, { authToken: 'a secret & more' });
    const client = new RawRelayClient(await open(request), SecretKey.generate());
    await client.until(() => client.state === 'confirmed');
    expect(client.socket.protocol).toBe('iroh-relay-v2');
    expect(tokens).toEqual(['a secret & more']);
    const ends = endsOf(client.socket);
    client.socket.close();
    await until(() => ends.length > 0);
    expect(ends).toEqual([undefined]);
    await relay.close();
  });

  test('keeps what comes before somebody listens', async () => {
    const text = Buffer.from([0x81, 2, 0x68, 0x69]);
    const port = await rig.upgrading((request, socket) => {
      const head = switching(request, ['Sec-WebSocket-Protocol: iroh-relay-v1']);
      // All in one packet: the answer, a text, which is skipped, and two messages.
      socket.write(Buffer.concat([Buffer.from(head), text, Buffer.from([0x82, 1, 7, 0x82, 2, 8, 9])]));
    });
    const socket = await open(requestOf(`http://127.0.0.1:${port}/`));
    expect(socket.protocol).toBe('iroh-relay-v1');
    await turns();
    const messages = messagesOf(socket);
    await until(() => messages.length === 2);
    expect(messages.map((each) => [...each])).toEqual([[7], [8, 9]]);
    // No Buffer, whose slice() would not copy.
    expect(messages.map((each) => Object.getPrototypeOf(each) === Uint8Array.prototype)).toEqual([
      true,
      true,
    ]);
    socket.terminate();
  });

  test('send, queued bytes, drained', async () => {
    const { socket, server } = await pair();
    let drained = 0;
    socket.onDrained = () => {
      expect(socket.queuedBytes).toBe(0);
      drained++;
    };
    server.pause();
    const message = new Uint8Array(MAX_MESSAGE_BYTES).fill(7);
    // More than the system takes.
    for (let i = 0; i < 16; i++) socket.send(message);
    expect(socket.queuedBytes).toBeGreaterThan(MAX_MESSAGE_BYTES);
    let received = 0;
    server.on('message', (data: Buffer, isBinary) => {
      expect(isBinary).toBe(true);
      received += data.length;
    });
    server.resume();
    await until(() => received === 16 * MAX_MESSAGE_BYTES && drained > 0);
    expect([drained, socket.queuedBytes]).toEqual([1, 0]);
    const ends = endsOf(socket);
    socket.terminate();
    await until(() => ends.length > 0);
    // A closed one takes it and does nothing.
    socket.send(message);
    expect([ends, socket.queuedBytes]).toEqual([[undefined], 0]);
  });

  test('pause and resume lose nothing', async () => {
    const { socket, server } = await pair();
    const messages = messagesOf(socket);
    server.send(Uint8Array.of(1));
    await until(() => messages.length === 1);
    socket.pause();
    for (let i = 2; i <= 5; i++) server.send(Uint8Array.of(i));
    await turns();
    expect(messages).toHaveLength(1);
    socket.resume();
    await until(() => messages.length === 5);
    expect(messages.map(([first]) => first)).toEqual([1, 2, 3, 4, 5]);
    socket.terminate();
  });

  test('close: in order, with code and reason, told once', async () => {
    const { socket, server } = await pair();
    const ends = endsOf(socket);
    const messages: number[] = [];
    server.on('message', (data: Buffer) => messages.push(data[0]!));
    const closed = once(server, 'close');
    socket.send(Uint8Array.of(1));
    socket.close(3_001, 'ü'.repeat(100));
    socket.close();
    const [code, reason] = (await closed) as [number, Buffer];
    // Cut between characters.
    expect([code, String(reason)]).toEqual([3_001, 'ü'.repeat(61)]);
    await until(() => ends.length > 0);
    socket.terminate();
    await turns();
    expect([messages, ends]).toEqual([[1], [undefined]]);
  });

  test('closed while it is paused, and before anybody listened', async () => {
    for (const prepare of [(socket: RelaySocket) => socket.pause(), () => undefined]) {
      const { socket } = await pair();
      const ends = endsOf(socket);
      prepare(socket);
      socket.close();
      await until(() => ends.length > 0);
      expect(ends).toEqual([undefined]);
    }
  });

  test('the server closes, or the connection breaks', async () => {
    const inOrder = await pair();
    const ends = endsOf(inOrder.socket);
    messagesOf(inOrder.socket);
    inOrder.server.close(1_001, 'restarting');
    await until(() => ends.length > 0);
    expect(ends).toEqual([undefined]);
    for (const drop of [(tcp: Socket) => tcp.destroy(), (tcp: Socket) => tcp.resetAndDestroy()]) {
      const { socket, tcp } = await pair();
      const breaks = endsOf(socket);
      messagesOf(socket);
      drop(tcp);
      await until(() => breaks.length > 0);
      expect(breaks).toEqual([expect.any(Error)]);
    }
  });

  test('a message that is too long ends it, with an error', async () => {
    const { socket, server } = await pair();
    const [ends, messages] = [endsOf(socket), messagesOf(socket)];
    server.on('error', () => undefined);
    server.send(new Uint8Array(MAX_MESSAGE_BYTES));
    server.send(new Uint8Array(MAX_MESSAGE_BYTES + 1));
    await until(() => ends.length > 0);
    expect([ends, messages.map(({ length }) => length)]).toEqual([[expect.any(Error)], [MAX_MESSAGE_BYTES]]);
    server.terminate();
  });
});

describe('browser', () => {
  beforeAll(() => {
    globalThis.WebSocket = WsWebSocket as unknown as WebSocketClass;
  });
  afterAll(() => {
    if (native === undefined) Reflect.deleteProperty(globalThis, 'WebSocket');
    else globalThis.WebSocket = native;
  });

  test('whatever fails is a failed dial', async () => {
    const port = await rig.silent();
    await rig.close();
    const refusing = await rig.upgrading((_request, socket) => socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'));
    for (const request of [
      requestOf(`http://127.0.0.1:${port}/`),
      requestOf(`http://127.0.0.1:${refusing}/`),
      requestOf(`http://127.0.0.1:${port}/`, { protocols: ['not a token'] }),
      requestOf('mailto:relay@relay.test'),
    ])
      await expect(inBrowser(request)).rejects.toMatchObject({ name: 'WebSocketError', failure: 'dial' });
  });

  test('given up', async () => {
    const reason = new Error('enough');
    await expect(
      inBrowser(requestOf('http://127.0.0.1:1/', { signal: AbortSignal.abort(reason) })),
    ).rejects.toMatchObject({ failure: 'aborted', cause: reason });
    const abort = new AbortController();
    const port = await rig.silent(() => abort.abort(reason));
    const dialled = inBrowser(requestOf(`http://127.0.0.1:${port}/`, { signal: abort.signal }));
    await expect(dialled).rejects.toMatchObject({ failure: 'aborted', cause: reason });
    await until(() => rig.openConnections === 0);
  });

  test('a server that is silent is left after 10 s', async () => {
    const virtual = new SimClock();
    let isThere = false;
    const port = await rig.silent(() => (isThere = true));
    const dialled = openInBrowser(requestOf(`http://127.0.0.1:${port}/`), { clock: virtual });
    await until(() => isThere);
    virtual.advanceTo(10_000);
    await expect(dialled).rejects.toMatchObject({
      failure: 'dial',
      message: 'not connected within 10000 ms',
    });
    await until(() => rig.openConnections === 0);
  });

  test('a server that does not answer a close is left after 2 s', async () => {
    const virtual = new SimClock();
    const upgrades = new WebSocketServer({ noServer: true });
    const web = createServer();
    web.on('upgrade', (request, tcp, head) =>
      upgrades.handleUpgrade(request, tcp, head, (server) => server.pause()),
    );
    const request = requestOf(`http://127.0.0.1:${await rig.listen(web)}/`);
    const socket = await openInBrowser(request, { clock: virtual });
    const ends = endsOf(socket);
    socket.close();
    virtual.advanceTo(1_999);
    expect(ends).toEqual([]);
    virtual.advanceTo(2_000);
    expect([ends, virtual.pendingTimers]).toEqual([[undefined], 0]);
  });

  test('what is sent to one that does not receive is held up to a limit', async () => {
    const upgrades = new WebSocketServer({ noServer: true });
    const web = createServer();
    web.on('upgrade', (request, tcp, head) =>
      upgrades.handleUpgrade(request, tcp, head, (server) => {
        for (let i = 0; i < 10; i++) server.send(new Uint8Array(MAX_MESSAGE_BYTES).fill(i));
      }),
    );
    const socket = await inBrowser(requestOf(`http://127.0.0.1:${await rig.listen(web)}/`));
    const ends = endsOf(socket);
    await until(() => ends.length > 0);
    expect(ends).toEqual([new Error('more arrives than is received')]);
    const messages = messagesOf(socket);
    expect(messages).toEqual([]);
  });
});

test('Node: a server that does not answer a close is left after 2 s', async () => {
  const upgrades = new WebSocketServer({ noServer: true });
  const web = createServer();
  web.on('upgrade', (request, tcp, head) =>
    upgrades.handleUpgrade(request, tcp, head, (server) => server.pause()),
  );
  const socket = await dial(requestOf(`http://127.0.0.1:${await rig.listen(web)}/`));
  const ends = endsOf(socket);
  const before = performance.now();
  socket.close();
  await until(() => ends.length > 0);
  expect(ends).toEqual([undefined]);
  expect(performance.now() - before).toBeGreaterThan(1_900);
});

test('Node: a dial is given up after 10 s in all', async () => {
  const virtual = new SimClock();
  let isThere = false;
  const port = await rig.silent(() => (isThere = true));
  const dialled = openWebSocket(requestOf(`https://127.0.0.1:${port}/`), {
    clock: virtual,
    resolve: async () => [],
  });
  await until(() => isThere);
  // The race is over when TLS starts.
  await until(() => virtual.pendingTimers === 1);
  virtual.advanceTo(10_000);
  await expect(dialled).rejects.toMatchObject({ failure: 'tls', message: 'not connected within 10000 ms' });
  await until(() => rig.openConnections === 0);
  expect(virtual.pendingTimers).toBe(0);
});
