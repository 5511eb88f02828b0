/**
 * A port that a router keeps open for us, and which of its answers can be believed.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import { scopeOf } from '../base/interface-state.ts';
import { toAddr, type Addr } from '../base/socket-addr.ts';
import { PortMapError } from './fault.ts';
import type { IgdService } from './igd-description.ts';

/** How a router is asked, best first; net-tools `portmapper/src/lib.rs`, `get_mapping`. */
export const MAPPING_PROTOCOLS = ['pcp', 'natPmp', 'upnp'] as const;
export type MappingProtocol = (typeof MAPPING_PROTOCOLS)[number];

/**
 * Shorter leases are not worth having, ms: a renewal is due at half of one, and routers must not be asked more often than every
 * 4 s (RFC 6887 §11.2.1).
 */
export const MIN_LEASE_MS = 8_000;
/** Longer ones are believed so long, ms: nobody knows what a router does in a year (RFC 6887 §15). */
export const MAX_LEASE_MS = 24 * 3_600_000;

/** What is needed to renew and to release a lease. */
export type LeaseHandle =
  | {
      readonly protocol: 'pcp';
      /** 12 bytes that prove whose it is (RFC 6887 §11.2). */
      readonly nonce: Uint8Array;
    }
  | { readonly protocol: 'natPmp' }
  | { readonly protocol: 'upnp'; readonly service: IgdService };

/** A port that is mapped. */
export interface Lease {
  readonly handle: LeaseHandle;
  /** The router's address on our side. */
  readonly gateway: string;
  /** Our own address, that of {@link localPort}. */
  readonly localIp: string;
  readonly localPort: number;
  /** Under which others reach it. */
  readonly external: Addr;
  /** From when it was granted, {@link MIN_LEASE_MS} to {@link MAX_LEASE_MS}. */
  readonly lifetimeMs: Millis;
  /** Time of day when it was granted, ms: a host that sleeps has no timers. */
  readonly grantedAt: number;
}

/** A router's word on how long, in s. @throws {PortMapError} `unusable` */
export function toLifetimeMs(lifetimeS: number): Millis {
  const lifetimeMs = lifetimeS * 1_000;
  if (lifetimeMs < MIN_LEASE_MS) throw new PortMapError('unusable', `a lease of ${lifetimeS} s`);
  return Math.min(lifetimeMs, MAX_LEASE_MS);
}

/**
 * A router's word on where others reach us.
 *
 * Private addresses pass: behind two routers, those between them can use it.
 * @throws {PortMapError} `unusable` unless it is IPv4 that others could send to.
 */
export function toExternalAddr(ip: string | Uint8Array, port: number): Addr {
  if (port === 0) throw new PortMapError('unusable', 'external port 0');
  const addr = toAddr(ip, port);
  const isBroadcast = addr.bytes[0]! >= 240;
  if (addr.family === 6 || isBroadcast || addr.bytes[0] === 0 || scopeOf(addr.ip) !== 'other')
    throw new PortMapError('unusable', `external address ${addr.text}`);
  return addr;
}
