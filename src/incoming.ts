/**
 * A connection attempt, before and while it is accepted.
 *
 * @module
 */
import type { ConnectionActor } from './actors/connection-actor.ts';
import type { Incomings } from './actors/incomings.ts';
import { quiet } from './actors/wait.ts';
import { IncomingError, RetryError } from './base/errors.ts';
import type { RemoteAddr } from './base/remote-addr.ts';
import type { Addr } from './base/socket-addr.ts';
import { Connection } from './connection.ts';
import type { IncomingRef } from './quic/engine.ts';

/** An attempt that nobody has decided about. Disposing of it undecided refuses it. */
export class Incoming {
  readonly #incomings: Incomings;
  readonly #ref: IncomingRef;
  #isDecided = false;

  /** Attempts come from an endpoint. @internal */
  constructor(incomings: Incomings, ref: IncomingRef) {
    this.#incomings = incomings;
    this.#ref = ref;
  }

  /** Where its first packet came from. Anybody can forge that unless {@link remoteAddrValidated}. */
  get remoteAddr(): RemoteAddr {
    return this.#incomings.describe(this.#ref.remote);
  }

  /** Bound address of the socket that it came to; undefined for relays and custom transports. */
  get localAddr(): Addr | undefined {
    return this.remoteAddr.type === 'ip' ? this.#ref.local : undefined;
  }

  /** True when the peer proved to receive at {@link remoteAddr}. */
  get remoteAddrValidated(): boolean {
    return this.#ref.remoteValidated;
  }

  /** Protocols that the peer offers, if its first packet tells. */
  get offeredAlpns(): readonly Uint8Array[] | undefined {
    return this.#ref.offeredAlpns;
  }

  /** Goes on with the handshake. @throws {IncomingError} AlreadyDecided; {@link ConnectionError} when it is over already. */
  accept(): Accepting {
    this.#decide();
    return new Accepting(this.#incomings.accept(this.#ref), this.remoteAddr);
  }

  /** Turns the peer away; it hears CONNECTION_REFUSED. @throws {IncomingError} AlreadyDecided. */
  refuse(): void {
    this.#decide();
    this.#incomings.refuse(this.#ref);
  }

  /**
   * Makes the peer prove its address first; if it can, it comes back as a new attempt.
   * @throws {RetryError} when the address is proven; the attempt stays undecided. {@link IncomingError} AlreadyDecided.
   */
  retry(): void {
    if (!this.#isDecided && this.#ref.remoteValidated) {
      throw new RetryError('RetryError.AlreadyValidated', 'the address is validated already');
    }
    this.#decide();
    this.#incomings.retry(this.#ref);
  }

  /** Says nothing; the peer times out. @throws {IncomingError} AlreadyDecided. */
  ignore(): void {
    this.#decide();
    this.#incomings.ignore(this.#ref);
  }

  #decide(): void {
    if (this.#isDecided) {
      throw new IncomingError('IncomingError.AlreadyDecided', 'the attempt was decided before');
    }
    this.#isDecided = true;
  }

  /** Refuses the attempt unless it was decided. */
  [Symbol.dispose](): void {
    if (!this.#isDecided) this.refuse();
  }
}

/** An accepted attempt whose handshake runs. Await {@link connected}, or the object itself. */
export class Accepting implements PromiseLike<Connection> {
  readonly #actor: ConnectionActor;
  /** Where the attempt came from. */
  readonly remoteAddr: RemoteAddr;
  #connection: Connection | undefined;

  /** Made by {@link Incoming.accept}. @internal */
  constructor(actor: ConnectionActor, remoteAddr: RemoteAddr) {
    this.#actor = actor;
    this.remoteAddr = remoteAddr;
  }

  /** The negotiated protocol, as soon as it is known. @throws {ConnectionError} */
  get alpn(): Promise<Uint8Array> {
    return quiet(this.#actor.handshakeData.promise.then(() => this.#actor.quic.alpn!));
  }

  /** The connection before its handshake is complete: may send at once (0.5-RTT), but does not know its peer yet. */
  early(): Connection {
    return (this.#connection ??= new Connection(this.#actor));
  }

  /** The connection once its handshake is complete. @throws {ConnectionError}; {@link ConnectingError} when a hook refuses. */
  get connected(): Promise<Connection> {
    return quiet(this.#actor.connected.promise.then(() => this.early()));
  }

  then<A = Connection, B = never>(
    onFulfilled?: ((connection: Connection) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.connected.then(onFulfilled, onRejected);
  }
}
