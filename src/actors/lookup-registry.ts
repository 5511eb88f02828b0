/**
 * The address lookup services of one endpoint: asks all of them at once, tells all of them where we are, and lets none of
 * them hurt another (upstream `iroh/src/address_lookup.rs`; the time limit is ours, upstream waits for ever).
 *
 * @module
 */
import type { AddrFilter, AddressLookup, PublishedData } from '../address-lookup/service.ts';
import { MAX_TIMER_DELAY_MS, type Clock } from '../base/clock.ts';
import { EndpointAddr } from '../base/endpoint-addr.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import {
  AddressLookupFailed,
  BindError,
  ConnectError,
  ConnectWithOptsError,
  LookupError,
  type CodeOf,
} from '../base/errors.ts';
import type { Log } from '../transport/log.ts';
import type { LookupEndpoint, LookupFactory } from './lookup-host.ts';
import { WaitQueue } from './wait.ts';

/** One service may take so long for one question, ms. Upstream has no limit. */
export const LOOKUP_TIME_LIMIT_MS = 10_000;
/** Services may take so long to close, ms. */
export const LOOKUP_CLOSE_LIMIT_MS = 1_000;
/** Something found. */
export interface LookupItem {
  /** Which service knew. */
  readonly provenance: string;
  readonly addr: EndpointAddr;
}

/** How a {@link LookupRegistry} is made. */
export interface LookupRegistryOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** For services that are made for this endpoint. */
  readonly endpoint?: LookupEndpoint | undefined;
  readonly services?: readonly (AddressLookup | LookupFactory)[];
  readonly filter?: AddrFilter | undefined;
}

/** The services of one endpoint. */
export class LookupRegistry {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #endpoint: LookupEndpoint | undefined;
  readonly #services: AddressLookup[] = [];
  /** Made for this endpoint, and nobody else's. */
  readonly #own = new Set<AddressLookup>();
  /** Of services that were taken away and close. */
  readonly #closing = new Set<Promise<void>>();
  /** That are being asked. */
  readonly #questions = new Set<Question>();
  #filter: AddrFilter | undefined;
  /** As it was given, before the filter. */
  #published: PublishedData | undefined;
  #isClosed = false;

  /** @throws {BindError} `AddressLookup` when a factory throws. */
  constructor({ clock, log, endpoint, services = [], filter }: LookupRegistryOptions) {
    this.#clock = clock;
    this.#log = log;
    this.#endpoint = endpoint;
    this.#filter = filter;
    try {
      for (const service of services) this.add(service);
    } catch (cause) {
      this.clear();
      throw new BindError('BindError.AddressLookup', `no lookup service: ${messageOf(cause)}`, cause);
    }
  }

  get size(): number {
    return this.#services.length;
  }

  /** Adds a service; it is told at once what was published last. @throws what a factory throws. */
  add(service: AddressLookup | LookupFactory): void {
    if (this.#isClosed) return;
    const added = typeof service === 'function' ? this.#make(service) : service;
    this.#services.push(added);
    const data = this.#filtered();
    if (data !== undefined) this.#tell(added, data);
  }

  #make(factory: LookupFactory): AddressLookup {
    if (this.#endpoint === undefined) throw new Error('there is no endpoint to make a service for');
    const made = factory(this.#endpoint);
    this.#own.add(made);
    return made;
  }

  /** Takes all services away. Those that were made for this endpoint are closed; others may be shared. */
  clear(): void {
    for (const service of this.#services.splice(0)) {
      if (!this.#own.delete(service)) continue;
      const closing = this.#end(service).finally(() => this.#closing.delete(closing));
      this.#closing.add(closing);
    }
  }

  /** Counts from the next {@link publish} or {@link add} on. */
  setFilter(filter: AddrFilter | undefined): void {
    this.#filter = filter;
  }

  /** Tells all services where we are, and remembers it for those that come. */
  publish(data: PublishedData): void {
    if (this.#isClosed) return;
    this.#published = data;
    const filtered = this.#filtered();
    if (filtered === undefined) return;
    for (const service of [...this.#services]) this.#tell(service, filtered);
  }

  /** Undefined when nothing was published, or the filter fails: then nothing is told, rather than too much. */
  #filtered(): PublishedData | undefined {
    const data = this.#published;
    if (data === undefined || this.#filter === undefined) return data;
    try {
      return { ...data, addr: new EndpointAddr(data.addr.id, this.#filter(data.addr.addrs)) };
    } catch (error) {
      this.#report('the publish filter', error);
      return undefined;
    }
  }

  #tell(service: AddressLookup, data: PublishedData): void {
    try {
      // A service that publishes asynchronously may return a promise all the same.
      const result: unknown = service.publish?.(data);
      if (result instanceof Promise)
        result.catch((error: unknown) => this.#report(`${service.name}, publishing,`, error));
    } catch (error) {
      this.#report(`${service.name}, publishing,`, error);
    }
  }

  /**
   * What all services find, in the order of arrival; ends when all have ended.
   * @throws {AddressLookupFailed} at the end when nothing was found; the signal's reason when aborted; {Error} once closed.
   */
  async *resolve(id: EndpointId, signal: AbortSignal): AsyncGenerator<LookupItem, void, undefined> {
    signal.throwIfAborted();
    if (this.#services.length === 0)
      throw new AddressLookupFailed('AddressLookupFailed.NoServiceConfigured', 'there is no address lookup');
    const changed = new WaitQueue(this.#clock);
    const questions = this.#services.map((service) => new Question(service, id, this.#clock, changed));
    for (const question of questions) this.#questions.add(question);
    let isFound = false;
    try {
      for (;;) {
        for (const item of takeAll(questions)) {
          isFound = true;
          yield item;
        }
        signal.throwIfAborted();
        if (this.#isClosed) throw new Error('the endpoint is closing');
        if (questions.some(({ item }) => item !== undefined)) continue;
        if (questions.every(({ isDone }) => isDone)) break;
        await changed.wait({ signal });
      }
    } finally {
      for (const question of questions) {
        question.stop();
        this.#questions.delete(question);
      }
    }
    const errors = questions.flatMap(({ error }) => (error === undefined ? [] : [error]));
    for (const error of errors) this.#report(error.provenance, error);
    if (!isFound)
      throw new AddressLookupFailed(
        'AddressLookupFailed.NoResults',
        errors.length === 0
          ? 'no service knows an address'
          : `no service knows an address; ${errors.map(({ message }) => message).join('; ')}`,
        errors,
      );
  }

  /** Gives up all lookups at once, and closes all services. Who hangs is not waited for. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const question of [...this.#questions]) question.stop();
    const closing = [...this.#closing, ...this.#services.splice(0).map((service) => this.#end(service))];
    let timer: unknown;
    const limit = new Promise<void>((resolve) => {
      timer = this.#clock.setTimeout(resolve, LOOKUP_CLOSE_LIMIT_MS);
    });
    await Promise.race([Promise.all(closing), limit]);
    this.#clock.clearTimeout(timer);
  }

  /** Never rejects. */
  async #end(service: AddressLookup): Promise<void> {
    try {
      await service.close?.();
    } catch (error) {
      this.#report(`${service.name}, closing,`, error);
    }
  }

  #report(who: string, error: unknown): void {
    this.#log.write('lookup', () => `${who} failed: ${messageOf(error)}`);
  }
}

/** One service asked about one endpoint. Holds one answer at a time, so that a flood of them waits at its source. */
class Question {
  readonly #service: AddressLookup;
  readonly #clock: Clock;
  readonly #changed: WaitQueue;
  readonly #taken: WaitQueue;
  readonly #abort = new AbortController();
  readonly #timer: unknown;
  /** The answer that waits to be taken. */
  item: LookupItem | undefined;
  error: LookupError | undefined;
  isDone = false;

  constructor(service: AddressLookup, id: EndpointId, clock: Clock, changed: WaitQueue) {
    this.#service = service;
    this.#clock = clock;
    this.#changed = changed;
    this.#taken = new WaitQueue(clock);
    const limitMs = service.timeLimitMs ?? LOOKUP_TIME_LIMIT_MS;
    if (limitMs <= MAX_TIMER_DELAY_MS)
      this.#timer = clock.setTimeout(
        () => this.#finish('LookupError.TimedOut', `no answer within ${limitMs} ms`),
        limitMs,
      );
    void this.#ask(id);
  }

  async #ask(id: EndpointId): Promise<void> {
    try {
      const answers = this.#service.resolve?.(id, { signal: this.#abort.signal }) ?? [];
      for await (const answer of answers) {
        if (this.isDone) return;
        const { addr, provenance = undefined } = answer instanceof EndpointAddr ? { addr: answer } : answer;
        if (!addr.id.equals(id)) throw new Error('the answer is about another endpoint');
        this.item = { provenance: provenance ?? this.#service.name, addr };
        this.#changed.wakeAll();
        await this.#taken.wait();
        if (this.isDone) return;
      }
      this.#finish();
    } catch (error) {
      this.#finish('LookupError.Failed', messageOf(error), error);
    }
  }

  take(): LookupItem | undefined {
    const { item } = this;
    this.item = undefined;
    if (item !== undefined) this.#taken.wakeAll();
    return item;
  }

  #finish(code?: CodeOf<'LookupError'>, message = '', cause?: unknown): void {
    if (this.isDone) return;
    if (code !== undefined) this.error = new LookupError(code, this.#service.name, message, cause);
    this.stop();
  }

  /** Wants no more. */
  stop(): void {
    if (this.isDone) return;
    this.isDone = true;
    this.#clock.clearTimeout(this.#timer);
    this.#abort.abort(new Error('the lookup is over'));
    this.#taken.wakeAll();
    this.#changed.wakeAll();
  }
}

function* takeAll(questions: readonly Question[]): Generator<LookupItem> {
  for (const question of questions) {
    const item = question.take();
    if (item !== undefined) yield item;
  }
}

function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? error.message : String(error);
  } catch {
    return 'an error that cannot be printed';
  }
}

/** A failed lookup as `connect` reports it. */
export function toNoAddressError(failed: AddressLookupFailed): ConnectError {
  const leaf = failed.code === 'AddressLookupFailed.NoResults' ? 'NoResults' : 'NoServiceConfigured';
  const message = `no address is known: ${failed.message}`;
  return new ConnectError(
    `ConnectError.NoAddress.${leaf}`,
    message,
    new ConnectWithOptsError('ConnectWithOptsError.NoAddress', message, failed),
  );
}
