import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concatBytes, fromHex, toHex } from '../../../src/base/bytes.ts';
import * as browser from '../../../src/crypto/aead.browser.ts';
import * as node from '../../../src/crypto/aead.ts';
import type { AeadName, PacketJob } from '../../../src/crypto/packet-cipher.ts';
import { loadVectors } from '../../support/vectors.ts';

const NAMES = Object.keys(node.AEAD_KEY_BYTES) as AeadName[];

interface AeadVector {
  id: number;
  aead: AeadName;
  key: string;
  nonce: string;
  aad: string;
  plaintext: string;
  ciphertext: string;
  tag: string;
  valid: boolean;
}

/** A job whose buffer has `margin` foreign bytes on both sides. */
function job(header: Uint8Array, payload: Uint8Array, nonce: Uint8Array, margin = 3, tail = 16): PacketJob {
  const guard = new Uint8Array(margin).fill(0xee);
  return {
    bytes: concatBytes(guard, header, payload, new Uint8Array(tail), guard),
    headerStart: margin,
    payloadStart: margin + header.length,
    payloadEnd: margin + header.length + payload.length,
    nonce,
  };
}

function sealed(j: PacketJob): Uint8Array {
  return j.bytes.subarray(j.payloadStart, j.payloadEnd + 16);
}

describe.each([
  ['node', node],
  ['browser', browser],
])('%s packet ciphers', (_, impl) => {
  test('agree with Wycheproof', () => {
    for (const v of loadVectors<AeadVector[]>('wycheproof-aead')) {
      const aead = impl.createAead(v.aead, fromHex(v.key));
      const ciphertext = fromHex(v.ciphertext + v.tag);
      const opened = aead.open(job(fromHex(v.aad), ciphertext, fromHex(v.nonce)));
      expect({ id: v.id, opened: opened && toHex(opened) }).toEqual({
        id: v.id,
        opened: v.valid ? v.plaintext : undefined,
      });
      if (!v.valid) continue;
      const j = job(fromHex(v.aad), fromHex(v.plaintext), fromHex(v.nonce));
      aead.seal(j);
      expect({ id: v.id, sealed: toHex(sealed(j)) }).toEqual({ id: v.id, sealed: v.ciphertext + v.tag });
    }
  });

  test('seal the ChaCha20 packet of RFC 9001 §A.5', () => {
    const key = fromHex('c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8');
    const j = job(fromHex('4200bff4'), fromHex('01'), fromHex('e0459b3474bdd0e46d417eb0'));
    impl.createAead('chacha20-poly1305', key).seal(j);
    expect(toHex(sealed(j))).toBe('655e5cd55c41f69080575d7999c25a5bfb');
  });

  test.each([
    // RFC 9001 §A.2, §A.3, §A.5
    ['aes-128-gcm', '9f50449e04a0e810283a1e9933adedd2', 'd1b1c98dd7689fb8ec11d242b123dc9b', '437b9aec36'],
    ['aes-128-gcm', 'c206b8d9b9f0f37644430b490eeaa314', '2cd0991cd25b0aac406a5816b6394100', '2ec0d8356a'],
    [
      'chacha20-poly1305',
      '25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4',
      '5e5cd55c41f69080575d7999c25a5bfb',
      'aefefe7d03',
    ],
  ] as const)('mask a header with %s as RFC 9001 shows', (name, key, sample, mask) => {
    const headerKey = impl.createHeaderKey(name, fromHex(key));
    expect(toHex(headerKey.masks(fromHex(sample), 1).subarray(0, 5))).toBe(mask);
    // The same sample third in a batch, in a buffer longer than the batch.
    const batch = new Uint8Array(5 * 16);
    batch.set(fromHex(sample), 32);
    expect(toHex(headerKey.masks(batch, 3).subarray(32, 37))).toBe(mask);
  });

  test.each(NAMES)('%s: a key of another length is a RangeError', (name) => {
    const key = new Uint8Array(impl.AEAD_KEY_BYTES[name] - 1);
    expect(() => impl.createAead(name, key)).toThrow(RangeError);
    expect(() => impl.createHeaderKey(name, key)).toThrow(RangeError);
  });

  test.each(NAMES)('%s: what is too short for a tag does not open', (name) => {
    const aead = impl.createAead(name, new Uint8Array(impl.AEAD_KEY_BYTES[name]));
    const nonce = new Uint8Array(12);
    for (const length of [0, 1, 15, 16])
      expect(aead.open(job(new Uint8Array(9), new Uint8Array(length), nonce))).toBeUndefined();
  });

  test.each(NAMES)('%s keeps its own copy of the key', (name) => {
    const key = new Uint8Array(impl.AEAD_KEY_BYTES[name]).fill(1);
    const aead = impl.createAead(name, key);
    const headerKey = impl.createHeaderKey(name, key);
    const seal = (): string => {
      const j = job(new Uint8Array(9), new Uint8Array(40), new Uint8Array(12));
      aead.seal(j);
      return toHex(sealed(j)) + toHex(headerKey.masks(new Uint8Array(16), 1).slice(0, 16));
    };
    const before = seal();
    key.fill(2);
    expect(seal()).toBe(before);
  });
});

describe('both twins', () => {
  const anyCase = fc.record({
    name: fc.constantFrom(...NAMES),
    key: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    nonce: fc.uint8Array({ minLength: 12, maxLength: 12 }),
    header: fc.uint8Array({ maxLength: 40 }),
    plaintext: fc.uint8Array({ maxLength: 1500, size: 'max' }),
  });

  test('give equal bytes, stay inside the packet and open each other', () => {
    fc.assert(
      fc.property(anyCase, ({ name, key, nonce, header, plaintext }) => {
        const usable = key.subarray(0, node.AEAD_KEY_BYTES[name]);
        const jobs = [node, browser].map((impl) => {
          const j = job(header, plaintext, nonce);
          impl.createAead(name, usable).sealBatch([j], 1);
          return j;
        });
        expect(jobs[0]!.bytes).toEqual(jobs[1]!.bytes);
        for (const impl of [node, browser]) {
          const j = jobs[0]!;
          expect(j.bytes.subarray(0, 3)).toEqual(new Uint8Array(3).fill(0xee));
          expect(j.bytes.subarray(-3)).toEqual(new Uint8Array(3).fill(0xee));
          const opened = impl.createAead(name, usable).open({ ...j, payloadEnd: j.payloadEnd + 16 });
          expect(opened).toEqual(plaintext);
          // A Buffer would share memory in slice().
          expect(Object.getPrototypeOf(opened)).toBe(Uint8Array.prototype);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('refuse every forgery', () => {
    fc.assert(
      fc.property(
        anyCase,
        fc.nat(),
        fc.integer({ min: 0, max: 7 }),
        ({ name, key, nonce, header, plaintext }, at, bit) => {
          const usable = key.subarray(0, node.AEAD_KEY_BYTES[name]);
          const j = job(header, plaintext, nonce);
          node.createAead(name, usable).seal(j);
          j.payloadEnd += 16;
          j.bytes[j.headerStart + (at % (header.length + plaintext.length + 16))]! ^= 1 << bit;
          for (const impl of [node, browser]) expect(impl.createAead(name, usable).open(j)).toBeUndefined();
        },
      ),
      { numRuns: 100 },
    );
  });

  test('mask equally, alone and in batches', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...NAMES),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.array(fc.uint8Array({ minLength: 16, maxLength: 16 }), { maxLength: 20 }),
        (name, key, samples) => {
          const usable = key.subarray(0, node.AEAD_KEY_BYTES[name]);
          const all = concatBytes(...samples);
          const blocks = [node, browser].map((impl) =>
            impl.createHeaderKey(name, usable).masks(all, samples.length).slice(0, all.length),
          );
          expect(toHex(blocks[0]!)).toBe(toHex(blocks[1]!));
          const alone = node.createHeaderKey(name, usable);
          samples.forEach((sample, i) =>
            expect(toHex(alone.masks(sample, 1).subarray(0, 16))).toBe(
              toHex(blocks[0]!.subarray(16 * i, 16 * i + 16)),
            ),
          );
        },
      ),
      { numRuns: 50 },
    );
  });
});
