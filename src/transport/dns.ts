/**
 * Addresses of hosts as this system finds them: hosts file, mDNS, DNS, whatever it is set up for.
 *
 * @module
 */
import { lookup } from 'node:dns';

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
