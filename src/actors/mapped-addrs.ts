/**
 * Synthetic IPv6 addresses for peers that have several addresses at once, or none that is IP
 * (upstream `iroh/src/socket/mapped_addrs.rs`).
 *
 * The engine knows addresses only. Dialling an endpoint id means sending the first flight to everything that is known of
 * it; the engine is given one address that stands for all. Such an address never leaves the process.
 *
 * @module
 */
import { randomBytes, type Rng } from '../base/rng.ts';
import { toAddr, type Addr } from '../base/socket-addr.ts';

/** `fd15:070a:510b::/48`: unique local prefix, then a 16-bit subnet. */
const PREFIX = [0xfd, 0x15, 0x07, 0x0a, 0x51, 0x0b];
/** Subnet of endpoint ids. */
const ENDPOINT_ID_SUBNET = 0;
/** Port of every mapped address. */
export const MAPPED_PORT = 12_345;

/** Which real addresses a mapped one stands for. */
export class MappedAddrs {
  readonly #targets = new Map<Addr, readonly Addr[]>();
  readonly #rng: Rng;

  constructor(rng: Rng) {
    this.#rng = rng;
  }

  /** Makes an address that stands for all of `targets`, until {@link release}. */
  map(targets: readonly Addr[]): Addr {
    for (;;) {
      const bytes = new Uint8Array(16);
      bytes.set(PREFIX);
      bytes[7] = ENDPOINT_ID_SUBNET;
      bytes.set(randomBytes(this.#rng, 8), 8);
      const mapped = toAddr(bytes, MAPPED_PORT);
      if (this.#targets.has(mapped)) continue;
      this.#targets.set(mapped, targets);
      return mapped;
    }
  }

  resolve(addr: Addr): readonly Addr[] | undefined {
    return this.#targets.size === 0 ? undefined : this.#targets.get(addr);
  }

  release(mapped: Addr): void {
    this.#targets.delete(mapped);
  }

  get size(): number {
    return this.#targets.size;
  }
}
