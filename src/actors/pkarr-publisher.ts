/**
 * Gives the chart of `machines/publisher.ts` its body: signs what an endpoint says of itself and puts it to a server.
 *
 * @module
 */
import { fromPromise, type Actor } from 'xstate';
import { systemPlatform } from '#transport/system-platform';
import { toTxtStrings } from '../address-lookup/endpoint-info.ts';
import type { AddrFilter, AddressLookup, PublishedData } from '../address-lookup/service.ts';
import { SignedPacket, fitIntoPacket } from '../address-lookup/signed-packet.ts';
import { GrowingTimestamps } from '../address-lookup/timestamps.ts';
import type { Clock, Millis } from '../base/clock.ts';
import { EndpointAddr } from '../base/endpoint-addr.ts';
import type { SecretKey } from '../crypto/keys.ts';
import { PUBLISH_TIMEOUT_MS, REPUBLISH_INTERVAL_MS, publisherMachine } from '../machines/publisher.ts';
import { Log } from '../transport/log.ts';
import type { Platform } from '../transport/platform.ts';
import { ActorSystem } from './actor-system.ts';
import type { LookupHost } from './lookup-host.ts';
import { PkarrServer } from './pkarr-http.ts';

/** How a {@link PkarrPublisher} is made. */
export interface PkarrPublisherOptions extends LookupHost {
  /** URL of the server, e.g. `https://dns.iroh.link/pkarr`. */
  readonly url: string | URL;
  /** Of the endpoint that it is about. */
  readonly secretKey: SecretKey;
  /**
   * Which addresses are published; by default those of relays only, so that nobody learns where an endpoint is by asking for it.
   * Comes after the filter of the endpoint.
   */
  readonly filter?: AddrFilter | undefined;
  /** How long DNS servers may keep the records, s. Default 30. */
  readonly ttlSeconds?: number | undefined;
  /** What did not change is published again after so long, ms. Default 5 min. */
  readonly republishIntervalMs?: Millis | undefined;
}

/** Packets of one endpoint must have growing timestamps, whoever of this process publishes them. */
const timestamps = new WeakMap<Clock, GrowingTimestamps>();

/**
 * Publishes where an endpoint is, to a server that takes signed packets over HTTP (https://pkarr.org). Others find it there
 * by {@link PkarrResolver}, and by DNS if the server answers that, too.
 *
 * Publishes at once when something changes, and every 5 min; after a failure again in 1 s, 2 s, and so on. As long as there is
 * nothing to say, nothing is said: what an earlier run has published stays.
 */
export class PkarrPublisher implements AddressLookup {
  readonly name = 'pkarr';
  readonly #key: SecretKey;
  readonly #server: PkarrServer;
  readonly #platform: Platform;
  readonly #filter: AddrFilter;
  readonly #ttlSeconds: number | undefined;
  readonly #log: Log;
  readonly #timestamps: GrowingTimestamps;
  readonly #actor: Actor<typeof publisherMachine>;
  /** What is published, or under way. Undefined: nothing was said yet. */
  #strings: readonly string[] | undefined;

  /** @throws TypeError or RangeError when `url` is no web address. */
  constructor(options: PkarrPublisherOptions) {
    const { url, secretKey, platform = systemPlatform, filter = relaysOnly, inspect } = options;
    this.#key = secretKey;
    this.#platform = platform;
    this.#server = new PkarrServer(url, platform, options);
    this.#filter = filter;
    this.#ttlSeconds = options.ttlSeconds;
    this.#log = new Log(options.logger);
    const { clock } = platform;
    this.#timestamps = timestamps.get(clock) ?? new GrowingTimestamps();
    timestamps.set(clock, this.#timestamps);
    const system = new ActorSystem({
      clock,
      inspect,
      onError: (name, error) => this.#log.write('lookup', () => `actor "${name}" failed: ${String(error)}`),
    });
    const machine = publisherMachine.provide({
      actors: { 'put packet': fromPromise(({ signal }) => this.#put(signal)) },
      actions: {
        'note failure': ({ event }) => this.#noteFailure((event as unknown as { error: unknown }).error),
        'note time-out': () => this.#noteFailure(new Error(`no answer within ${PUBLISH_TIMEOUT_MS} ms`)),
      },
    });
    this.#actor = system.start(machine, `publisher ${secretKey.publicKey.short()} ${this.#server.host}`, {
      server: this.#server.host,
      republishIntervalMs: options.republishIntervalMs ?? REPUBLISH_INTERVAL_MS,
    });
  }

  /** @throws {RangeError} when the data are those of another endpoint. */
  publish({ addr, userData }: PublishedData): void {
    if (!addr.id.equals(this.#key.publicKey))
      throw new RangeError('these are the addresses of another endpoint than the one that signs');
    if (!this.#isOpen) return;
    const filtered = new EndpointAddr(addr.id, this.#filter(addr.addrs));
    const strings = fitIntoPacket(addr.id, toTxtStrings({ addr: filtered, userData }));
    const before = this.#strings;
    const isSame = before?.length === strings.length && strings.every((string, i) => string === before[i]);
    if (isSame || (before === undefined && strings.length === 0)) return;
    this.#strings = strings;
    this.#actor.send({ type: 'changed' });
  }

  get #isOpen(): boolean {
    return this.#actor.getSnapshot().status === 'active';
  }

  async #put(signal: AbortSignal): Promise<void> {
    const strings = this.#strings!;
    const packet = SignedPacket.sign(this.#key, {
      strings,
      timestampMicros: this.#timestamps.next(this.#platform.clock.wallNow()),
      ttlSeconds: this.#ttlSeconds,
    });
    await this.#server.put(packet.id, packet.toRelayPayload(), signal);
    this.#write(() => `published: ${strings.join(' ')}`);
  }

  #noteFailure(error: unknown): void {
    const { failures } = this.#actor.getSnapshot().context;
    this.#write(() => `publishing failed, ${failures} times before: ${String(error)}`);
  }

  #write(line: () => string): void {
    this.#log.write('lookup', () => `${this.#key.publicKey.short()} at ${this.#server.host}: ${line()}`);
  }

  /** Gives up what is under way. What was published stays there until it is too old. */
  close(): void {
    if (this.#isOpen) this.#actor.send({ type: 'close' });
  }
}

const relaysOnly: AddrFilter = (addrs) => addrs.filter(({ type }) => type === 'relay');
