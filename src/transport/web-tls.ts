/**
 * What `node:tls` is to check when a web server is dialled.
 *
 * @module
 */
import { isIP } from 'node:net';
import type { TlsTrust } from './relay-socket.ts';

/** Options of `tls.connect` and `https.request`. */
export interface WebTlsOptions {
  readonly ca?: string[];
  readonly rejectUnauthorized?: boolean;
  /** Empty for none: IP addresses are no server names (RFC 6066 §3). */
  readonly servername: string;
  /** Whose certificate is asked for when there is no server name. */
  readonly host: string;
}

/** @param hostname - Of a URL: IPv6 in brackets, names perhaps with a dot at their end. */
export function webTlsOptions(hostname: string, tls: TlsTrust | undefined): WebTlsOptions {
  const host = plainHost(hostname);
  return {
    ...(tls?.roots !== undefined && { ca: [...tls.roots] }),
    ...(tls?.insecureSkipVerify === true && { rejectUnauthorized: false }),
    servername: isIP(host) === 0 ? host : '',
    host,
  };
}

/** A host as sockets, SNI and certificates have it: no brackets, no dot at the end (RFC 6066 §3). */
export function plainHost(hostname: string): string {
  return hostname.replace(/^\[|\]$|\.$/g, '');
}
