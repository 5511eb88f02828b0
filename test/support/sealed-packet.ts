/**
 * Seals and opens single packets with the engine's own parts, and a seeded source of randomness.
 *
 * @module
 */
import { concatBytes } from '../../src/base/bytes.ts';
import type { Rng } from '../../src/base/rng.ts';
import type { PathId } from '../../src/quic/engine.ts';
import { decodePacketNumber } from '../../src/quic/wire/packet-number.ts';
import {
  removeHeaderProtection,
  sealPackets,
  type PacketKeys,
  type SealJob,
} from '../../src/quic/wire/protection.ts';

const TAG_BYTES = 16;

/** Deterministic bytes (a 32-bit xorshift): enough for tests, of no use as a secret. */
export function testRng(seed = 1): Rng {
  let state = seed >>> 0 || 1;
  return {
    fill: (target) => {
      for (let i = 0; i < target.length; i++) {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        state >>>= 0;
        target[i] = state;
      }
      return target;
    },
  };
}

/** A job for a packet of which `header` ends with its packet number of `pnLength` bytes. Room for the tag included. */
export function sealJob(
  keys: PacketKeys,
  header: Uint8Array,
  payload: Uint8Array,
  path: PathId,
  packetNumber: number,
): SealJob {
  const pnLength = (header[0]! & 0x03) + 1;
  const job: SealJob = {
    bytes: concatBytes(header, payload, new Uint8Array(TAG_BYTES)),
    headerStart: 0,
    payloadStart: header.length,
    payloadEnd: header.length + payload.length,
    nonce: new Uint8Array(12),
    pnOffset: header.length - pnLength,
  };
  keys.writeNonce(job.nonce, path, packetNumber);
  return job;
}

/** One protected packet. */
export function sealPacket(
  keys: PacketKeys,
  header: Uint8Array,
  payload: Uint8Array,
  path: PathId,
  packetNumber: number,
): Uint8Array {
  const job = sealJob(keys, header, payload, path, packetNumber);
  sealPackets(keys, [job], 1);
  return job.bytes;
}

export interface OpenedTestPacket {
  readonly header: Uint8Array;
  readonly payload: Uint8Array | undefined;
  readonly packetNumber: number;
}

/**
 * Opens one protected packet that fills `packet`.
 * @param largest - Largest packet number received so far, −1 for none.
 */
export function openPacket(
  keys: PacketKeys,
  packet: Uint8Array,
  pnOffset: number,
  path: PathId,
  largest: number,
): OpenedTestPacket {
  const bytes = packet.slice();
  const masks = keys.headerKey.masks(bytes.slice(pnOffset + 4, pnOffset + 20), 1);
  const length = removeHeaderProtection(bytes, 0, pnOffset, masks, 0);
  let truncated = 0;
  for (let i = 0; i < length; i++) truncated = truncated * 256 + bytes[pnOffset + i]!;
  const packetNumber = decodePacketNumber(truncated, length, largest);
  const job: SealJob = {
    bytes,
    headerStart: 0,
    payloadStart: pnOffset + length,
    payloadEnd: bytes.length,
    nonce: new Uint8Array(12),
    pnOffset,
  };
  keys.writeNonce(job.nonce, path, packetNumber);
  const header = bytes.slice(0, pnOffset + length);
  const payload = keys.aead.open(job);
  return { header, payload: payload?.slice(), packetNumber };
}
