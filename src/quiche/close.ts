/**
 * How a connection ended, in quiche's words and in ours.
 *
 * @module
 */
import type { CloseReason } from '../quic/engine.ts';
import { MIN_INITIAL_DATAGRAM_BYTES } from '../quic/incoming-table.ts';
import { encodeInitialClose } from '../quic/stateless.ts';
import type { TransportError } from '../quic/transport-error.ts';
import { PacketKeys } from '../quic/wire/protection.ts';
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

/** Packet number of {@link encodeClientClose}: higher than any that quiche used in the Initial space by then. */
const CLOSE_PACKET_NUMBER = 200;

/**
 * A client's Initial packet with CONNECTION_CLOSE. quiche would say it in a 1-RTT packet, which the server cannot read as long as
 * it has not the client's last message; and who is not the endpoint that was dialled shall not get that, nor the certificate in
 * it (RFC 9000 §10.2.3 allows all levels).
 * @param initialDcid - The destination id that the Initial keys come from.
 * @param dcid - The server's id.
 */
export function encodeClientClose(
  initialDcid: Uint8Array,
  dcid: Uint8Array,
  scid: Uint8Array,
  error: TransportError,
): Uint8Array {
  const keys = PacketKeys.initial(initialDcid, 'client').write;
  const packet = encodeInitialClose(keys, dcid, scid, error, CLOSE_PACKET_NUMBER);
  // What follows the packet is no packet: receivers drop it (RFC 9000 §12.2).
  const datagram = new Uint8Array(MIN_INITIAL_DATAGRAM_BYTES);
  datagram.set(packet);
  return datagram;
}

/** The packet that told the peer of a close: told again when it sends on, less and less often (RFC 9000 §10.2.1). */
export class Farewell {
  #packet: Uint8Array | undefined;
  #ignored = 0;
  #repeats = 0;
  #isDue = false;

  /** @param packet - Copied. */
  keep(packet: Uint8Array): void {
    this.#packet = packet.slice();
  }

  /** The peer sent something. Returns whether it is to be told again. */
  onDatagram(): boolean {
    if (this.#packet === undefined || ++this.#ignored < 2 ** this.#repeats) return false;
    this.#ignored = 0;
    this.#repeats++;
    this.#isDue = true;
    return true;
  }

  /** The packet, when it is due. */
  take(): Uint8Array | undefined {
    if (!this.#isDue) return undefined;
    this.#isDue = false;
    return this.#packet?.slice();
  }
}
