/**
 * Attempts to connect that nobody has decided about, and the decisions.
 *
 * @module
 */
import { ConnectionError, EndpointError } from '../base/errors.ts';
import { formatRemoteAddr, type RemoteAddr } from '../base/remote-addr.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { IncomingRef, QuicConnection } from '../quic/engine.ts';
import { TransportError } from '../quic/transport-error.ts';
import type { Log } from '../transport/log.ts';
import { toConnectionError, type ConnectionActor } from './connection-actor.ts';
import type { EngineDriver } from './engine-driver.ts';
import { WaitQueue } from './wait.ts';

/** How {@link Incomings} are made. */
export interface IncomingsOptions {
  readonly driver: EngineDriver;
  readonly log: Log;
  readonly isOpen: () => boolean;
  readonly describe: (addr: Addr) => RemoteAddr;
  readonly adopt: (quic: QuicConnection) => ConnectionActor;
}

/** The undecided attempts of one endpoint. The engine bounds their number and what they hold. */
export class Incomings {
  readonly arrived: WaitQueue;
  readonly #options: IncomingsOptions;
  readonly #waiting: IncomingRef[] = [];

  constructor(options: IncomingsOptions) {
    this.#options = options;
    this.arrived = new WaitQueue(options.driver.clock);
    options.driver.onIncoming = (incoming) => {
      this.#waiting.push(incoming);
      this.arrived.wakeOne();
    };
  }

  get isOpen(): boolean {
    return this.#options.isOpen();
  }

  /** The next attempt, if one waits. */
  take(): IncomingRef | undefined {
    return this.#waiting.shift();
  }

  /** Where an attempt comes from. */
  describe(addr: Addr): RemoteAddr {
    return this.#options.describe(addr);
  }

  /**
   * @throws {EndpointError} Closed; {@link ConnectionError} TimedOut when the peer has given up, TransportError when its first
   * packet is enough to refuse it.
   */
  accept(ref: IncomingRef): ConnectionActor {
    const { driver, log, adopt } = this.#options;
    if (!this.isOpen) throw new EndpointError('EndpointError.Closed', 'the endpoint is closed');
    let quic: QuicConnection;
    try {
      quic = driver.engine.accept(ref, driver.clock.now());
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      if (error.code !== 'CONNECTION_REFUSED') throw toConnectionError({ type: 'transportError', error });
      throw new ConnectionError('ConnectionError.TimedOut', error.message, { cause: error });
    }
    log.write('connection', () => {
      const from = formatRemoteAddr(this.describe(ref.remote));
      return `#${quic.stableId} server accepts ${from}`;
    });
    return adopt(quic);
  }

  // A closing endpoint has refused all that was undecided.

  refuse(ref: IncomingRef): void {
    const { driver } = this.#options;
    if (!this.isOpen) return;
    driver.engine.refuse(ref, driver.clock.now());
    driver.wake();
  }

  retry(ref: IncomingRef): void {
    const { driver } = this.#options;
    if (!this.isOpen) return;
    driver.engine.retry(ref, driver.clock.now());
    driver.wake();
  }

  ignore(ref: IncomingRef): void {
    if (this.isOpen) this.#options.driver.engine.ignore(ref);
  }

  /** The endpoint closes: nobody waits for attempts any more. */
  end(): void {
    this.#waiting.length = 0;
    this.arrived.wakeAll();
  }
}
