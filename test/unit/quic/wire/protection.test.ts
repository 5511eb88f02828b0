import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concatBytes, fromHex, toHex, Writer } from '../../../../src/base/bytes.ts';
import type { CipherSuiteName } from '../../../../src/tls/session.ts';
import { decodeLongHeader, writeShortHeader } from '../../../../src/quic/wire/packet.ts';
import { PacketKeys, sealPackets } from '../../../../src/quic/wire/protection.ts';
import { openPacket, sealJob, sealPacket } from '../../../support/sealed-packet.ts';
import { loadVectors } from '../../../support/vectors.ts';

interface PacketVector {
  readonly packet_number: number;
  readonly header: string;
  readonly payload: string;
  readonly trailing_zero_bytes: number;
  readonly packet: string;
}
interface Rfc9001 {
  readonly keys: {
    readonly dcid: string;
    readonly client: { readonly secret: string; readonly iv: string };
    readonly server: { readonly secret: string; readonly iv: string };
  };
  readonly client_initial: PacketVector;
  readonly server_initial: PacketVector;
  readonly chacha20: PacketVector & {
    readonly secret: string;
    readonly iv: string;
    readonly next_secret: string;
  };
}

const rfc = loadVectors<Rfc9001>('rfc9001');
const dcid = fromHex(rfc.keys.dcid);
const SUITES: readonly CipherSuiteName[] = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
];
const secretOf = (suite: CipherSuiteName, byte: number): Uint8Array =>
  new Uint8Array(suite === 'TLS_AES_256_GCM_SHA384' ? 48 : 32).fill(byte);

describe('RFC 9001 appendix A', () => {
  test('A.1: Initial secrets of both roles', () => {
    const client = PacketKeys.initial(dcid, 'client');
    const server = PacketKeys.initial(dcid, 'server');
    expect(toHex(client.write.secret)).toBe(rfc.keys.client.secret);
    expect(toHex(client.write.iv)).toBe(rfc.keys.client.iv);
    expect(toHex(client.read.secret)).toBe(rfc.keys.server.secret);
    expect(toHex(client.read.iv)).toBe(rfc.keys.server.iv);
    expect(toHex(server.read.secret)).toBe(rfc.keys.client.secret);
    expect(toHex(server.write.secret)).toBe(rfc.keys.server.secret);
  });

  test.each([
    ['A.2: client Initial', rfc.client_initial, 'client'],
    ['A.3: server Initial', rfc.server_initial, 'server'],
  ] as const)('%s, sealed and opened', (_, vector, sender) => {
    const payload = concatBytes(fromHex(vector.payload), new Uint8Array(vector.trailing_zero_bytes));
    const write = PacketKeys.initial(dcid, sender).write;
    const sealed = sealPacket(write, fromHex(vector.header), payload, 0, vector.packet_number);
    expect(toHex(sealed)).toBe(vector.packet);

    const header = decodeLongHeader(sealed, 0, sealed.length);
    if (header?.type !== 'initial') throw new Error('not an Initial');
    expect(header.end).toBe(sealed.length);
    const read = PacketKeys.initial(dcid, sender === 'client' ? 'server' : 'client').read;
    const opened = openPacket(read, sealed, header.pnOffset, 0, -1);
    expect(toHex(opened.header)).toBe(vector.header);
    expect(opened.packetNumber).toBe(vector.packet_number);
    expect(opened.payload).toEqual(payload);
  });

  test('A.5: ChaCha20-Poly1305 short header, and its key update', () => {
    const vector = rfc.chacha20;
    const keys = PacketKeys.fromSecret('TLS_CHACHA20_POLY1305_SHA256', fromHex(vector.secret));
    expect(toHex(keys.iv)).toBe(vector.iv);
    expect(toHex(keys.nextSecret())).toBe(vector.next_secret);
    const payload = fromHex(vector.payload);
    const sealed = sealPacket(keys, fromHex(vector.header), payload, 0, vector.packet_number);
    expect(toHex(sealed)).toBe(vector.packet);
    const opened = openPacket(keys, sealed, 1, 0, vector.packet_number - 1);
    expect(toHex(opened.header)).toBe(vector.header);
    expect(opened.packetNumber).toBe(vector.packet_number);
    expect(opened.payload).toEqual(payload);
  });
});

describe('nonces', () => {
  test('carry the path id above the packet number (multipath draft §2.4, its example)', () => {
    // The draft names the IV, not the secret that makes it: only the IV matters here.
    const iv = { value: fromHex('6b26114b9cba2b63a9e8dd4f') };
    const keys = Object.create(PacketKeys.prototype, { iv }) as Pick<PacketKeys, 'writeNonce'>;
    const nonce = new Uint8Array(12);
    keys.writeNonce(nonce, 3, 54_321);
    expect(toHex(nonce)).toBe('6b2611489cba2b63a9e8097e');
  });

  test('hold 32 bits of path and 53 of packet number', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
        (path, packetNumber) => {
          const keys = PacketKeys.fromSecret('TLS_AES_128_GCM_SHA256', secretOf('TLS_AES_128_GCM_SHA256', 7));
          const nonce = new Uint8Array(12);
          keys.writeNonce(nonce, path, packetNumber);
          for (let i = 0; i < 12; i++) nonce[i]! ^= keys.iv[i]!;
          const view = new DataView(nonce.buffer);
          expect(view.getUint32(0)).toBe(path);
          expect(view.getBigUint64(4)).toBe(BigInt(packetNumber));
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe.each(SUITES)('%s', (suite) => {
  const keys = PacketKeys.fromSecret(suite, secretOf(suite, 1));
  const shortHeader = (packetNumber: number, length: number): Uint8Array => {
    const w = new Writer();
    writeShortHeader(w, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), packetNumber, length, 1);
    return w.copy();
  };

  test('opens what it sealed, in batches, on any path', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 9 }),
        fc.integer({ min: 0, max: 2 ** 40 }),
        fc.array(fc.tuple(fc.uint8Array({ minLength: 4, maxLength: 60 }), fc.integer({ min: 1, max: 4 })), {
          minLength: 1,
          maxLength: 40,
        }),
        (path, first, packets) => {
          const jobs = packets.map(([payload, length], i) =>
            sealJob(keys, shortHeader(first + i, length), payload, path, first + i),
          );
          sealPackets(keys, jobs, jobs.length);
          jobs.forEach((job, i) => {
            const opened = openPacket(keys, job.bytes, 9, path, first + i - 1);
            expect(opened.packetNumber).toBe(first + i);
            expect(opened.payload).toEqual(packets[i]![0]);
            expect(opened.header).toEqual(shortHeader(first + i, packets[i]![1]));
          });
        },
      ),
      { numRuns: 20 },
    );
  });

  test('refuses a packet with any byte changed, or of another path', () => {
    const sealed = sealPacket(keys, shortHeader(5, 2), new Uint8Array(20), 2, 5);
    expect(openPacket(keys, sealed, 9, 2, 4).payload).toEqual(new Uint8Array(20));
    expect(openPacket(keys, sealed, 9, 1, 4).payload).toBeUndefined();
    for (let i = 0; i < sealed.length; i++) {
      const changed = sealed.slice();
      changed[i]! ^= 1;
      expect(openPacket(keys, changed, 9, 2, 4).payload).toBeUndefined();
    }
  });

  test('keeps the header key over an update, and nothing else', () => {
    const next = keys.withSecret(keys.nextSecret());
    expect(next.headerKey).toBe(keys.headerKey);
    expect(next.secret).toHaveLength(keys.secret.length);
    expect(next.secret).not.toEqual(keys.secret);
    expect(next.iv).not.toEqual(keys.iv);
    const sealed = sealPacket(next, shortHeader(9, 1), new Uint8Array(8), 0, 9);
    expect(openPacket(keys, sealed, 9, 0, 8).payload).toBeUndefined();
    expect(openPacket(next, sealed, 9, 0, 8).payload).toEqual(new Uint8Array(8));
  });

  test('knows the limits of RFC 9001 §6.6', () => {
    const isChaCha = suite === 'TLS_CHACHA20_POLY1305_SHA256';
    expect(keys.confidentialityLimit).toBe(isChaCha ? Infinity : 2 ** 23);
    expect(keys.integrityLimit).toBe(isChaCha ? 2 ** 36 : 2 ** 52);
  });
});
