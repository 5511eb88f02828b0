/**
 * Whether datagrams to a group come back on this machine: containers without a network have no way to any group.
 *
 * @module
 */
import { toAddr, type Addr } from '../../src/base/socket-addr.ts';
import type { MulticastTransport } from '../../src/transport/datagram.ts';
import { bindMulticast } from '../../src/transport/multicast.ts';

/** What a datagram on this machine may take, ms. */
const LIMIT_MS = 3_000;

let groupCount = 0;

/** A group that nobody else uses (RFC 2365 §6.2, RFC 4291 §2.7), each on a port of its own. */
export function someGroup(family: 4 | 6): Addr {
  const port = 20_000 + ((process.pid * 16 + ++groupCount) % 40_000);
  return family === 4 ? toAddr('239.255.77.77', port) : toAddr('ff02::4d4d', port);
}

/** The next datagram. @throws {Error} after a while without any. */
export function nextDatagram(socket: MulticastTransport): Promise<{ data: Uint8Array; from: Addr }> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no datagram within ${LIMIT_MS} ms`)), LIMIT_MS);
    socket.onDatagram = (data, from) => {
      clearTimeout(timer);
      socket.onDatagram = undefined;
      resolve({ data: data.slice(), from });
    };
  });
}

/** Families that work here. What does not is printed: those tests are left out. */
export async function workingFamilies(): Promise<(4 | 6)[]> {
  const working: (4 | 6)[] = [];
  for (const family of [4, 6] as const) {
    try {
      const socket = await bindMulticast({ group: someGroup(family), ttl: 1 });
      const heard = nextDatagram(socket);
      socket.send(Uint8Array.of(1));
      await heard.finally(() => socket.close());
      working.push(family);
    } catch (error) {
      console.log(`no IPv${family} multicast on this machine, tests of it are left out: ${String(error)}`);
    }
  }
  return working;
}
