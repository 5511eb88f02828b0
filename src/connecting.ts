/**
 * A dial whose handshake runs.
 *
 * @module
 */
import type { ConnectionActor } from './actors/connection-actor.ts';
import type { EndpointId } from './base/endpoint-id.ts';
import { AuthenticationError, ConnectError, ConnectingError, type ConnectionError } from './base/errors.ts';
import { Connection } from './connection.ts';

/** A connection to be used before the server answered, and the verdict about that. */
export interface EarlyConnection {
  /** Usable at once. What it sends before the server answered is early data. */
  readonly connection: Connection;
  /**
   * True when the server took the early data. False when it did not: streams opened early fail with ZeroRttRejected, the
   * connection goes on, and the application sends again. Rejects with a ConnectError when the handshake fails.
   */
  readonly accepted: Promise<boolean>;
}

/** A dial. Await {@link connected}, or the object itself. */
export class Connecting implements PromiseLike<Connection> {
  /** Whom the dial is for. */
  readonly remoteId: EndpointId;
  readonly #actor: ConnectionActor;
  readonly #connection: Connection;
  #early: EarlyConnection | undefined;

  /** Made by `endpoint.dial`. @internal */
  constructor(actor: ConnectionActor, remoteId: EndpointId) {
    this.#actor = actor;
    this.remoteId = remoteId;
    this.#connection = new Connection(actor, remoteId);
  }

  /** The negotiated protocol, as soon as it is known. */
  get alpn(): Promise<Uint8Array> {
    return this.#actor.handshakeData.promise.then(
      () => this.#actor.quic.alpn!,
      (error: unknown) => Promise.reject(toConnectError(error as ConnectionError)),
    );
  }

  /**
   * The connection for early data (0-RTT): streams and datagrams leave with the first packet. Undefined when no session
   * ticket for this peer is at hand; the dial goes on all the same. Early data can be replayed by an attacker.
   */
  early(): EarlyConnection | undefined {
    if (this.#early === undefined && this.#actor.quic.has0Rtt && this.#actor.quic.isHandshaking) {
      this.#early = {
        connection: this.#connection,
        accepted: this.connected.then(() => this.#actor.earlyVerdict.promise),
      };
      this.#early.accepted.catch(() => undefined);
    }
    return this.#early;
  }

  /** The connection once the handshake is complete. @throws {ConnectError} */
  get connected(): Promise<Connection> {
    return this.#actor.connected.promise.then(
      () => this.#connection,
      (error: unknown) => Promise.reject(toConnectError(error as ConnectionError)),
    );
  }

  /** Gives the attempt up. Does nothing once the handshake is complete. */
  abort(): void {
    if (this.#actor.quic.isHandshaking) this.#connection.close(0, '');
  }

  then<A = Connection, B = never>(
    onFulfilled?: ((connection: Connection) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.connected.then(onFulfilled, onRejected);
  }
}

/** Alerts with which our own verifier refuses a server: bad_certificate, unsupported_certificate, unknown_ca. */
const IDENTITY_ALERTS = new Set([0x100 + 42, 0x100 + 43, 0x100 + 48]);

/** A failed handshake as `connect` reports it. */
export function toConnectError(error: ConnectionError): ConnectError {
  const isIdentity =
    error.code === 'ConnectionError.TransportError' && IDENTITY_ALERTS.has(Number(error.rawCode ?? 0n));
  if (isIdentity) {
    const reason = new AuthenticationError(
      'AuthenticationError.RemoteId',
      'the peer has another endpoint id',
      error,
    );
    return new ConnectError(
      'ConnectError.AuthenticationError',
      'who answered is not who was dialled',
      new ConnectingError('ConnectingError.HandshakeFailure', reason.message, reason),
    );
  }
  return new ConnectError(
    'ConnectError.Connection',
    error.message,
    new ConnectingError('ConnectingError.ConnectionError', error.message, error),
  );
}
