/** The relay server on real sockets, asked with `ws` and `node:http`, and nothing of our client. */
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterEach, describe, expect, test } from '@jest/globals';
import { utf8 } from '../../src/base/bytes.ts';
import { SecretKey } from '../../src/crypto/keys.ts';
import { RelayServer, RelayServerError, type RelayServerOptions } from '../../src/relay-server.ts';
import { CLIENT_AUTH_HEADER, keyMaterialHeader, relayIdentity } from '../../src/relay/handshake.ts';
import { makeServerCertificate } from '../support/certificates.ts';
import { RawRelayClient } from '../support/raw-relay-client.ts';
import { openRawSocket, type RawSocketOptions } from '../support/raw-web-socket.ts';

const servers: RelayServer[] = [];
const clients: RawRelayClient[] = [];
const hello = utf8('hello');

async function listen(options: RelayServerOptions = {}): Promise<RelayServer> {
  const server = await RelayServer.listen(options);
  servers.push(server);
  return server;
}

/** A client that is confirmed or denied. */
async function connect(
  server: RelayServer,
  seed: number | SecretKey,
  options: RawSocketOptions = {},
): Promise<RawRelayClient> {
  const client = new RawRelayClient(await openRawSocket(server.url.href, options), seed);
  clients.push(client);
  await client.until(() => client.state !== 'handshake');
  return client;
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.terminate();
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

function get(url: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { headers, method, agent: false, rejectUnauthorized: false };
    const request = url.startsWith('https:') ? httpsRequest(url, options) : httpRequest(url, options);
    const done = (
      response: { statusCode?: number | undefined; headers: IncomingHttpHeaders },
      body: string,
    ): void => resolve({ status: response.statusCode!, headers: response.headers, body });
    request.on('upgrade', (response, socket) => {
      socket.destroy();
      done(response, '');
    });
    request.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (body += chunk));
      response.on('end', () => done(response, body));
    });
    request.on('error', reject);
    request.end();
  });
}

test('two clients, through HTTP', async () => {
  const server = await listen();
  expect(server.url.href).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
  const [a, b] = [await connect(server, 1), await connect(server, 2)];
  expect(server.clientCount).toBe(2);
  a.sendTo(b, hello);
  await b.until(() => b.received('datagrams').length === 1);
  expect(b.received('datagrams')).toMatchObject([{ ecn: 2, segmentBytes: 0 }]);
  expect([...b.received('datagrams')[0]!.peer]).toEqual([...a.id]);
  expect([...b.received('datagrams')[0]!.contents]).toEqual([...hello]);
  // 60 KiB batches, more than one read of the system holds.
  for (let i = 0; i < 100; i++) b.sendTo(a, new Uint8Array(60_000).fill(i), 1_200);
  await a.until(() => a.received('datagrams').length === 100);
  a.received('datagrams').forEach(({ contents, segmentBytes }, i) => {
    expect([segmentBytes, contents.length, contents[0], contents[59_999]]).toEqual([1_200, 60_000, i, i]);
  });
  expect(server.metrics()).toMatchObject({ accepts: 2, send_packets_sent: 101 });
});

test('the upgrade: what is demanded and what is said', async () => {
  const server = await listen();
  const url = `${server.url.href}relay`;
  const good = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Protocol': 'x, iroh-relay-v1,iroh-relay-v2',
  };
  const ok = await get(url, good);
  expect(ok.status).toBe(101);
  expect(ok.headers).toMatchObject({
    'sec-websocket-protocol': 'iroh-relay-v2',
    'sec-websocket-accept': 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
    'strict-transport-security': 'max-age=63072000; includeSubDomains',
  });
  expect(ok.headers).not.toHaveProperty('sec-websocket-extensions');
  expect((await get(url, { ...good, 'Sec-WebSocket-Protocol': 'iroh-relay-v9' })).status).toBe(400);
  expect((await get(url, { ...good, 'Sec-WebSocket-Protocol': '' })).status).toBe(400);
  expect((await get(url, { ...good, Upgrade: 'WebSocket' })).status).toBe(400);
  const old = await get(url, { ...good, 'Sec-WebSocket-Version': '8' });
  expect([old.status, old.headers['sec-websocket-version']]).toEqual([400, '13']);
  expect((await get(`${server.url.href}derp`, good)).status).toBe(404);
  expect((await get(url)).status).toBe(400);
});

test('pages and probes', async () => {
  const server = await listen();
  const at = (path: string): string => new URL(path, server.url.href).href;
  const ping = await get(at('/ping'));
  expect([ping.status, ping.body, ping.headers['access-control-allow-origin']]).toEqual([200, '', '*']);
  expect(ping.headers['content-security-policy']).toContain("default-src 'none'");
  expect((await get(at('/ping?x=1'))).status).toBe(200);
  expect((await get(at('/'))).headers['content-type']).toContain('text/html');
  expect((await get(at('/index.html'))).body).toContain('relay');
  expect(JSON.parse((await get(at('/healthz'))).body)).toMatchObject({ status: 'ok' });
  expect((await get(at('/robots.txt'))).body).toContain('Disallow: /');
  expect(await get(at('/other'))).toMatchObject({ status: 404, body: 'Not Found' });
  expect((await get(at('/ping'), {}, 'POST')).status).toBe(404);
  const portal = await get(at('/generate_204'), { 'X-Iroh-Challenge': 'ts_relay.example.com' });
  expect([portal.status, portal.headers['x-iroh-response']]).toEqual([204, 'response ts_relay.example.com']);
  for (const challenge of ['', 'a b', 'x'.repeat(64), 'ü'])
    expect((await get(at('/generate_204'), { 'X-Iroh-Challenge': challenge })).headers).not.toHaveProperty(
      'x-iroh-response',
    );
});

describe('TLS', () => {
  test('the proof in the header saves the challenge; HTTP answers captive portal checks only', async () => {
    const { chain: cert, key } = await makeServerCertificate();
    const server = await listen({ tls: { bind: '127.0.0.1:0', cert, key } });
    expect(server.url.href).toMatch(/^https:/);
    const secretKey = SecretKey.fromBytes(new Uint8Array(32).fill(7));
    const a = await connect(server, secretKey, {
      tlsHeaders: (exporter) => ({
        [CLIENT_AUTH_HEADER]: keyMaterialHeader(relayIdentity(secretKey), exporter),
      }),
    });
    expect(a.state).toBe('confirmed');
    expect(a.wasChallenged).toBe(false);
    const b = await connect(server, 8);
    expect(b.wasChallenged).toBe(true);
    a.sendTo(b, hello);
    await b.until(() => b.received('datagrams').length === 1);

    const plain = `http://127.0.0.1:${server.httpAddr.port}`;
    expect((await get(`${plain}/generate_204`)).status).toBe(204);
    expect((await get(`${plain}/ping`)).status).toBe(404);
    await expect(openRawSocket(plain)).rejects.toMatchObject({ status: 404 });
    expect((await get(`${server.url.href}ping`)).status).toBe(200);
    expect((await get(`${server.url.href}generate_204`)).status).toBe(404);
  });

  test('certificate files are read again; a bad one changes nothing; clients stay', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'iroh-ts-relay-'));
    try {
      const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
      const put = async (serial: string): Promise<void> => {
        const { chain, key } = await makeServerCertificate('EC P-256', serial);
        writeFileSync(certFile, chain);
        writeFileSync(keyFile, key);
      };
      await put('11');
      const server = await listen({
        tls: { bind: '127.0.0.1:0', certFile, keyFile },
        addressDiscovery: { bind: '127.0.0.1:0' },
      });
      const client = await connect(server, 1);
      const serial = (): Promise<string> =>
        new Promise((resolve, reject) => {
          const socket = connectTls(
            { host: '127.0.0.1', port: server.httpsAddr!.port, rejectUnauthorized: false },
            () => {
              resolve(socket.getPeerCertificate().serialNumber);
              socket.destroy();
            },
          );
          socket.on('error', reject);
        });
      expect(await serial()).toBe('11');
      await put('12');
      expect(await serial()).toBe('11');
      await server.reload();
      expect(await serial()).toBe('12');
      writeFileSync(certFile, 'no certificate');
      await expect(server.reload()).rejects.toMatchObject({ code: 'RelayServerError.Certificate' });
      expect(await serial()).toBe('12');
      rmSync(keyFile);
      await expect(server.reload()).rejects.toMatchObject({ code: 'RelayServerError.Certificate' });
      client.sendTo(client, hello);
      await client.until(() => client.received('datagrams').length === 1);

      await put('13');
      let onReload: ((error: unknown) => void) | undefined;
      const timed = new Promise<unknown>((resolve) => (onReload = resolve));
      await listen({
        tls: { bind: '127.0.0.1:0', certFile, keyFile },
        reloadIntervalMs: 10,
        onReload: (error) => onReload!(error),
      });
      expect(await timed).toBeUndefined();
      rmSync(keyFile);
      const failed = new Promise<unknown>((resolve) => (onReload = (error) => error && resolve(error)));
      expect(await failed).toMatchObject({ code: 'RelayServerError.Certificate' });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('access', () => {
  test('F07: a token in the header, or in the query as browsers have it', async () => {
    const server = await listen({ access: { tokens: ['p+ss w/rd', 'other'] } });
    const withHeader = (token: string): RawSocketOptions => ({
      headers: { Authorization: `bearer ${token}` },
    });
    expect(await connect(server, 1, withHeader('wrong'))).toMatchObject({
      state: 'denied',
      denial: 'not authorized',
    });
    expect((await connect(server, 1)).state).toBe('denied');
    expect((await connect(server, 1, withHeader('other'))).state).toBe('confirmed');
    expect((await connect(server, 2, { query: '?x=1&token=p%2Bss%20w%2Frd' })).state).toBe('confirmed');
    expect((await connect(server, 3, { query: '?token=%E0%A4%A' })).state).toBe('denied');
  });

  test('allow list, deny list, a function, one that throws', async () => {
    const [one, two] = [1, 2].map((seed) => SecretKey.fromBytes(new Uint8Array(32).fill(seed)).publicKey);
    const states = async (access: RelayServerOptions['access']): Promise<string[]> => {
      const server = await listen({ access });
      return Promise.all([1, 2].map(async (seed) => (await connect(server, seed)).state));
    };
    expect(await states({ allow: [one!.toString()] })).toEqual(['confirmed', 'denied']);
    expect(await states({ deny: [two!] })).toEqual(['confirmed', 'denied']);
    expect(await states(({ endpointId }) => endpointId.equals(two!))).toEqual(['denied', 'confirmed']);
    expect(await states(() => Promise.reject(new Error('no database')))).toEqual(['denied', 'denied']);
    const server = await listen({ access: () => 'come back tomorrow' });
    expect((await connect(server, 1)).denial).toBe('come back tomorrow');
  });

  test('another server is asked over HTTP', async () => {
    const asked: IncomingHttpHeaders[] = [];
    let body = 'true';
    const authority = createServer((request, response) => {
      asked.push(request.headers);
      expect(request.method).toBe('POST');
      response.end(body);
    });
    await new Promise<void>((resolve) => authority.listen(0, '127.0.0.1', resolve));
    try {
      const url = `http://127.0.0.1:${(authority.address() as AddressInfo).port}/may`;
      const server = await listen({ access: { http: { url, bearerToken: 'secret' } } });
      const client = await connect(server, 1);
      expect(client.state).toBe('confirmed');
      expect(asked[0]).toMatchObject({
        'x-iroh-nodeid': client.key.publicKey.toString(),
        authorization: 'Bearer secret',
      });
      body = 'true\n';
      expect((await connect(server, 2)).state).toBe('denied');
    } finally {
      authority.closeAllConnections();
      await new Promise((resolve) => authority.close(resolve));
    }
    const gone = await listen({ access: { http: { url: 'http://127.0.0.1:1/' } } });
    expect((await connect(gone, 1)).state).toBe('denied');
  });
});

describe('limits', () => {
  test('connections per second, and at a time: more are dropped', async () => {
    const server = await listen({ limits: { acceptsPerSecond: 10, acceptBurst: 3 } });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 12 }, () => get(`${server.url.href}ping`)),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBeLessThan(8);
    const narrow = await listen({ limits: { maxConnections: 1 } });
    await connect(narrow, 1);
    await expect(get(`${narrow.url.href}ping`)).rejects.toThrow();
  });

  test('what is no HTTP is answered with 400', async () => {
    const server = await listen();
    const answer = await new Promise<string>((resolve) => {
      const socket = connectTcp(server.httpAddr.port, '127.0.0.1', () => socket.write('hello?\r\n\r\n'));
      let text = '';
      socket.on('data', (data) => (text += data.toString()));
      socket.on('close', () => resolve(text));
    });
    expect(answer).toMatch(/^HTTP\/1.1 400/);
  });

  test('a message above 1 MiB ends the connection', async () => {
    let onEnded: ((reason: string) => void) | undefined;
    const ended = new Promise<string>((resolve) => (onEnded = resolve));
    const server = await listen({
      onEvent: (event) => void (event.type === 'ended' && onEnded!(event.reason)),
    });
    const client = await connect(server, 1);
    client.socket.send(new Uint8Array(1_048_577));
    expect(await ended).toBe('closed');
    expect(server.clientCount).toBe(0);
  });
});

test('metrics as OpenMetrics text, on every path of their own port', async () => {
  const server = await listen({ metrics: { bind: '127.0.0.1:0' } });
  await connect(server, 1);
  const { body, status } = await get(`http://127.0.0.1:${server.metricsAddr!.port}/whatever`);
  expect(status).toBe(200);
  expect(body).toContain('relayserver_accepts_total 1\n');
  expect(body.endsWith('# EOF\n')).toBe(true);
});

test('close announces the restart, ends all connections, frees the port, and may be called twice', async () => {
  const server = await listen();
  const client = await connect(server, 1);
  const { port } = server.httpAddr;
  const idle = connectTcp(port, '127.0.0.1');
  await new Promise((resolve) => idle.once('connect', resolve));
  const ended = client.until(() => client.state === 'closed');
  await Promise.all([server.close(), server.close()]);
  await ended;
  expect(client.received('restarting')).toHaveLength(1);
  const again = await listen({ bind: `127.0.0.1:${port}` });
  expect(again.httpAddr.port).toBe(port);
  idle.destroy();
});

test('a port that is taken, a certificate that is none, options that cannot be', async () => {
  const { port } = (await listen()).httpAddr;
  const codeOf = (options: RelayServerOptions): Promise<string> =>
    RelayServer.listen(options).then(
      () => 'no error',
      (error: unknown) => (error instanceof RelayServerError ? error.code : String(error)),
    );
  expect(await codeOf({ bind: `127.0.0.1:${port}` })).toBe('RelayServerError.Bind');
  expect(await codeOf({ bind: 'nowhere' })).toBe('RelayServerError.InvalidOptions');
  expect(await codeOf({ tls: { bind: '127.0.0.1:0', cert: 'x', key: 'y' } })).toBe(
    'RelayServerError.Certificate',
  );
  expect(await codeOf({ tls: { bind: '127.0.0.1:0', certFile: '/nowhere', keyFile: '/nowhere' } })).toBe(
    'RelayServerError.Certificate',
  );
  expect(await codeOf({ addressDiscovery: { bind: '127.0.0.1:0' } })).toBe('RelayServerError.InvalidOptions');
  expect(await codeOf({ access: { tokens: [] } })).toBe('RelayServerError.InvalidOptions');
  expect(await codeOf({ limits: { clientRx: { bytesPerSecond: 1 } } })).toBe(
    'RelayServerError.InvalidOptions',
  );
});
