/** Requests of the platform, to servers and a proxy on this host. */
import { afterEach, expect, test } from '@jest/globals';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect, type AddressInfo } from 'node:net';
import { httpFetch as browserFetch } from '../../../src/transport/http.browser.ts';
import { httpFetch } from '../../../src/transport/http.ts';
import { makeServerCertificate } from '../../support/certificates.ts';

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const answer: RequestListener = (request, response) => {
  if (request.url === '/moved') response.writeHead(302, { Location: '/' }).end();
  else if (request.url === '/long') response.end('x'.repeat(10_000));
  else if (request.url !== '/silent')
    response.writeHead(204, { 'X-Answer': `to ${request.headers['x-ask']}` }).end();
};

const signal = new AbortController().signal;
const maxBodyBytes = 8_192;

test('status and headers, over HTTP', async () => {
  const port = await listen(createServer(answer));
  const response = await httpFetch({
    url: `http://127.0.0.1:${port}/ping`,
    headers: { 'X-Ask': 'me' },
    signal,
    maxBodyBytes,
  });
  expect([response.status, response.headers.get('x-answer'), response.body.length]).toEqual([
    204,
    'to me',
    0,
  ]);
});

test.each([
  ['Node', httpFetch],
  // Node has the same `fetch`.
  ['browser', browserFetch],
])('a PUT brings its body: %s', async (_platform, fetch) => {
  const seen: unknown[] = [];
  const port = await listen(
    createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        seen.push(request.method, request.headers['content-length'], Buffer.concat(chunks).toString('hex'));
        response.writeHead(204).end();
      });
    }),
  );
  const url = `http://127.0.0.1:${port}/`;
  const body = Uint8Array.of(1, 2, 255);
  const { status } = await fetch({ url, method: 'PUT', body, signal, maxBodyBytes });
  expect(status).toBe(204);
  expect(seen).toEqual(['PUT', '3', '0102ff']);
});

test.each([
  ['Node', httpFetch],
  ['browser', browserFetch],
])(
  'who wants the headers only does not wait for the rest, and the connection is closed: %s',
  async (_, fetch) => {
    let closed: Promise<void>;
    const port = await listen(
      createServer((_request, response) => {
        closed = new Promise((resolve) => response.once('close', () => resolve()));
        response.writeHead(200, { 'X-Answer': 'page' }).write('x'.repeat(100_000));
      }),
    );
    const { status, headers, body } = await fetch({
      url: `http://127.0.0.1:${port}/`,
      signal,
      maxBodyBytes: 0,
    });
    expect([status, headers.get('x-answer'), body.length]).toEqual([200, 'page', 0]);
    await closed!;
  },
);

test('who stalls in the middle of an answer is given up, too', async () => {
  const port = await listen(createServer((_, response) => void response.writeHead(200).write('half')));
  const abort = new AbortController();
  const reason = new Error('enough');
  const url = `http://127.0.0.1:${port}/`;
  const response = httpFetch({ url, signal: abort.signal, maxBodyBytes });
  // Once the answer has begun; before, it would be another case.
  servers.at(-1)!.on('request', () => setImmediate(() => setImmediate(() => abort.abort(reason))));
  await expect(response).rejects.toBe(reason);
});

test('redirects are not followed, long answers are errors, waiting can be given up', async () => {
  const port = await listen(createServer(answer));
  const url = `http://127.0.0.1:${port}`;
  expect((await httpFetch({ url: `${url}/moved`, signal, maxBodyBytes })).status).toBe(302);
  await expect(httpFetch({ url: `${url}/long`, signal, maxBodyBytes })).rejects.toThrow(
    'longer than 8192 bytes',
  );
  const abort = new AbortController();
  const reason = new Error('enough');
  const silent = httpFetch({ url: `${url}/silent`, signal: abort.signal, maxBodyBytes });
  abort.abort(reason);
  await expect(silent).rejects.toBe(reason);
  await expect(httpFetch({ url: 'ftp://127.0.0.1/', signal, maxBodyBytes })).rejects.toThrow(
    'not a web address',
  );
});

test('HTTPS believes the given roots, directly and through a proxy, and nobody else', async () => {
  const { root, chain, key } = await makeServerCertificate();
  const port = await listen(createTlsServer({ cert: chain, key }, answer));
  const seen: string[] = [];
  const proxy = createServer((_request, response) => response.writeHead(405).end());
  proxy.on('connect', (request, socket) => {
    seen.push(request.url!);
    const onward = connect(Number(request.url!.split(':')[1]), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
    for (const each of [socket, onward]) each.on('error', () => onward.destroy());
    onward.on('close', () => socket.destroy());
  });
  const proxyUrl = `http://127.0.0.1:${await listen(proxy)}`;
  const url = `https://localhost:${port}/ping`;
  await expect(httpFetch({ url, signal, maxBodyBytes })).rejects.toMatchObject({ code: expect.any(String) });
  for (const request of [
    { url, tls: { roots: [root] } },
    { url, tls: { insecureSkipVerify: true } },
    { url, tls: { roots: [root] }, proxy: proxyUrl },
    // A dot at the end of a name is no part of the name in the certificate.
    { url: url.replace('localhost', 'localhost.'), tls: { roots: [root] }, proxy: proxyUrl },
    // An address is no server name; the certificate has it all the same.
    { url: url.replace('localhost', '127.0.0.1'), tls: { roots: [root] }, proxy: proxyUrl },
  ])
    expect((await httpFetch({ ...request, signal, maxBodyBytes })).status).toBe(204);
  expect(seen).toEqual([`localhost:${port}`, `localhost.:${port}`, `127.0.0.1:${port}`]);
});

test('a proxy that is none', async () => {
  const port = await listen(createServer((_request, response) => response.writeHead(405).end()));
  const proxy = `http://127.0.0.1:${port}`;
  await expect(httpFetch({ url: 'https://localhost:1/', proxy, signal, maxBodyBytes })).rejects.toThrow();
});
