/**
 * Tells a server of signed packets where an endpoint is.
 *
 * @module
 */
import { systemPlatform } from '#transport/system-platform';
import type { AddressLookup, PublishedData } from '../address-lookup/service.ts';
import { MAX_PACKET_DNS_BYTES } from '../address-lookup/signed-packet.ts';
import type { Millis } from '../base/clock.ts';
import type { SecretKey } from '../crypto/keys.ts';
import { PUBLISH_TIMEOUT_MS, REPUBLISH_INTERVAL_MS } from '../machines/publisher.ts';
import type { LookupHost } from './lookup-host.ts';
import { PacketPublisher, type PublishOptions } from './packet-publisher.ts';
import { PkarrServer } from './pkarr-http.ts';

/** How a {@link PkarrPublisher} is made. */
export interface PkarrPublisherOptions extends LookupHost, PublishOptions {
  /** URL of the server, e.g. `https://dns.iroh.link/pkarr`. */
  readonly url: string | URL;
  /** Of the endpoint that it is about. */
  readonly secretKey: SecretKey;
  /** What did not change is published again after so long, ms. Default 5 min. */
  readonly republishIntervalMs?: Millis | undefined;
}

/**
 * Publishes where an endpoint is, to a server that takes signed packets over HTTP (https://pkarr.org). Others find it there
 * by {@link PkarrResolver}, and by DNS if the server answers that, too.
 *
 * Publishes at once when something changes, and every 5 min; after a failure again in 1 s, 2 s, and so on. As long as there is
 * nothing to say, nothing is said: what an earlier run has published stays.
 */
export class PkarrPublisher implements AddressLookup {
  readonly name = 'pkarr';
  readonly #publisher: PacketPublisher;

  /** @throws TypeError or RangeError when `url` is no web address. */
  constructor(options: PkarrPublisherOptions) {
    const { url, platform = systemPlatform, republishIntervalMs = REPUBLISH_INTERVAL_MS } = options;
    const server = new PkarrServer(url, platform, options);
    this.#publisher = new PacketPublisher({
      ...options,
      platform,
      place: server.host,
      republishIntervalMs,
      debounceMs: 0,
      timeLimitMs: PUBLISH_TIMEOUT_MS,
      maxDnsBytes: MAX_PACKET_DNS_BYTES,
      put: (packet, signal) => server.put(packet.id, packet.toRelayPayload(), signal),
    });
  }

  /** @throws {RangeError} when the data are those of another endpoint. */
  publish(data: PublishedData): void {
    this.#publisher.publish(data);
  }

  /** Gives up what is under way. What was published stays there until it is too old. */
  close(): void {
    this.#publisher.close();
  }
}
