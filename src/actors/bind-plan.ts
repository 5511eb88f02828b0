/**
 * Which sockets an endpoint binds (upstream `iroh/src/endpoint.rs`, `bind_addr` and its options).
 *
 * @module
 */
import { DecodeError } from '../base/bytes.ts';
import { InvalidSocketAddrError } from '../base/errors.ts';
import { parseAddr, type Addr } from '../base/socket-addr.ts';

/** One address to bind. */
export interface BindOptions {
  /** `ip:port`, port 0 for any. */
  readonly addr: string;
  /** Destinations in this prefix of `addr` leave from this socket; 0 for all of the family (default). */
  readonly prefixLength?: number;
  /** Whether `bind` fails when this socket does (default true). */
  readonly required?: boolean;
  /** Whether destinations that match nothing leave from here (default: prefix length 0). */
  readonly defaultRoute?: boolean;
  /** Binds no wildcard beside it, of neither family (upstream `clear_ip_transports`). Default false. */
  readonly exclusive?: boolean;
}

/** A socket to be bound. */
export interface BindPlan {
  readonly addr: Addr;
  readonly prefixLength: number;
  readonly required: boolean;
  readonly isDefault: boolean;
}

/** What an endpoint binds without being told: any IPv4, and IPv6 where it exists. */
const WILDCARDS: readonly BindOptions[] = [{ addr: '0.0.0.0:0' }, { addr: '[::]:0', required: false }];

/** What to bind, the wildcards included. @throws {InvalidSocketAddrError} */
export function plan(options: readonly (string | BindOptions)[]): BindPlan[] {
  const asked = options.map((option) => toPlan(typeof option === 'string' ? { addr: option } : option));
  for (const family of [4, 6] as const) {
    const defaults = asked.filter((each) => each.isDefault && each.addr.family === family);
    if (defaults.length > 1) {
      throw new InvalidSocketAddrError(
        'InvalidSocketAddr.DuplicateDefaultAddr',
        `two default addresses for IPv${family}`,
      );
    }
  }
  if (options.some((option) => typeof option !== 'string' && option.exclusive === true)) return asked;
  // A default address replaces the wildcard of its family; others are bound beside it.
  const wildcards = WILDCARDS.map(toPlan).filter(
    (wildcard) => !asked.some((each) => each.isDefault && each.addr.family === wildcard.addr.family),
  );
  return [...asked, ...wildcards];
}

function toPlan(option: BindOptions): BindPlan {
  let addr: Addr;
  try {
    addr = parseAddr(option.addr);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new InvalidSocketAddrError('InvalidSocketAddr.AddrParse', error.message, error);
  }
  const prefixLength = option.prefixLength ?? 0;
  if (!Number.isInteger(prefixLength) || prefixLength < 0 || prefixLength > addr.bytes.length * 8) {
    throw new InvalidSocketAddrError(
      'InvalidSocketAddr.InvalidPrefixLength',
      `prefix length ${prefixLength} for ${addr.text}`,
    );
  }
  return {
    addr,
    prefixLength,
    required: option.required ?? true,
    isDefault: option.defaultRoute ?? prefixLength === 0,
  };
}
