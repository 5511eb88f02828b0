import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Reader } from '../../../src/base/bytes.ts';
import { toAddr } from '../../../src/base/socket-addr.ts';
import type { Transmit } from '../../../src/quic/engine.ts';
import { toHex } from '../../../src/base/bytes.ts';
import {
  encodeInitialClose,
  encodeStatelessReset,
  MAX_STATELESS_TRANSMITS,
  ResetTokens,
  STATELESS_RESET_INTERVAL_MS,
  StatelessAnswers,
} from '../../../src/quic/stateless.ts';
import { TransportError } from '../../../src/quic/transport-error.ts';
import { decodeFrame } from '../../../src/quic/wire/frames.ts';
import { decodeLongHeader } from '../../../src/quic/wire/packet.ts';
import { PacketKeys } from '../../../src/quic/wire/protection.ts';
import { openPacket } from '../../support/sealed-packet.ts';
import { SimRng } from '../../support/sim-rng.ts';

const FROM = toAddr('192.0.2.1', 1_000);
const LOCAL = toAddr('192.0.2.2', 4_433);
const cid = (n: number): Uint8Array => new Uint8Array(8).fill(n);

function answers(seed = 1): StatelessAnswers {
  return new StatelessAnswers(new ResetTokens(new Uint8Array(32).fill(9)), new SimRng(seed));
}

function take(from: StatelessAnswers, max = 1_000): Transmit[] {
  const out: Transmit[] = [];
  expect(from.take(out, max)).toBe(out.length);
  return out;
}

describe('stateless reset tokens', () => {
  test('follow from key and connection id', () => {
    const tokens = new ResetTokens(new Uint8Array(32).fill(1));
    const again = new ResetTokens(new Uint8Array(32).fill(1));
    const others = new ResetTokens(new Uint8Array(32).fill(2));
    expect(tokens.of(cid(1))).toHaveLength(16);
    expect(again.of(cid(1))).toEqual(tokens.of(cid(1)));
    const first = tokens.of(cid(1)).slice();
    expect(tokens.of(cid(2))).not.toEqual(first);
    expect(others.of(cid(1))).not.toEqual(first);
  });

  test('can be made of a packet, where the connection id follows the first byte', () => {
    const tokens = new ResetTokens(new Uint8Array(32));
    const packet = Uint8Array.of(0x40, 1, 2, 3, 4, 5, 6, 7, 8, 99, 98);
    expect(tokens.of(packet, 1)).toEqual(tokens.of(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)));
  });

  test('depend on all eight bytes of the connection id', () => {
    const tokens = new ResetTokens(new Uint8Array(32));
    const id = cid(1);
    const seen = new Set([toHex(tokens.of(id))]);
    for (let i = 0; i < id.length; i++) {
      id[i]! ^= 1;
      seen.add(toHex(tokens.of(id)));
      id[i]! ^= 1;
    }
    expect(seen.size).toBe(1 + id.length);
  });
});

describe('a stateless reset (RFC 9000 §10.3)', () => {
  const token = new Uint8Array(16).fill(0xaa);

  test('is smaller than what it answers, ends in the token and looks like a short header packet', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2_000 }), fc.nat(), (trigger, seed) => {
        const reset = encodeStatelessReset(token, trigger, new SimRng(seed));
        if (trigger < 22) {
          expect(reset).toBeUndefined();
          return;
        }
        expect(reset!.length).toBeLessThan(trigger);
        expect(reset!.length).toBeGreaterThanOrEqual(21);
        expect(reset!.subarray(reset!.length - 16)).toEqual(token);
        expect(reset![0]! & 0xc0).toBe(0x40);
      }),
    );
  });

  test('for a small packet is one byte shorter, so that a reset of a reset ends soon (§10.3)', () => {
    for (let trigger = 22; trigger <= 42; trigger++) {
      expect(encodeStatelessReset(token, trigger, new SimRng(1))).toHaveLength(trigger - 1);
    }
  });

  test('for a larger one has at least the size of a packet with the longest connection id', () => {
    for (let seed = 0; seed < 50; seed++) {
      expect(encodeStatelessReset(token, 1_200, new SimRng(seed))!.length).toBeGreaterThanOrEqual(41);
    }
  });
});

test('the close of an attempt is an Initial that the client can open', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 0, maxLength: 20 }),
      fc.uint8Array({ minLength: 0, maxLength: 20 }),
      fc.string({ maxLength: 100 }),
      (dcid, clientCid, reason) => {
        const server = PacketKeys.initial(dcid, 'server');
        const client = PacketKeys.initial(dcid, 'client');
        const error = new TransportError('PROTOCOL_VIOLATION', reason, { frameType: 6 });
        const bytes = encodeInitialClose(server.write, clientCid, cid(3), error);
        const header = decodeLongHeader(bytes, 0, bytes.length);
        if (header?.type !== 'initial') throw new Error('not an Initial');
        expect(header.dcid).toEqual(clientCid);
        expect(header.scid).toEqual(cid(3));
        expect(header.end).toBe(bytes.length);
        const { payload } = openPacket(client.read, bytes, header.pnOffset, 0, -1);
        const frame = decodeFrame(new Reader(payload!), 'initial');
        expect(frame).toEqual({
          type: 'connectionClose',
          code: 0xan,
          frameType: 6,
          reason: new TextEncoder().encode(reason),
        });
      },
    ),
  );
});

describe('stateless answers', () => {
  test('leave in order and carry both addresses', () => {
    const queue = answers();
    queue.push(FROM, LOCAL, Uint8Array.of(1));
    queue.push(FROM, undefined, Uint8Array.of(2));
    expect(take(queue, 1)).toEqual([{ to: FROM, local: LOCAL, data: Uint8Array.of(1) }]);
    expect(take(queue)).toEqual([{ to: FROM, local: undefined, data: Uint8Array.of(2) }]);
    expect(take(queue)).toEqual([]);
  });

  test('are dropped while too many wait', () => {
    const queue = answers();
    for (let i = 0; i < MAX_STATELESS_TRANSMITS + 10; i++) queue.push(FROM, LOCAL, Uint8Array.of(i));
    expect(take(queue, 10_000)).toHaveLength(MAX_STATELESS_TRANSMITS);
    queue.push(FROM, LOCAL, Uint8Array.of(1));
    expect(take(queue)).toHaveLength(1);
  });

  test('reset at most once in a while', () => {
    const queue = answers();
    const datagram = { from: FROM, local: LOCAL, data: new Uint8Array(100).fill(0x41) };
    for (let now = 0; now < 5 * STATELESS_RESET_INTERVAL_MS; now++) queue.pushReset(datagram, now);
    expect(take(queue)).toHaveLength(5);
  });

  test('a packet that is too small for a reset does not use up the turn', () => {
    const queue = answers();
    queue.pushReset({ from: FROM, local: LOCAL, data: new Uint8Array(21).fill(0x41) }, 0);
    queue.pushReset({ from: FROM, local: LOCAL, data: new Uint8Array(100).fill(0x41) }, 1);
    expect(take(queue)).toHaveLength(1);
  });
});
