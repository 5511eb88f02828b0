/**
 * Small HTTP requests through Node: no redirects, bounded answers, own trust, proxies. Twin: `http.browser.ts`.
 *
 * @module
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect as tlsConnect } from 'node:tls';
import type { Duplex } from 'node:stream';
import type { HttpRequest, HttpResponse } from './platform.ts';
import type { TlsTrust } from './relay-socket.ts';

/** GETs a URL. Resolves for every status. @throws the signal's reason; the system's error; {@link Error} when the answer is too long. */
export async function httpFetch(request: HttpRequest): Promise<HttpResponse> {
  request.signal.throwIfAborted();
  const url = new URL(request.url);
  const isTls = url.protocol === 'https:';
  if (!isTls && url.protocol !== 'http:') throw new Error(`not a web address: ${request.url}`);
  if (request.proxy === undefined) return get(request, url, undefined);
  const tunnel = await openTunnel(new URL(request.proxy), url, request);
  try {
    return await get(request, url, tunnel);
  } finally {
    tunnel.destroy();
  }
}

function trustOptions(tls: TlsTrust | undefined): { ca?: string[]; rejectUnauthorized?: boolean } {
  return {
    ...(tls?.roots !== undefined && { ca: [...tls.roots] }),
    ...(tls?.insecureSkipVerify === true && { rejectUnauthorized: false }),
  };
}

function get(request: HttpRequest, url: URL, tunnel: Duplex | undefined): Promise<HttpResponse> {
  const { headers, signal, maxBodyBytes, tls } = request;
  const isTls = url.protocol === 'https:';
  // Certificates and SNI know no dot at the end of a name (RFC 6066 §3).
  const servername = url.hostname.replace(/^\[|\]$|\.$/g, '');
  const isName = /[^\d.:]/.test(servername) && !servername.includes(':');
  const options = {
    method: 'GET',
    headers: { ...headers, connection: 'close' },
    signal,
    ...(isTls && { ...trustOptions(tls), servername: isName ? servername : '' }),
    // No pool: a socket that stays open would keep the process alive. An agent would not look at `createConnection`.
    ...(tunnel === undefined && { agent: false as const }),
    ...(tunnel !== undefined && {
      createConnection: () =>
        isTls
          ? tlsConnect({ socket: tunnel, servername: isName ? servername : '', ...trustOptions(tls) })
          : tunnel,
    }),
  };
  return new Promise<HttpResponse>((resolve, reject) => {
    const outgoing = (isTls ? httpsRequest : httpRequest)(url, options, (response) => {
      read(response, maxBodyBytes).then(resolve, reject);
    });
    outgoing.on('error', (error) => reject(signal.aborted ? (signal.reason as Error) : error));
    outgoing.end();
  });
}

async function read(response: IncomingMessage, maxBodyBytes: number): Promise<HttpResponse> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > maxBodyBytes) {
      response.destroy();
      throw new Error(`the answer is longer than ${maxBodyBytes} bytes`);
    }
    chunks.push(chunk);
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  const headers = new Map<string, string>();
  for (const [name, value] of Object.entries(response.headers))
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(', ') : value);
  return { status: response.statusCode ?? 0, headers, body };
}

/** RFC 9110 §9.3.6. */
function openTunnel(proxy: URL, url: URL, { signal, tls }: HttpRequest): Promise<Duplex> {
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  const isTls = proxy.protocol === 'https:';
  const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  const path = `${url.hostname}:${port}`;
  return new Promise<Duplex>((resolve, reject) => {
    const outgoing = (isTls ? httpsRequest : httpRequest)({
      host: proxy.hostname.replace(/^\[|\]$/g, ''),
      port: proxy.port || (isTls ? 443 : 80),
      method: 'CONNECT',
      path,
      headers: {
        host: path,
        ...(proxy.username !== '' && {
          'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}`,
        }),
      },
      signal,
      agent: false,
      ...(isTls && trustOptions(tls)),
    });
    outgoing.on('connect', (response, socket) => {
      if (response.statusCode === 200) return resolve(socket);
      socket.destroy();
      reject(new Error(`the proxy answered ${response.statusCode}`));
    });
    // A proxy that answers as a web server does not tunnel.
    outgoing.on('response', (response) => {
      response.destroy();
      reject(new Error(`the proxy answered ${response.statusCode}`));
    });
    outgoing.on('error', (error) => reject(signal.aborted ? (signal.reason as Error) : error));
    outgoing.end();
  });
}
