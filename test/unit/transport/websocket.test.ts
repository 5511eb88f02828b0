/** Dialling relays through Node: our server, and servers and proxies of this host that misbehave. */
import type { IncomingMessage } from 'node:http';
import { getActiveResourcesInfo } from 'node:process';
import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, test } from '@jest/globals';
import { systemPlatform } from '#transport/system-platform';
import { SecretKey } from '../../../src/crypto/keys.ts';
import { utf8 } from '../../../src/base/bytes.ts';
import { CLIENT_AUTH_HEADER, keyMaterialHeader, relayIdentity } from '../../../src/relay/handshake.ts';
import { RelayServer, type RelayServerOptions } from '../../../src/relay-server.ts';
import type { RelaySocket, WebSocketRequest } from '../../../src/transport/relay-socket.ts';
import { openWebSocket } from '../../../src/transport/websocket.ts';
import { makeServerCertificate } from '../../support/certificates.ts';
import { dial, DialRig, localDialer, requestOf, switching } from '../../support/dial-rig.ts';
import { RawRelayClient } from '../../support/raw-relay-client.ts';

const certificate = await makeServerCertificate();
const roots = [certificate.root];
const resourcesBefore = sockets();
const servers: RelayServer[] = [];
let rig = new DialRig();

/** Handles of TCP that are open in this process. */
function sockets(): number {
  return getActiveResourcesInfo().filter((name) => name.startsWith('TCP')).length;
}

async function relay(options: RelayServerOptions = {}): Promise<RelayServer> {
  const server = await RelayServer.listen(options);
  servers.push(server);
  return server;
}

const tlsRelay = (options: RelayServerOptions = {}): Promise<RelayServer> =>
  relay({
    ...options,
    hostname: 'localhost',
    tls: { bind: '127.0.0.1:0', cert: certificate.chain, key: certificate.key },
  });

/** Ends and waits for the end. */
function ended(socket: RelaySocket, end: () => void): Promise<Error | undefined> {
  return new Promise((resolve) => {
    socket.onClose = resolve;
    end();
  });
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
  await rig.close();
  rig = new DialRig();
  // Nothing that would keep a process alive.
  await until(() => sockets() <= resourcesBefore);
});

describe('our relay server', () => {
  test('without TLS: data both ways, addresses, close in order', async () => {
    const server = await relay();
    const exporters: unknown[] = [];
    const headers: WebSocketRequest['headers'] = (exporter) => {
      exporters.push(exporter);
      return {};
    };
    const socket = await systemPlatform.openWebSocket(requestOf(server.url, { headers }));
    expect(socket).toMatchObject({
      protocol: 'iroh-relay-v2',
      localIp: '127.0.0.1',
      remoteIp: '127.0.0.1',
      exportKeyingMaterial: undefined,
    });
    expect(exporters).toEqual([undefined]);
    const a = new RawRelayClient(socket, 1);
    const b = new RawRelayClient(await dial(requestOf(server.url)), 2);
    await a.until(() => a.state === 'confirmed');
    await b.until(() => b.state === 'confirmed');
    expect(a.wasChallenged).toBe(true);
    for (let i = 0; i < 100; i++) a.sendTo(b, new Uint8Array(60_000).fill(i), 1_200);
    await b.until(() => b.received('datagrams').length === 100);
    expect(b.received('datagrams').map(({ contents }) => contents[59_999])).toEqual([
      ...Array.from({ length: 100 }, (_, i) => i),
    ]);
    expect(await ended(a.socket, () => a.socket.close())).toBeUndefined();
    expect(await ended(b.socket, () => b.socket.terminate())).toBeUndefined();
    await until(() => server.clientCount === 0);
  });

  test('with TLS: its own authority, and the client proven by the keys of the connection', async () => {
    const tokens: unknown[] = [];
    const server = await tlsRelay({ access: ({ token }) => tokens.push(token) > 0 });
    const key = SecretKey.fromBytes(new Uint8Array(32).fill(7));
    const withDot = server.url.href.replace('localhost', 'localhost.');
    const withIp = server.url.href.replace('localhost', '127.0.0.1');
    for (const url of [server.url.href, withDot, withIp]) {
      const socket = await dial(
        requestOf(url, {
          tls: { roots },
          authToken: 'secret',
          headers: (exporter) => ({
            [CLIENT_AUTH_HEADER]: keyMaterialHeader(relayIdentity(key), exporter!),
          }),
        }),
      );
      expect(socket.remoteIp).toBe('127.0.0.1');
      expect(socket.exportKeyingMaterial!(48, 'a label', utf8('context'))).toHaveLength(48);
      const client = new RawRelayClient(socket, key);
      await client.until(() => client.state === 'confirmed');
      expect(client.wasChallenged).toBe(false);
      await ended(socket, () => socket.terminate());
    }
    expect(tokens).toEqual(['secret', 'secret', 'secret']);
  });

  test('whose authority nobody believes, or whose name is another', async () => {
    const server = await tlsRelay();
    const other = await makeServerCertificate();
    const { port } = server.url.toUrl();
    for (const request of [
      requestOf(server.url),
      requestOf(server.url, { tls: { roots: [other.root] } }),
      requestOf(`https://relay.test:${port}/`, { tls: { roots } }),
    ])
      await expect(dial(request)).rejects.toMatchObject({ name: 'WebSocketError', failure: 'tls' });
    const careless = requestOf(`https://relay.test:${port}/`, { tls: { insecureSkipVerify: true } });
    (await dial(careless)).terminate();
  });

  test('that refuses: its status', async () => {
    const server = await relay();
    await expect(dial(requestOf(server.url, { protocols: ['chat'] }))).rejects.toMatchObject({
      failure: 'upgrade',
      status: 400,
    });
    const discoveryOnly = await relay({ relay: false });
    await expect(dial(requestOf(discoveryOnly.url))).rejects.toMatchObject({
      failure: 'upgrade',
      status: 404,
    });
    expect(server.clientCount).toBe(0);
  });
});

test('the request: path, query, host, token, headers, no credentials, no extensions', async () => {
  const seen: IncomingMessage[] = [];
  const port = await rig.upgrading((request, socket) => {
    seen.push(request);
    socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n');
  });
  const request = requestOf(`ws://user:pw@relay.test.:${port}/a/path?x=1&y=%20#part`, {
    authToken: 'secret',
    headers: () => ({ 'x-more': 'yes' }),
  });
  await expect(dial(request)).rejects.toMatchObject({ failure: 'upgrade', status: 401 });
  expect([seen[0]!.method, seen[0]!.url]).toEqual(['GET', '/relay?x=1&y=%20']);
  expect(seen[0]!.headers).toEqual({
    // The dot stays: it is part of the relay's name.
    host: `relay.test.:${port}`,
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': expect.any(String),
    'sec-websocket-protocol': 'iroh-relay-v2,iroh-relay-v1',
    authorization: 'Bearer secret',
    'x-more': 'yes',
  });
});

test('server names in TLS: without the dot at the end, none for an address', async () => {
  const names: unknown[] = [];
  const port = await rig.upgrading((_request, socket) => {
    names.push((socket as TLSSocket).servername);
    socket.end('HTTP/1.1 503 Busy\r\n\r\n');
  }, certificate);
  for (const host of ['localhost', 'localhost.', '127.0.0.1'])
    await expect(dial(requestOf(`wss://${host}:${port}/`, { tls: { roots } }))).rejects.toMatchObject({
      status: 503,
    });
  expect(names).toEqual(['localhost', 'localhost', false]);
});

test('an IPv6 address in a URL needs no lookup', async () => {
  const resolve = (): Promise<never> => Promise.reject(new Error('nobody is to be asked'));
  const server = await relay({ bind: '[::1]:0' });
  const socket = await openWebSocket(requestOf(server.url), { ...localDialer, resolve });
  expect([socket.localIp, socket.remoteIp]).toEqual(['::1', '::1']);
  await ended(socket, () => socket.close());
});

test('what cannot be sent is an error, not a crash', async () => {
  const port = await rig.silent();
  const url = `ws://relay.test:${port}/`;
  await expect(dial(requestOf(url, { authToken: 'two\r\nlines' }))).rejects.toMatchObject({
    failure: 'upgrade',
  });
  await expect(dial(requestOf(url, { protocols: ['not a token'] }))).rejects.toMatchObject({
    failure: 'upgrade',
  });
  const reason = new Error('no key');
  const headers = (): never => {
    throw reason;
  };
  await expect(dial(requestOf(url, { headers }))).rejects.toMatchObject({ cause: reason });
  await expect(dial(requestOf('mailto:relay@relay.test'))).rejects.toMatchObject({ failure: 'dial' });
});

test.each([
  ['none', []],
  ['another one', ['Sec-WebSocket-Protocol: chat']],
])('a server that chooses no subprotocol of ours: %s', async (_what, lines) => {
  const port = await rig.upgrading((request, socket) => socket.write(switching(request, lines)));
  await expect(dial(requestOf(`ws://relay.test:${port}/`))).rejects.toMatchObject({ failure: 'protocol' });
  await until(() => rig.openConnections === 0);
});

test('a server that is no WebSocket server, or negotiates what was not offered', async () => {
  const ports = [
    await rig.upgrading((_request, socket) => socket.end()),
    await rig.upgrading((_request, socket) => socket.end('nonsense\r\n\r\n')),
    await rig.upgrading((request, socket) => {
      request.headers['sec-websocket-key'] = 'another';
      socket.write(switching(request, ['Sec-WebSocket-Protocol: iroh-relay-v2']));
    }),
    await rig.upgrading((request, socket) =>
      socket.write(
        switching(request, [
          'Sec-WebSocket-Protocol: iroh-relay-v2',
          'Sec-WebSocket-Extensions: permessage-deflate',
        ]),
      ),
    ),
  ];
  for (const port of ports)
    await expect(dial(requestOf(`ws://relay.test:${port}/`))).rejects.toMatchObject({
      failure: 'upgrade',
      status: undefined,
    });
  await until(() => rig.openConnections === 0);
});

test('names that nobody knows, ports where nobody is', async () => {
  const cause = Object.assign(new Error('not found'), { code: 'ENOTFOUND' });
  const resolve = (): Promise<never> => Promise.reject(cause);
  await expect(
    openWebSocket(requestOf('https://relay.test/'), { ...localDialer, resolve }),
  ).rejects.toMatchObject({ failure: 'dns', cause });
  const port = await rig.silent();
  await rig.close();
  await expect(dial(requestOf(`http://127.0.0.1:${port}/`))).rejects.toMatchObject({
    failure: 'dial',
    cause: { code: 'ECONNREFUSED' },
  });
});

describe('through a proxy', () => {
  test('in clear and by TLS, with credentials, to relays with and without TLS', async () => {
    const [plain, secure] = [await relay(), await tlsRelay()];
    const seen: IncomingMessage[] = [];
    const proxies = [
      `http://me:p%40ss@proxy.test:${await rig.proxy(seen)}/`,
      `https://localhost.:${await rig.proxy(seen, certificate)}/`,
    ];
    for (const proxy of proxies)
      for (const { url } of [plain, secure]) {
        const client = new RawRelayClient(await dial(requestOf(url, { proxy, tls: { roots } })), 3);
        await client.until(() => client.state === 'confirmed');
        expect(client.socket.localIp).toBe('127.0.0.1');
        expect(client.socket.exportKeyingMaterial !== undefined).toBe(url === secure.url);
        await ended(client.socket, () => client.socket.close());
      }
    const [plainHost, secureHost] = [plain.url.toUrl().host, secure.url.toUrl().host];
    expect(seen.map(({ url }) => url)).toEqual([plainHost, secureHost, plainHost, secureHost]);
    const credentials = `Basic ${Buffer.from('me:p@ss').toString('base64')}`;
    expect(seen.map(({ headers }) => headers['proxy-authorization'])).toEqual([
      credentials,
      credentials,
      undefined,
      undefined,
    ]);
    await until(() => rig.openConnections === 0);
  });

  test('that refuses, is none, cannot be believed or reached', async () => {
    const url = 'https://localhost:1/';
    const closed = await rig.silent();
    await rig.close();
    for (const proxy of [
      // Its connection onward fails.
      `http://proxy.test:${await rig.proxy([])}/`,
      `http://proxy.test:${await rig.upgrading(() => undefined)}/`,
      `https://localhost:${await rig.proxy([], certificate)}/`,
      `http://proxy.test:${closed}/`,
      'socks5://proxy.test:1080/',
      'nonsense',
    ])
      await expect(dial(requestOf(url, { proxy }))).rejects.toMatchObject({ failure: 'proxy' });
    await until(() => rig.openConnections === 0);
  });
});

describe('given up', () => {
  const reason = new Error('enough');

  async function giveUp(
    changes: (whenThere: () => void) => Promise<[string, Partial<WebSocketRequest>]>,
  ): Promise<void> {
    const abort = new AbortController();
    let isThere: () => void = () => undefined;
    const there = new Promise<void>((resolve) => (isThere = resolve));
    const [url, more] = await changes(isThere);
    const dialled = dial(requestOf(url, { ...more, signal: abort.signal }));
    void there.then(() => abort.abort(reason));
    await expect(dialled).rejects.toMatchObject({
      name: 'WebSocketError',
      failure: 'aborted',
      cause: reason,
    });
    await until(() => rig.openConnections === 0);
  }

  test('before it starts', async () => {
    const signal = AbortSignal.abort(reason);
    await expect(dial(requestOf('http://127.0.0.1:1/', { signal }))).rejects.toMatchObject({
      failure: 'aborted',
      cause: reason,
    });
  });

  test('while the name is looked up', async () => {
    const abort = new AbortController();
    const signals: AbortSignal[] = [];
    const dialled = openWebSocket(requestOf('http://relay.test/', { signal: abort.signal }), {
      ...localDialer,
      resolve: (_host, _family, signal) => {
        signals.push(signal);
        return new Promise(() => undefined);
      },
    });
    abort.abort(reason);
    await expect(dialled).rejects.toMatchObject({ failure: 'aborted', cause: reason });
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
  });

  test('while TCP connects', async () => {
    const abort = new AbortController();
    const port = await rig.silent();
    const dialled = openWebSocket(requestOf(`http://relay.test:${port}/`, { signal: abort.signal }), {
      ...localDialer,
      resolve: async (_host, family) => {
        // After the attempt has started, before the loop can tell of its end.
        if (family === 4) setTimeout(() => queueMicrotask(() => abort.abort(reason)), 0);
        return family === 4 ? ['127.0.0.1'] : [];
      },
    });
    await expect(dialled).rejects.toMatchObject({ failure: 'aborted', cause: reason });
    await until(() => rig.openConnections === 0);
  });

  test('while the proxy thinks', () =>
    giveUp(async (whenThere) => [
      'https://localhost/',
      { proxy: `http://proxy.test:${await rig.silent(whenThere)}/` },
    ]));

  test('while TLS is set up', () =>
    giveUp(async (whenThere) => [`https://localhost:${await rig.silent(whenThere)}/`, {}]));

  test('while TLS to the proxy is set up', () =>
    giveUp(async (whenThere) => [
      'http://localhost/',
      { proxy: `https://localhost:${await rig.silent(whenThere)}/` },
    ]));

  test('while the upgrade is awaited', () =>
    giveUp(async (whenThere) => [`http://localhost:${await rig.upgrading(whenThere)}/`, {}]));

  test('while the upgrade is awaited, over TLS and a proxy', () =>
    giveUp(async (whenThere) => [
      `https://localhost:${await rig.upgrading(whenThere, certificate)}/`,
      { tls: { roots }, proxy: `http://proxy.test:${await rig.proxy([])}/` },
    ]));

  test('not any more once it is open', async () => {
    const server = await relay();
    const abort = new AbortController();
    const client = new RawRelayClient(await dial(requestOf(server.url, { signal: abort.signal })), 4);
    abort.abort(reason);
    await client.until(() => client.state === 'confirmed');
    await ended(client.socket, () => client.socket.close());
  });
});
