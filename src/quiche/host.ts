/**
 * The engine, seen from one of its connections.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { ConnectionEvent } from '../quic/engine.ts';
import type { QuicheConnection } from './connection.ts';

/** All calls are synchronous and never re-enter the connection. */
export interface QuicheHost {
  emit(connection: QuicheConnection, event: ConnectionEvent): void;
  /** It may have something to send, and another deadline. Idempotent and cheap. */
  touch(connection: QuicheConnection): void;
  /** Makes an id of `LOCAL_CID_LENGTH` bytes that routes to `connection`. */
  issueCid(connection: QuicheConnection): Uint8Array;
  retireCid(connection: QuicheConnection, cid: Uint8Array): void;
  /** The stateless reset token of an id (RFC 9000 §10.3), as a number of 128 bits. */
  resetTokenOf(cid: Uint8Array): bigint;
  /** Client: for the next connection to the same server. */
  saveSession(connection: QuicheConnection, session: Uint8Array): void;
  /** Wall-clock ms since 1970. */
  wallTime(now: Millis): Millis;
  allocate(size: number): { readonly bytes: Uint8Array; readonly start: number };
  shrink(used: number): void;
  /** Forget the connection. */
  drained(connection: QuicheConnection): void;
}
