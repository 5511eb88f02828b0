/**
 * Makes records of sent packets for tests.
 *
 * @module
 */
import type { Millis } from '../../src/base/clock.ts';
import type { SentPacket } from '../../src/quic/recovery/sent-packets.ts';

/** A 1200-byte ack-eliciting packet, unless told otherwise. */
export function sentPacket(
  packetNumber: number,
  timeSent: Millis,
  other: Partial<SentPacket> = {},
): SentPacket {
  return {
    packetNumber,
    timeSent,
    size: 1200,
    ackEliciting: true,
    inFlight: true,
    isMtuProbe: false,
    isPathProbe: false,
    frames: [],
    ...other,
  };
}

/** A packet that carries only an ACK. */
export function ackOnlyPacket(packetNumber: number, timeSent: Millis): SentPacket {
  return sentPacket(packetNumber, timeSent, { size: 40, ackEliciting: false, inFlight: false });
}
