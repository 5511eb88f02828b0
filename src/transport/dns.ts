/**
 * Addresses of hosts as this system finds them: hosts file, mDNS, DNS, whatever it is set up for. TXT records as its name
 * servers have them.
 *
 * @module
 */
import { lookup, Resolver } from 'node:dns';
import { fromLatin1 } from '../base/bytes.ts';
import type { TxtRequest } from './platform.ts';

/** How long a name server may take, ms; upstream `iroh-dns/src/dns.rs`, `DNS_TIMEOUT`. Who asks again does so by himself. */
const DNS_TIMEOUT_MS = 3_000;
/** There is no such name; there is one, without TXT records. */
const NO_RECORDS: readonly unknown[] = ['ENOTFOUND', 'ENODATA'];

/**
 * All addresses of one family, in the system's order.
 *
 * @param host - A name, with or without a dot at its end.
 * @throws the signal's reason; the system's error (`ENOTFOUND`, `EAI_AGAIN`, ...), also when there are none.
 */
export function resolveHost(host: string, family: 4 | 6, signal: AbortSignal): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    // getaddrinfo cannot be called off; what it finds later is dropped.
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    // Hosts files know no dot at the end of a name.
    lookup(host.replace(/\.$/, ''), { family, all: true }, (error, found) => {
      signal.removeEventListener('abort', onAbort);
      if (error !== null) reject(error);
      else resolve(found.map(({ address }) => address));
    });
  });
}

/**
 * The TXT records of a name, the strings of each joined; none if there are none.
 *
 * @param name - With or without a dot at its end; search domains are not added.
 * @throws the signal's reason; the system's error (`ETIMEOUT`, `ESERVFAIL`, `ECONNREFUSED`, ...).
 */
export function resolveTxt(name: string, { signal, servers }: TxtRequest): Promise<readonly Uint8Array[]> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    // A new one each time: it reads the system's settings, which may have changed with the network.
    const resolver = new Resolver({ timeout: DNS_TIMEOUT_MS, tries: 1 });
    if (servers !== undefined) resolver.setServers([...servers]);
    const onAbort = (): void => resolver.cancel();
    signal.addEventListener('abort', onAbort, { once: true });
    resolver.resolveTxt(name, (error, records) => {
      signal.removeEventListener('abort', onAbort);
      if (signal.aborted) reject(signal.reason as Error);
      else if (error === null) resolve(records.map((strings) => fromLatin1(strings.join(''))));
      else if (NO_RECORDS.includes(error.code)) resolve([]);
      else reject(error);
    });
  });
}
