/**
 * Under which addresses an endpoint may be reached without a relay, put together from all that is known
 * (upstream `iroh/src/socket.rs`, `update_direct_addresses`).
 *
 * @module
 */
import { localIps, type InterfaceState } from '../base/interface-state.ts';
import { isUnspecified, toAddr, type Addr } from '../base/socket-addr.ts';
import type { NetReport } from '../net-report/report.ts';

/** How an address came to be known. */
export type DirectAddrType =
  /** A router maps it for us. */
  | 'portmapped'
  /** A relay sees us under it. */
  | 'qad'
  /** What a relay sees, with the port of our socket: a guess that a forwarded port makes true. */
  | 'qad4LocalPort'
  /** Of an interface. */
  | 'local'
  /** The application says so. */
  | 'config';

/** An address with how it came to be known. */
export interface DirectAddr {
  readonly addr: Addr;
  readonly type: DirectAddrType;
}

/** A socket of this endpoint. */
export interface LocalSocket {
  /** Where it is bound, with the real port. */
  readonly addr: Addr;
  /** Which port was asked for; 0: any. */
  readonly requestedPort: number;
}

/** All that is known. */
export interface DirectAddrFacts {
  readonly portMapped: Addr | undefined;
  readonly report: Pick<NetReport, 'globalV4' | 'globalV6' | 'mappingVariesByDestV4'> | undefined;
  readonly sockets: readonly LocalSocket[];
  readonly network: InterfaceState;
  readonly configured: Iterable<Addr>;
}

/** Each address once; the first source to name it decides its type. In the order of sources. */
export function composeDirectAddrs(facts: DirectAddrFacts): DirectAddr[] {
  const { portMapped, report, sockets, network, configured } = facts;
  const found = new Map<Addr, DirectAddrType>();
  const add = (addr: Addr, type: DirectAddrType): void => {
    if (!found.has(addr)) found.set(addr, type);
  };
  if (portMapped !== undefined) add(portMapped, 'portmapped');
  if (report?.globalV4 !== undefined) {
    add(report.globalV4, 'qad');
    const fixed = sockets.find(({ addr, requestedPort }) => addr.family === 4 && requestedPort !== 0);
    if (report.mappingVariesByDestV4 === true && fixed !== undefined)
      add(toAddr(report.globalV4.ip, fixed.requestedPort), 'qad4LocalPort');
  }
  if (report?.globalV6 !== undefined) add(report.globalV6, 'qad');
  addLocal(sockets, network, found.size > 0, add);
  for (const addr of configured) add(addr, 'config');
  for (const ip of deprecatedIps(network))
    for (const addr of found.keys()) if (addr.ip === ip) found.delete(addr);
  return [...found].map(([addr, type]) => ({ addr, type }));
}

function addLocal(
  sockets: readonly LocalSocket[],
  network: InterfaceState,
  isReachable: boolean,
  add: (addr: Addr, type: DirectAddrType) => void,
): void {
  const { regular, loopback } = localIps(network);
  // Who is reachable in no other way can still talk to itself.
  const ips = regular.length === 0 && !isReachable ? loopback : regular;
  for (const { addr } of sockets) {
    if (!isUnspecified(addr)) {
      add(addr, 'local');
      continue;
    }
    for (const ip of ips) if (ip.includes(':') === (addr.family === 6)) add(toAddr(ip, addr.port), 'local');
  }
}

function deprecatedIps({ interfaces }: InterfaceState): string[] {
  return interfaces.flatMap(({ prefixes }) =>
    prefixes
      .filter(({ ip, isDeprecated }) => isDeprecated && ip.includes(':'))
      .map(({ ip }) => toAddr(ip, 0).ip),
  );
}

/** Whether two sets say the same. Their order is part of it: it is that of their sources, which is stable. */
export function equalDirectAddrs(a: readonly DirectAddr[], b: readonly DirectAddr[]): boolean {
  return a.length === b.length && a.every(({ addr, type }, i) => addr === b[i]!.addr && type === b[i]!.type);
}
