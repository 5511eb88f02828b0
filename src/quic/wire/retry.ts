/**
 * Retry packets and their integrity tag (RFC 9000 §17.2.5, RFC 9001 §5.8).
 *
 * @module
 */
import { createAead, type PacketJob } from '#crypto/aead';
import { concatBytes, equalBytes, fromHex, Writer } from '../../base/bytes.ts';
import { randomBelow, type Rng } from '../../base/rng.ts';
import { QUIC_VERSION_1 } from './packet.ts';

const TAG_BYTES = 16;
// RFC 9001 §5.8: fixed by the version, so the tag detects accidents and other versions, not forgers.
const RETRY_KEY = fromHex('be0c690b9f66575a1d766b54e368c84e');
const RETRY_NONCE = fromHex('461599d35d632bf2239825bb');

function integrityTag(originalDcid: Uint8Array, packetWithoutTag: Uint8Array): Uint8Array {
  const pseudo = concatBytes(
    Uint8Array.of(originalDcid.length),
    originalDcid,
    packetWithoutTag,
    new Uint8Array(TAG_BYTES),
  );
  const end = pseudo.length - TAG_BYTES;
  // An empty plaintext: all of it is associated data.
  const job: PacketJob = {
    bytes: pseudo,
    headerStart: 0,
    payloadStart: end,
    payloadEnd: end,
    nonce: RETRY_NONCE,
  };
  createAead('aes-128-gcm', RETRY_KEY).seal(job);
  return pseudo.subarray(end);
}

/** True when `packet`, a whole Retry, answers an Initial to `originalDcid`. */
export function verifyRetryIntegrity(originalDcid: Uint8Array, packet: Uint8Array): boolean {
  const end = packet.length - TAG_BYTES;
  return end > 0 && equalBytes(integrityTag(originalDcid, packet.subarray(0, end)), packet.subarray(end));
}

/**
 * A Retry packet.
 * @param dcid - The client's source connection id.
 * @param scid - The connection id that the client has to use next.
 * @param originalDcid - Where the client's Initial went.
 */
export function encodeRetry(
  dcid: Uint8Array,
  scid: Uint8Array,
  originalDcid: Uint8Array,
  token: Uint8Array,
  rng: Rng,
): Uint8Array {
  const w = new Writer();
  // The low four bits are unused and arbitrary.
  w.u8(0xf0 | randomBelow(rng, 16));
  w.u32(QUIC_VERSION_1);
  w.u8(dcid.length);
  w.put(dcid);
  w.u8(scid.length);
  w.put(scid);
  w.put(token);
  w.put(integrityTag(originalDcid, w.written()));
  return w.copy();
}
