/**
 * Finds endpoints, and has them found, through BitTorrent's Mainline DHT: without any server (upstream
 * `iroh-mainline-address-lookup`).
 *
 * @module
 */
import { systemPlatform } from '#transport/system-platform';
import { fromTxtStrings } from '../address-lookup/endpoint-info.ts';
import type { AddressLookup, LookupAnswer, PublishedData } from '../address-lookup/service.ts';
import type { Millis } from '../base/clock.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { LookupHost } from './lookup-host.ts';
import { DHT_TIME_LIMIT_MS, MainlineDht, MAX_DHT_VALUE_BYTES } from './mainline-dht.ts';
import { PacketPublisher, type PublishOptions } from './packet-publisher.ts';

/** What did not change is published again after so long, ms; upstream `REPUBLISH_DELAY`. Nodes forget after two hours. */
const DHT_REPUBLISH_INTERVAL_MS = 3_600_000;
/** Changes within so long are published once; upstream `PUBLISH_DEBOUNCE_DELAY`. */
const DHT_DEBOUNCE_MS = 50;
/** What opening and the walk through the network may take together, ms. */
const TIME_LIMIT_MS = DHT_TIME_LIMIT_MS + 10_000;

/** How a {@link DhtLookup} is made. */
export interface DhtLookupOptions extends LookupHost, PublishOptions {
  /** Of the endpoint that is published. Without it nothing is. */
  readonly secretKey?: SecretKey | undefined;
  /** False: others are looked for, and nothing is published. Default true. */
  readonly publish?: boolean | undefined;
  /** `host:port` of nodes to ask first. Default: four that are known to everybody. */
  readonly bootstrap?: readonly string[] | undefined;
  /** What did not change is published again after so long, ms. Default: an hour. */
  readonly republishIntervalMs?: Millis | undefined;
  /** Nodes have stored where the endpoint is, for the first time or again. Must not throw. */
  readonly onPublish?: (() => void) | undefined;
}

/**
 * Publishes where an endpoint is, to the Mainline DHT, and finds others there. What is found is believed as far as the endpoint
 * asked for has signed it.
 *
 * The DHT is public: everybody who knows the id can ask, for hours after. So only relays are published unless `filter` lets
 * more through, and nothing as long as there is no address. It takes part as a client only, over IPv4, and keeps nothing on disk.
 *
 * Opened when it is first needed. Then it holds a UDP socket and timers, which end with {@link close}.
 *
 * ```ts
 * const endpoint = await Endpoint.bind({ lookup: (endpoint) => new DhtLookup({ ...endpoint }) });
 * ```
 */
export class DhtLookup implements AddressLookup {
  readonly name = 'dht';
  /** Walks through the network take seconds; one that ends early is as good as none. */
  readonly timeLimitMs = TIME_LIMIT_MS;
  readonly #dht: MainlineDht;
  readonly #publisher: PacketPublisher | undefined;

  /** @throws {RangeError} for bootstrap nodes that are not `host:port`. */
  constructor(options: DhtLookupOptions = {}) {
    const { platform = systemPlatform, secretKey, bootstrap, publish = true, onPublish } = options;
    const dht = (this.#dht = new MainlineDht({ bootstrap, platform }));
    if (secretKey === undefined || !publish) return;
    this.#publisher = new PacketPublisher({
      ...options,
      platform,
      secretKey,
      place: 'DHT',
      republishIntervalMs: options.republishIntervalMs ?? DHT_REPUBLISH_INTERVAL_MS,
      debounceMs: DHT_DEBOUNCE_MS,
      timeLimitMs: TIME_LIMIT_MS,
      maxDnsBytes: MAX_DHT_VALUE_BYTES,
      put: async (packet, signal) => {
        await dht.put(packet, signal);
        onPublish?.();
      },
    });
  }

  /** How often a message of a node, or a packet, was refused, by the code of the error. */
  get refused(): ReadonlyMap<ErrorCode, number> {
    return this.#dht.refused;
  }

  /** @throws {RangeError} when the data are those of another endpoint. */
  publish(data: PublishedData): void {
    this.#publisher?.publish(data, ({ addrs }) => addrs.length > 0);
  }

  /**
   * The first answer that is found, and newer ones as they come; none when nobody knows the id.
   * @throws {DhtError}; the signal's reason.
   */
  async *resolve(
    id: EndpointId,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<LookupAnswer, void, undefined> {
    for await (const packet of this.#dht.resolve(id, signal)) yield fromTxtStrings(id, packet.txtStrings());
  }

  /** Gives up what is under way, at once, and frees everything. What was published stays for hours. */
  async close(): Promise<void> {
    this.#publisher?.close();
    await this.#dht.close();
  }
}
