/**
 * How a connection ended, in quiche's words and in ours.
 *
 * @module
 */
import type { CloseReason } from '../quic/engine.ts';
import { transportErrorOf, type Connection } from './native.ts';

/** Bytes of a close reason that are sent: quiche splits no frame, and a close that does not fit into a packet is never sent. */
export const MAX_REASON_BYTES = 1_000;
/** TLS alert no_application_protocol (RFC 7301 §3.2). */
export const NO_APPLICATION_PROTOCOL = 120;

/** Why quiche says that `native` is closed or draining. */
export function closeReasonOf(native: Connection): CloseReason {
  const peer = native.peerError();
  if (peer !== null) {
    // Larger codes than 2^53 − 1 have lost their low bits in the binding.
    const code = BigInt(peer.errorCode);
    const reason = Uint8Array.from(peer.reason);
    return peer.isApp
      ? { type: 'applicationClosed', code, reason }
      : { type: 'connectionClosed', code, frameType: 0, reason };
  }
  if (native.isTimedOut()) return { type: 'timedOut' };
  const local = native.localError();
  if (local !== null)
    return { type: 'transportError', error: transportErrorOf(local.errorCode, 'closed by quiche') };
  return { type: 'reset' };
}
