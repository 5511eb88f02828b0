/**
 * Version Negotiation packets (RFC 9000 §6 and §17.2.1).
 *
 * @module
 */
import { Writer } from '../../base/bytes.ts';
import { randomBelow, type Rng } from '../../base/rng.ts';
import { FIXED_BIT, QUIC_VERSION_1 } from './packet.ts';

/** Answers a datagram of an unknown version, whose connection ids are given, with the versions that we speak. */
export function encodeVersionNegotiation(dcid: Uint8Array, scid: Uint8Array, rng: Rng): Uint8Array {
  const w = new Writer();
  // The low bits are arbitrary; the fixed bit is set for receivers that tell QUIC from other datagrams by it (§17.2.1).
  w.u8(0x80 | FIXED_BIT | randomBelow(rng, 64));
  w.u32(0);
  // Mirrored, so that the client can match it (RFC 9000 §17.2.1).
  w.u8(scid.length);
  w.put(scid);
  w.u8(dcid.length);
  w.put(dcid);
  // RFC 9000 §6.3: a reserved version keeps clients from relying on the list.
  const nibble = randomBelow(rng, 16);
  w.u32(((nibble << 28) | 0x0a0a_0a0a | (nibble << 20) | (nibble << 12) | (nibble << 4)) >>> 0);
  w.u32(QUIC_VERSION_1);
  return w.copy();
}
