/**
 * Connections through HTTP proxies (RFC 9110 §9.3.6).
 *
 * @module
 */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import type { TlsTrust } from './relay-socket.ts';
import { plainHost, webTlsOptions } from './web-tls.ts';

/** How a tunnel is opened. */
export interface TunnelOptions {
  readonly signal: AbortSignal;
  /** Whom to believe when the proxy itself is reached by TLS. */
  readonly tls?: TlsTrust | undefined;
  /** A connection to the proxy, with TLS up; by default one is made. */
  readonly connection?: Duplex | undefined;
}

/**
 * Asks a proxy for a connection to the host of a URL. Credentials of the proxy's URL go as Basic authentication.
 *
 * @throws the signal's reason; the system's error; {@link Error} when the proxy refuses.
 */
export function openTunnel(proxy: URL, target: URL, options: TunnelOptions): Promise<Duplex> {
  const { signal, tls, connection } = options;
  const port = target.port || (/^(?:https|wss):$/.test(target.protocol) ? '443' : '80');
  const path = `${target.hostname}:${port}`;
  const isTls = proxy.protocol === 'https:';
  const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return new Promise<Duplex>((resolve, reject) => {
    const outgoing = (isTls && connection === undefined ? httpsRequest : httpRequest)({
      ...(isTls && webTlsOptions(proxy.hostname, tls)),
      host: plainHost(proxy.hostname),
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
      // No pool. An agent would not look at `createConnection`.
      ...(connection === undefined ? { agent: false } : { createConnection: () => connection }),
    });
    outgoing.on('connect', (response, socket, head: Buffer) => {
      if (Math.floor(response.statusCode! / 100) === 2) {
        if (head.length > 0) socket.unshift(head);
        return resolve(socket);
      }
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
