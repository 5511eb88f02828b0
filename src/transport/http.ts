/**
 * Small HTTP requests through Node: no redirects, bounded answers, own trust, proxies. Twin: `http.browser.ts`.
 *
 * @module
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect as tlsConnect } from 'node:tls';
import type { Duplex } from 'node:stream';
import { openTunnel } from './http-tunnel.ts';
import type { HttpRequest, HttpResponse } from './platform.ts';
import { webTlsOptions } from './web-tls.ts';

/** Asks a web server. Resolves for every status. @throws the signal's reason; the system's error; {@link Error} when the answer is too long. */
export async function httpFetch(request: HttpRequest): Promise<HttpResponse> {
  request.signal.throwIfAborted();
  const url = new URL(request.url);
  const isTls = url.protocol === 'https:';
  if (!isTls && url.protocol !== 'http:') throw new Error(`not a web address: ${request.url}`);
  if (request.proxy === undefined) return ask(request, url, undefined);
  const tunnel = await openTunnel(new URL(request.proxy), url, request);
  try {
    return await ask(request, url, tunnel);
  } finally {
    tunnel.destroy();
  }
}

function ask(request: HttpRequest, url: URL, tunnel: Duplex | undefined): Promise<HttpResponse> {
  const { method = 'GET', body, headers, signal, maxBodyBytes, tls } = request;
  const isTls = url.protocol === 'https:';
  const tlsOptions = webTlsOptions(url.hostname, tls);
  const options = {
    method,
    headers: {
      ...headers,
      ...(body !== undefined && { 'content-length': body.length }),
      connection: 'close',
    },
    signal,
    ...(isTls && tlsOptions),
    // No pool: a socket that stays open would keep the process alive. An agent would not look at `createConnection`.
    ...(tunnel === undefined && { agent: false as const }),
    ...(tunnel !== undefined && {
      createConnection: () => (isTls ? tlsConnect({ socket: tunnel, ...tlsOptions }) : tunnel),
    }),
  };
  return new Promise<HttpResponse>((resolve, reject) => {
    const fail = (error: unknown): void => reject(signal.aborted ? (signal.reason as Error) : error);
    const outgoing = (isTls ? httpsRequest : httpRequest)(url, options, (response) => {
      read(response, maxBodyBytes).then(resolve, fail);
    });
    outgoing.on('error', fail);
    outgoing.end(body);
  });
}

async function readBody(response: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > maxBytes) {
      response.destroy();
      throw new Error(`the answer is longer than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
}

async function read(response: IncomingMessage, maxBodyBytes: number): Promise<HttpResponse> {
  const body = maxBodyBytes === 0 ? new Uint8Array() : await readBody(response, maxBodyBytes);
  if (maxBodyBytes === 0) response.destroy();
  const headers = new Map<string, string>();
  for (const [name, value] of Object.entries(response.headers))
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(', ') : value);
  return { status: response.statusCode ?? 0, headers, body };
}
