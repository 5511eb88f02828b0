import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concatBytes, fromHex, toHex } from '../../../src/base/bytes.ts';
import * as browser from '../../../src/crypto/aead.browser.ts';
import * as node from '../../../src/crypto/aead.ts';
import { ChaChaHeaderKey } from '../../../src/crypto/chacha-mask.ts';
import { chachaModuleBytes } from '../../../src/crypto/chacha-wasm.ts';
import { WasmAead, WasmHeaderKey, hasWasmChaCha } from '../../../src/crypto/wasm-aead.ts';
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

type Ciphers = Pick<typeof node, 'createAead' | 'createHeaderKey' | 'AEAD_KEY_BYTES'>;
const implementations: readonly (readonly [string, Ciphers])[] = [
  ['node', node],
  ['browser', browser],
  ['node without WebAssembly', { ...node, createAead: node.createPlainAead }],
  ['browser without WebAssembly', { ...browser, createAead: browser.createPlainAead }],
];

describe.each(implementations)('%s packet ciphers', (_, impl) => {
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
          const packet = { ...j, bytes: j.bytes.slice(), payloadEnd: j.payloadEnd + 16 };
          const opened = impl.createAead(name, usable).open(packet);
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

describe('ChaCha20-Poly1305 on WebAssembly', () => {
  test('runs here, and compiles synchronously on the main thread of every browser', () => {
    expect(hasWasmChaCha()).toBe(true);
    expect(WebAssembly.validate(chachaModuleBytes())).toBe(true);
    expect(chachaModuleBytes().length).toBeLessThanOrEqual(4_096);
  });

  test('seals the packet of RFC 8439 §2.8.2', () => {
    const plaintext = new TextEncoder().encode(
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    );
    const key = Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i);
    const j = job(fromHex('50515253c0c1c2c3c4c5c6c7'), plaintext, fromHex('070000004041424344454647'));
    new WasmAead(key).seal(j);
    expect(toHex(sealed(j).subarray(0, 16))).toBe('d31a8d34648e60db7b86afbc53ef7ec2');
    expect(toHex(sealed(j).subarray(-16))).toBe('1ae10b594f09e26a7e902ecbd0600691');
  });

  test('equals node:crypto and noble on every length, with keys in turn', () => {
    const pattern = (length: number, seed: number): Uint8Array =>
      Uint8Array.from({ length }, (_, i) => Math.imul(i + 1, seed * 2_654_435_761 + 40_503) >>> 13);
    const keys = [1, 2, 3].map((seed) => pattern(32, seed));
    const wasm = keys.map((key) => new WasmAead(key));
    for (let length = 0; length < 2_000; length++) {
      const at = length % 3;
      const header = pattern(length % 67, length + 5);
      const nonce = pattern(12, length + 7);
      const payload = pattern(length, length + 11);
      const jobs = [
        wasm[at]!,
        node.createPlainAead('chacha20-poly1305', keys[at]!),
        ...(length % 8 === 0 ? [browser.createPlainAead('chacha20-poly1305', keys[at]!)] : []),
      ].map((aead) => {
        const j = job(header, payload, nonce);
        aead.seal(j);
        return j;
      });
      for (const other of jobs.slice(1)) {
        expect(Buffer.compare(jobs[0]!.bytes, other.bytes) === 0 ? 'equal' : length).toBe('equal');
      }
      const packet = jobs[0]!;
      packet.payloadEnd += 16;
      const opened = wasm[at]!.open(packet);
      expect(opened !== undefined && Buffer.compare(opened, payload) === 0 ? 'opened' : length).toBe(
        'opened',
      );
    }
  });

  test('refuses each flipped bit of header, payload, tag and nonce, and leaves the packet alone', () => {
    const aead = new WasmAead(new Uint8Array(32).fill(9));
    const j = job(new Uint8Array(11).fill(1), new Uint8Array(37).fill(2), new Uint8Array(12).fill(3));
    aead.seal(j);
    j.payloadEnd += 16;
    const flip = (bytes: Uint8Array, bit: number): void => {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    };
    for (let bit = 8 * j.headerStart; bit < 8 * j.payloadEnd; bit++) {
      flip(j.bytes, bit);
      const before = toHex(j.bytes);
      expect(aead.open(j)).toBeUndefined();
      expect(toHex(j.bytes)).toBe(before);
      flip(j.bytes, bit);
    }
    for (let bit = 0; bit < 96; bit++) {
      flip(j.nonce, bit);
      expect(aead.open(j)).toBeUndefined();
      flip(j.nonce, bit);
    }
    expect(aead.open(j)).toEqual(new Uint8Array(37).fill(2));
  });

  test('takes what fits into a datagram and no more', () => {
    const aead = new WasmAead(new Uint8Array(32).fill(4));
    const nonce = new Uint8Array(12);
    const whole = job(new Uint8Array(60_000).fill(5), new Uint8Array(0xffff - 16).fill(6), nonce);
    aead.seal(whole);
    whole.payloadEnd += 16;
    const packet = { ...whole, bytes: whole.bytes.slice() };
    expect(aead.open(packet)).toEqual(new Uint8Array(0xffff - 16).fill(6));
    const plain = node.createPlainAead('chacha20-poly1305', new Uint8Array(32).fill(4));
    expect(plain.open(whole)).toEqual(new Uint8Array(0xffff - 16).fill(6));
    const large = job(new Uint8Array(1), new Uint8Array(0x1_0000), nonce);
    expect(() => aead.seal(large)).toThrow(RangeError);
    expect(aead.open(large)).toBeUndefined();
  });

  test('masks any number of samples as the plain block function does', () => {
    const key = new Uint8Array(32).fill(8);
    const samples = Uint8Array.from({ length: 16 * 300 }, (_, i) => (i * 73) >>> 2);
    for (const count of [0, 1, 2, 255, 256, 257, 300]) {
      const plain = new ChaChaHeaderKey(key).masks(samples, count).slice(0, 16 * count);
      expect(toHex(new WasmHeaderKey(key).masks(samples, count).slice(0, 16 * count))).toBe(toHex(plain));
    }
  });
});
