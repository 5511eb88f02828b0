/**
 * Gives the chart of `machines/publisher.ts` its body: signs what an endpoint says of itself and gives it to a server, or to
 * the DHT.
 *
 * @module
 */
import { fromPromise, type Actor } from 'xstate';
import { toTxtStrings } from '../address-lookup/endpoint-info.ts';
import type { AddrFilter, PublishedData } from '../address-lookup/service.ts';
import { SignedPacket, fitIntoPacket } from '../address-lookup/signed-packet.ts';
import { GrowingTimestamps } from '../address-lookup/timestamps.ts';
import type { Clock, Millis } from '../base/clock.ts';
import { EndpointAddr } from '../base/endpoint-addr.ts';
import type { SecretKey } from '../crypto/keys.ts';
import { publisherMachine } from '../machines/publisher.ts';
import { Log } from '../transport/log.ts';
import type { Platform } from '../transport/platform.ts';
import { ActorSystem } from './actor-system.ts';
import type { LookupHost } from './lookup-host.ts';

/** What applications say about publishing, wherever that is. */
export interface PublishOptions {
  /**
   * Which addresses are published; by default those of relays only, so that nobody learns where an endpoint is by asking for it.
   * Comes after the filter of the endpoint.
   */
  readonly filter?: AddrFilter | undefined;
  /** How long DNS servers may keep the records, s. Default 30. */
  readonly ttlSeconds?: number | undefined;
}

/** How a {@link PacketPublisher} is made. */
export interface PacketPublisherOptions extends PublishOptions, LookupHost {
  readonly platform: Platform;
  /** Of the endpoint that it is about. */
  readonly secretKey: SecretKey;
  /** For charts and logs. */
  readonly place: string;
  readonly republishIntervalMs: Millis;
  readonly debounceMs: Millis;
  readonly timeLimitMs: Millis;
  /** Most bytes of records that the place takes. */
  readonly maxDnsBytes: number;
  /** Resolves when the place has the packet. */
  readonly put: (packet: SignedPacket, signal: AbortSignal) => Promise<void>;
}

/** Packets of one endpoint must have growing timestamps, whoever of this process publishes them. */
const timestamps = new WeakMap<Clock, GrowingTimestamps>();

/** Publishes one endpoint at one place. As long as there is nothing to say, nothing is said. */
export class PacketPublisher {
  readonly #options: PacketPublisherOptions;
  readonly #filter: AddrFilter;
  readonly #log: Log;
  readonly #timestamps: GrowingTimestamps;
  readonly #actor: Actor<typeof publisherMachine>;
  /** What is published, or under way. Undefined: nothing was said yet. */
  #strings: readonly string[] | undefined;

  constructor(options: PacketPublisherOptions) {
    const { secretKey, place, platform, filter = relaysOnly, inspect } = options;
    const { republishIntervalMs, debounceMs, timeLimitMs } = options;
    this.#options = options;
    this.#filter = filter;
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
        'note time-out': () => this.#noteFailure(new Error(`no answer within ${timeLimitMs} ms`)),
      },
    });
    const input = { server: place, republishIntervalMs, debounceMs, timeLimitMs };
    this.#actor = system.start(machine, `publisher ${secretKey.publicKey.short()} ${place}`, input);
  }

  /**
   * @param isWorthIt - Whether what is left after the filter is to be published.
   * @throws {RangeError} when the data are those of another endpoint.
   */
  publish({ addr, userData }: PublishedData, isWorthIt: (addr: EndpointAddr) => boolean = () => true): void {
    if (!addr.id.equals(this.#options.secretKey.publicKey))
      throw new RangeError('these are the addresses of another endpoint than the one that signs');
    if (!this.#isOpen) return;
    const filtered = new EndpointAddr(addr.id, this.#filter(addr.addrs));
    if (!isWorthIt(filtered)) return;
    const strings = fitIntoPacket(
      addr.id,
      toTxtStrings({ addr: filtered, userData }),
      this.#options.maxDnsBytes,
    );
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
    const { secretKey, platform, ttlSeconds, put } = this.#options;
    const strings = this.#strings!;
    const packet = SignedPacket.sign(secretKey, {
      strings,
      timestampMicros: this.#timestamps.next(platform.clock.wallNow()),
      ttlSeconds,
    });
    await put(packet, signal);
    this.#write(() => `published: ${strings.join(' ')}`);
  }

  #noteFailure(error: unknown): void {
    const { failures } = this.#actor.getSnapshot().context;
    this.#write(() => `publishing failed, ${failures} times before: ${String(error)}`);
  }

  #write(line: () => string): void {
    const { secretKey, place } = this.#options;
    this.#log.write('lookup', () => `${secretKey.publicKey.short()} at ${place}: ${line()}`);
  }

  /** Gives up what is under way. What was published stays there until it is too old. */
  close(): void {
    if (this.#isOpen) this.#actor.send({ type: 'close' });
  }
}

const relaysOnly: AddrFilter = (addrs) => addrs.filter(({ type }) => type === 'relay');
