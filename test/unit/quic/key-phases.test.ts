import { describe, expect, test } from '@jest/globals';
import { KeyPhases } from '../../../src/quic/key-phases.ts';
import { writeShortHeader } from '../../../src/quic/wire/packet.ts';
import { Writer } from '../../../src/base/bytes.ts';
import { sealPacket } from '../../support/sealed-packet.ts';

const SUITE = 'TLS_CHACHA20_POLY1305_SHA256';
const CID = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const PN_OFFSET = 1 + CID.length;
const secret = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);

function pair(): { a: KeyPhases; b: KeyPhases } {
  return {
    a: new KeyPhases(SUITE, secret(1), secret(2), Infinity),
    b: new KeyPhases(SUITE, secret(2), secret(1), Infinity),
  };
}

interface Sealed {
  readonly bytes: Uint8Array;
  readonly phase: 0 | 1;
  readonly packetNumber: number;
}

function seal(from: KeyPhases, packetNumber: number): Sealed {
  const w = new Writer();
  writeShortHeader(w, CID, packetNumber, 4, from.phase);
  const bytes = sealPacket(from.write, w.copy(), new Uint8Array(20).fill(packetNumber), 0, packetNumber);
  from.onPacketSent();
  return { bytes, phase: from.phase, packetNumber };
}

/** Opens as the packet reader does; header protection does not change with the phase, so it is left out. */
function open(to: KeyPhases, { bytes, phase, packetNumber }: Sealed): boolean | undefined {
  const w = new Writer();
  writeShortHeader(w, CID, packetNumber, 4, phase);
  const copy = bytes.slice();
  copy.set(w.copy(), 0);
  const job = {
    bytes: copy,
    headerStart: 0,
    payloadStart: PN_OFFSET + 4,
    payloadEnd: copy.length,
    nonce: new Uint8Array(12),
  };
  return to.open(job, phase, 0, packetNumber)?.isPeerUpdate;
}

describe('key update (RFC 9001 §6)', () => {
  test('an acknowledgment counts for its own phase only (§6.1)', () => {
    const { a } = pair();
    a.onPhaseAcknowledged();
    a.update();
    a.discardPrevious();
    expect(a.update()).toBe(false);
    a.onPhaseAcknowledged();
    expect(a.update()).toBe(true);
  });

  test('the peer has followed once a packet of the new phase is there, and old keys wait for it (§6.5)', () => {
    const { a, b } = pair();
    a.onPhaseAcknowledged();
    a.update();
    expect([a.holdsPrevious, a.peerFollowed]).toEqual([true, false]);
    // Sent before `b` knew.
    expect(open(a, seal(b, 0))).toBe(false);
    expect(a.peerFollowed).toBe(false);
    expect(open(b, seal(a, 0))).toBe(true);
    b.onPeerUpdate(true);
    expect(b.peerFollowed).toBe(true);
    expect(open(a, seal(b, 1))).toBe(false);
    expect(a.peerFollowed).toBe(true);
  });

  test('not before an acknowledgment of the phase, nor while old keys are kept', () => {
    const { a } = pair();
    expect(a.update()).toBe(false);
    a.onPhaseAcknowledged();
    expect(a.update()).toBe(true);
    expect([a.phase, a.updates, a.holdsPrevious]).toEqual([1, 1, true]);
    a.onPhaseAcknowledged();
    expect(a.update()).toBe(false);
    a.discardPrevious();
    expect(a.update()).toBe(true);
    expect([a.phase, a.updates]).toEqual([0, 2]);
  });

  test('the peer follows; late packets of the old phase open until its keys are gone', () => {
    const { a, b } = pair();
    const late = seal(a, 1);
    a.onPhaseAcknowledged();
    a.update();
    const first = seal(a, 2);
    expect(open(b, first)).toBe(true);
    b.onPeerUpdate(true);
    expect(open(b, seal(a, 3))).toBe(false);
    expect(open(b, late)).toBe(false);
    b.discardPrevious();
    expect(open(b, late)).toBeUndefined();
    expect(open(a, seal(b, 1))).toBe(false);
  });

  test('a forged bit does not move anything', () => {
    const { a, b } = pair();
    const packet = seal(a, 1);
    expect(open(b, { ...packet, phase: 1 })).toBeUndefined();
    expect(open(b, packet)).toBe(false);
    expect(b.phase).toBe(0);
  });

  test('KEY_UPDATE_ERROR: twice without our having sent, or with a number that goes back', () => {
    const error = expect.objectContaining({ code: 'KEY_UPDATE_ERROR' });
    const twice = pair().b;
    twice.onPeerUpdate(true);
    expect(() => twice.onPeerUpdate(true)).toThrow(error);
    expect(() => pair().b.onPeerUpdate(false)).toThrow(error);
  });

  test('starts by itself after so many packets', () => {
    const keys = new KeyPhases(SUITE, secret(1), secret(2), 3);
    expect([keys.onPacketSent(), keys.onPacketSent(), keys.onPacketSent()]).toEqual([false, false, true]);
  });
});
