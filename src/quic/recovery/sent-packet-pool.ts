/**
 * Records of sent packets, used again when the fate of their packet is known.
 *
 * A packet in flight outlives V8's young generation. Fresh records would fill the old one, and its collector marks the
 * heap of the whole process, with all idle connections in it. One pool serves all connections of a thread.
 *
 * @module
 */
import { giveStreamFrame } from '../sent-frame.ts';
import type { SentPacket } from './sent-packets.ts';

/** A send window of 3 MB in flight; about half a megabyte when full. */
export const MAX_POOLED_PACKETS = 2_048;

const pool: SentPacket[] = [];

/** A record without frames; the other fields are whatever they were. */
export function takeSentPacket(): SentPacket {
  return (
    pool.pop() ?? {
      packetNumber: 0,
      timeSent: 0,
      size: 0,
      ackEliciting: false,
      inFlight: false,
      isMtuProbe: false,
      isPathProbe: false,
      frames: [],
    }
  );
}

/** Takes the records back and empties the list: nobody may hold one of them or of their frames any more. */
export function giveSentPackets(packets: SentPacket[]): void {
  for (const packet of packets) {
    if (pool.length >= MAX_POOLED_PACKETS) break;
    const { frames } = packet;
    // Not `length = 0`, which gives the array's memory away.
    for (let frame = frames.pop(); frame !== undefined; frame = frames.pop()) {
      if (frame.type === 'stream') giveStreamFrame(frame);
    }
    pool.push(packet);
  }
  packets.length = 0;
}
