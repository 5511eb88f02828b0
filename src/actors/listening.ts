/**
 * What servers have in common: addresses to listen on, and certificates.
 *
 * @module
 */
import { parseAddr, type Addr } from '../base/socket-addr.ts';
import { readTextFile } from '../transport/text-file.ts';

/** Certificate chain (leaf first) and key, PEM: as text, or as files that `reload` reads again. */
export type ServerCertificate =
  { readonly cert: string; readonly key: string } | { readonly certFile: string; readonly keyFile: string };

/** Makes the error of a server. */
export type ServerFault = (
  leaf: 'InvalidOptions' | 'Certificate' | 'Bind',
  message: string,
  cause?: unknown,
) => Error;

/** @throws the fault InvalidOptions */
export function toBindAddr(text: string, fault: ServerFault): Addr {
  try {
    return parseAddr(text);
  } catch (cause) {
    throw fault('InvalidOptions', `not ip:port: ${text}`, cause);
  }
}

/** Listens where it is told to; on IPv4 where all of IPv6 is asked for and there is none. @throws the fault Bind, Certificate */
export async function listenOn<T>(
  where: string | Addr,
  fault: ServerFault,
  listen: (addr: Addr) => Promise<T>,
): Promise<T> {
  const addr = typeof where === 'string' ? toBindAddr(where, fault) : where;
  try {
    return await listen(addr);
  } catch (cause) {
    // A host without IPv6 has no "any" address of it.
    const { code } = cause as { code?: string };
    if (addr.ip === '::' && (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL'))
      return listenOn(parseAddr(`0.0.0.0:${addr.port}`), fault, listen);
    const name = (cause as Error).name;
    const isCertificate = name === 'X509Error' || /PEM|SSL|key values/i.test((cause as Error).message);
    throw isCertificate
      ? fault('Certificate', 'the certificate cannot be used', cause)
      : fault('Bind', `cannot listen on ${addr.text}`, cause);
  }
}

/** @throws the fault Certificate */
export async function readCertificate(
  source: ServerCertificate,
  fault: ServerFault,
): Promise<{ cert: string; key: string }> {
  if ('cert' in source) return source;
  try {
    const [cert, key] = await Promise.all([readTextFile(source.certFile), readTextFile(source.keyFile)]);
    return { cert, key };
  } catch (cause) {
    throw fault('Certificate', 'a certificate file cannot be read', cause);
  }
}

/** The host of a URL that leads to an address, `localhost` where that is "any". */
export function hostOf({ ip }: Addr): string {
  if (ip === '::' || ip === '0.0.0.0') return 'localhost';
  return ip.includes(':') ? `[${ip}]` : ip;
}
