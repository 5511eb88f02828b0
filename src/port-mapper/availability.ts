/**
 * What is known of a gateway's services (net-tools `portmapper/src/lib.rs`, `Probe`).
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import { MAPPING_PROTOCOLS, type MappingProtocol } from './lease.ts';

/** Who answered within so long is asked again without a probe, ms; `AVAILABILITY_TRUST_DURATION`. */
export const AVAILABILITY_TRUST_MS = 600_000;
/** Who did not answer is not asked again for so long, ms; `UNAVAILABILITY_TRUST_DURATION`. */
export const UNAVAILABILITY_TRUST_MS = 5_000;

/** Which services answered, and when. */
export class Availability {
  /** Of which gateway the rest is. */
  #gateway: string | undefined;
  #probedAt: Millis = -Infinity;
  readonly #seenAt = new Map<MappingProtocol, Millis>();

  /** A probe starts. Another gateway has nothing to do with the one before. */
  probeStarted(gateway: string, now: Millis): void {
    if (gateway !== this.#gateway) this.#seenAt.clear();
    this.#gateway = gateway;
    this.#probedAt = now;
  }

  /** A service of the probed gateway answered. */
  seen(protocol: MappingProtocol, now: Millis): void {
    this.#seenAt.set(protocol, now);
  }

  /** A service failed. */
  failed(protocol: MappingProtocol): void {
    this.#seenAt.delete(protocol);
  }

  /** Services of a gateway to be asked, best first. */
  usable(gateway: string, now: Millis): MappingProtocol[] {
    if (gateway !== this.#gateway) return [];
    return MAPPING_PROTOCOLS.filter((protocol) => {
      const seenAt = this.#seenAt.get(protocol);
      return seenAt !== undefined && now < seenAt + AVAILABILITY_TRUST_MS;
    });
  }

  /** Whether a probe would say something new. */
  mayProbe(gateway: string, now: Millis): boolean {
    return gateway !== this.#gateway || now >= this.#probedAt + UNAVAILABILITY_TRUST_MS;
  }
}
