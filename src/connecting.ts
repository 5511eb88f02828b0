/**
 * A dial: finding out where the peer is, then the handshake.
 *
 * @module
 */
import type { ConnectionActor } from './actors/connection-actor.ts';
import { anotherPeer } from './actors/connections.ts';
import { quiet } from './actors/wait.ts';
import type { EndpointId } from './base/endpoint-id.ts';
import { ConnectError, ConnectingError, ConnectionError } from './base/errors.ts';
import { Connection } from './connection.ts';
import type { EngineCapabilities } from './quic/engine.ts';

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
  /** Once it is known where to send, the handshake runs. */
  readonly #dial: Promise<{ readonly actor: ConnectionActor; readonly connection: Connection }>;
  readonly #giveUp: AbortController;
  #early: Promise<EarlyConnection | undefined> | undefined;
  #actor: ConnectionActor | undefined;

  /** Made by `endpoint.dial`. @param giveUp - Ends the dial while no handshake runs. @internal */
  constructor(dial: Promise<ConnectionActor>, remoteId: EndpointId, giveUp: AbortController) {
    this.remoteId = remoteId;
    this.#giveUp = giveUp;
    this.#dial = quiet(
      dial.then((actor) => {
        this.#actor = actor;
        if (giveUp.signal.aborted) {
          // While the connection was on its way here.
          this.#close(actor);
          throw giveUp.signal.reason;
        }
        return { actor, connection: new Connection(actor, remoteId) };
      }),
    );
  }

  /** The negotiated protocol, as soon as it is known. @throws {ConnectError} */
  get alpn(): Promise<Uint8Array> {
    return quiet(
      this.#dial.then(async ({ actor }) => {
        await this.#orConnectError(actor.handshakeData.promise);
        return actor.quic.alpn!;
      }),
    );
  }

  /**
   * The connection for early data (0-RTT): streams and datagrams leave with the first packet. Undefined when no session
   * ticket for this peer is at hand; the dial goes on all the same. Early data can be replayed by an attacker.
   * @throws {ConnectError} when dialling cannot even start.
   */
  early(): Promise<EarlyConnection | undefined> {
    return (this.#early ??= quiet(
      this.#dial.then(({ actor, connection }) => {
        if (!actor.quic.has0Rtt || !actor.quic.isHandshaking) return undefined;
        return { connection, accepted: quiet(this.connected.then(() => actor.earlyVerdict.promise)) };
      }),
    ));
  }

  /** The connection once the handshake is complete. @throws {ConnectError} */
  get connected(): Promise<Connection> {
    return quiet(
      this.#dial.then(async ({ actor, connection }) => {
        await this.#orConnectError(actor.connected.promise);
        return connection;
      }),
    );
  }

  /** Gives the attempt up: what waits for it rejects with `reason`. Does nothing once the handshake is complete. */
  abort(reason: unknown = new DOMException('the dial was given up', 'AbortError')): void {
    const actor = this.#actor;
    if (actor?.connected.isSettled === true) return;
    this.#giveUp.abort(reason);
    if (actor !== undefined) this.#close(actor);
  }

  #close({ quic, clock, driver }: ConnectionActor): void {
    quic.close(0n, new Uint8Array(0), clock.now());
    driver.wake();
  }

  async #orConnectError(promise: Promise<void>): Promise<void> {
    try {
      await promise;
    } catch (error) {
      this.#giveUp.signal.throwIfAborted();
      if (!(error instanceof ConnectionError)) throw error;
      throw toConnectError(error, this.#actor!.driver.engine.capabilities);
    }
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

/** Alert handshake_failure: no certificate type in common. Of what else it may mean, every TLS 1.3 stack has enough. */
const NOTHING_IN_COMMON = 0x100 + 40;

/** A failed handshake as `connect` reports it. */
export function toConnectError(
  error: ConnectionError,
  { rawPublicKeys }: Pick<EngineCapabilities, 'rawPublicKeys'>,
): ConnectError {
  const alert = Number(error.rawCode ?? 0n);
  const isOurs = error.code === 'ConnectionError.TransportError';
  if (alert === NOTHING_IN_COMMON && (isOurs || error.code === 'ConnectionError.ConnectionClosed')) {
    const message = rawPublicKeys
      ? 'the peer proves its key by a certificate only: bind this endpoint with `x509Peers: true`'
      : 'the peer takes raw public keys only (RFC 7250), as iroh does, and the engine of this endpoint has none: ' +
        'use the default engine, or, if the peer is iroh-ts, bind it with `x509Peers: true`';
    return new ConnectError(
      'ConnectError.CertificateType',
      message,
      new ConnectingError('ConnectingError.HandshakeFailure', message, error),
    );
  }
  if (isOurs && IDENTITY_ALERTS.has(alert)) return anotherPeer(error);
  return new ConnectError(
    'ConnectError.Connection',
    error.message,
    new ConnectingError('ConnectingError.ConnectionError', error.message, error),
  );
}
