/**
 * A race over all addresses of a host, both families (RFC 8305; numbers of `iroh-relay/src/client/tls.rs`): a dead address
 * costs a quarter of a second, not the connection.
 *
 * Nothing here knows sockets: looking up and connecting are given.
 *
 * @module
 */
import type { Clock, Millis, TimerId } from '../base/clock.ts';
import { WebSocketError } from './relay-socket.ts';

/** A lookup of one family may take this long, ms. */
const DNS_LIMIT_MS = 3_000;
/** An attempt may take this long, ms. */
const ATTEMPT_LIMIT_MS = 1_500;
/** The next attempt starts so long after the one before, ms. */
const ATTEMPT_SPACING_MS = 250;
/** How long addresses of the other family wait for those of the preferred one, ms. */
const RESOLUTION_DELAY_MS = 50;

/** What {@link raceAddresses} is to do. */
export interface AddressRaceOptions<T> {
  readonly clock: Clock;
  /** Which family is tried first; they take turns after that. */
  readonly preferIpv6: boolean;
  /** Gives the race up. */
  readonly signal: AbortSignal;
  /** Addresses of one family. */
  readonly resolve: (family: 4 | 6, signal: AbortSignal) => Promise<readonly string[]>;
  /** Connects to one address. */
  readonly connect: (ip: string, signal: AbortSignal) => Promise<T>;
  /** Frees a connection that came too late. */
  readonly discard: (connection: T) => void;
}

/**
 * The first connection that succeeds; all other attempts are given up.
 *
 * @throws the signal's reason; {@link WebSocketError} `dns` when there is no address, `dial` when none answers; the cause is
 * the last failure.
 */
export function raceAddresses<T>(options: AddressRaceOptions<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    if (options.signal.aborted) return reject(options.signal.reason as Error);
    new AddressRace(options, resolve, reject).start();
  });
}

class AddressRace<T> {
  readonly #options: AddressRaceOptions<T>;
  readonly #resolve: (connection: T) => void;
  readonly #reject: (reason: unknown) => void;
  /** Found and not tried yet. */
  readonly #waiting: string[] = [];
  /** Ends lookups and attempts once the race is over. */
  readonly #over = new AbortController();
  #lookups = 0;
  #attempts = 0;
  #hasStarted = false;
  #isNextIpv6: boolean;
  #timer: TimerId;
  /** The next attempt waits for the timer. */
  #isHeld = false;
  #lastError: unknown;

  constructor(
    options: AddressRaceOptions<T>,
    resolve: (connection: T) => void,
    reject: (reason: unknown) => void,
  ) {
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#isNextIpv6 = options.preferIpv6;
  }

  start(): void {
    this.#options.signal.addEventListener('abort', this.#onAbort, { once: true });
    this.#lookUp(this.#options.preferIpv6 ? 6 : 4);
    this.#lookUp(this.#options.preferIpv6 ? 4 : 6);
  }

  readonly #onAbort = (): void => {
    this.#finish();
    this.#reject(this.#options.signal.reason);
  };

  #lookUp(family: 4 | 6): void {
    this.#lookups++;
    const { resolve } = this.#options;
    this.#limited(DNS_LIMIT_MS, `IPv${family} lookup`, (signal) => resolve(family, signal)).then(
      (ips) => this.#handleAddresses(ips, family === 6),
      (error: unknown) => {
        this.#lastError = error;
        this.#handleAddresses([], family === 6);
      },
    );
  }

  #handleAddresses(ips: readonly string[], isIpv6: boolean): void {
    if (this.#over.signal.aborted) return;
    this.#lookups--;
    this.#waiting.push(...ips);
    if (!this.#hasStarted) {
      const isWorthWaiting = this.#lookups > 0 && isIpv6 !== this.#options.preferIpv6;
      if (!isWorthWaiting) this.#release();
      else if (ips.length > 0) this.#hold(RESOLUTION_DELAY_MS);
    }
    this.#next();
  }

  /** Starts the next attempt if it is time, or ends the race if nothing is left. */
  #next(): void {
    if (this.#isHeld) return;
    const ip = this.#take();
    if (ip !== undefined) return this.#attempt(ip);
    if (this.#lookups > 0 || this.#attempts > 0) return;
    this.#finish();
    const [failure, message] = this.#hasStarted
      ? (['dial', 'no address answers'] as const)
      : (['dns', 'no address is known'] as const);
    this.#reject(new WebSocketError(failure, message, { cause: this.#lastError }));
  }

  #take(): string | undefined {
    const at = this.#waiting.findIndex((ip) => ip.includes(':') === this.#isNextIpv6);
    const [ip] = this.#waiting.splice(Math.max(at, 0), 1);
    if (ip !== undefined) this.#isNextIpv6 = !this.#isNextIpv6;
    return ip;
  }

  #attempt(ip: string): void {
    this.#hasStarted = true;
    this.#attempts++;
    this.#hold(ATTEMPT_SPACING_MS);
    const { connect, discard } = this.#options;
    this.#limited(ATTEMPT_LIMIT_MS, `connection to ${ip}`, (signal) => connect(ip, signal), discard).then(
      (connection) => {
        if (this.#over.signal.aborted) return discard(connection);
        this.#finish();
        this.#resolve(connection);
      },
      (error: unknown) => {
        if (this.#over.signal.aborted) return;
        this.#lastError = error;
        // Nobody else is under way: waiting would help nobody.
        if (--this.#attempts === 0) this.#release();
        this.#next();
      },
    );
  }

  #hold(delayMs: Millis): void {
    this.#release();
    this.#isHeld = true;
    this.#timer = this.#options.clock.setTimeout(() => {
      this.#isHeld = false;
      this.#next();
    }, delayMs);
  }

  #release(): void {
    this.#options.clock.clearTimeout(this.#timer);
    this.#isHeld = false;
  }

  #finish(): void {
    this.#release();
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    this.#over.abort();
  }

  /** Work that ends with the race or after `limitMs`; what comes later is discarded. */
  #limited<R>(
    limitMs: Millis,
    what: string,
    work: (signal: AbortSignal) => Promise<R>,
    discard?: (late: R) => void,
  ): Promise<R> {
    const { clock } = this.#options;
    const over = this.#over.signal;
    const own = new AbortController();
    return new Promise<R>((resolve, reject) => {
      const giveUp = (reason: Error): void => {
        clock.clearTimeout(timer);
        over.removeEventListener('abort', onOver);
        own.abort(reason);
        reject(reason);
      };
      const onOver = (): void => giveUp(over.reason as Error);
      const timer = clock.setTimeout(
        () => giveUp(new Error(`${what}: no answer within ${limitMs} ms`)),
        limitMs,
      );
      over.addEventListener('abort', onOver, { once: true });
      work(own.signal).then(
        (result) => {
          if (own.signal.aborted) return discard?.(result);
          clock.clearTimeout(timer);
          over.removeEventListener('abort', onOver);
          resolve(result);
        },
        (error: Error) => giveUp(error),
      );
    });
  }
}
