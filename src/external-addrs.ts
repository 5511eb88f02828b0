/**
 * Addresses under which an endpoint can be reached and that it cannot find out by itself.
 *
 * @module
 */
import type { OwnAddr } from './actors/own-addr.ts';
import { DecodeError } from './base/bytes.ts';
import { InvalidSocketAddrError } from './base/errors.ts';
import { parseAddr, type Addr } from './base/socket-addr.ts';

/** A set of addresses that an endpoint tells others beside those it sees: a forwarded port, say. */
export class ExternalAddrs implements Iterable<Addr> {
  readonly #own: OwnAddr;

  /** @internal Belongs to an endpoint: see `endpoint.externalAddrs`. */
  constructor(own: OwnAddr) {
    this.#own = own;
  }

  /** How many there are. */
  get size(): number {
    return this.#own.external.size;
  }

  /**
   * Adds an address. Does nothing once the endpoint closes.
   * @param addr - `ip:port`.
   * @throws {InvalidSocketAddrError} AddrParse.
   */
  add(addr: string | Addr): this {
    this.#own.addExternal(toExternalAddr(addr));
    return this;
  }

  /** Takes an address out; returns whether it was there. False once the endpoint closes. @throws {InvalidSocketAddrError} AddrParse. */
  delete(addr: string | Addr): boolean {
    return this.#own.deleteExternal(toExternalAddr(addr));
  }

  /** Whether the set has the address. @throws {InvalidSocketAddrError} AddrParse. */
  has(addr: string | Addr): boolean {
    return this.#own.external.has(toExternalAddr(addr));
  }

  /** In the order in which they were added. */
  [Symbol.iterator](): IterableIterator<Addr> {
    return this.#own.external.values();
  }
}

/** Addresses are interned: equal ones are identical. @throws {InvalidSocketAddrError} AddrParse. */
export function toExternalAddr(addr: string | Addr): Addr {
  if (typeof addr !== 'string') return addr;
  try {
    return parseAddr(addr);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new InvalidSocketAddrError('InvalidSocketAddr.AddrParse', error.message, error);
  }
}
