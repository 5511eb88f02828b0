import { describe, expect, test } from '@jest/globals';
import { ed25519 as curvesEd25519 } from '@noble/curves/ed25519.js';
import fc from 'fast-check';
import { fromHex, toHex, utf8 } from '../../../src/base/bytes.ts';
import * as browser from '../../../src/crypto/signature.browser.ts';
import * as node from '../../../src/crypto/signature.ts';
import { isStrictPoint, isStrictSignature } from '../../../src/crypto/strict-ed25519.ts';
import { loadVectors } from '../../support/vectors.ts';

interface SignatureVector {
  id: number;
  publicKey: string;
  message: string;
  signature: string;
  valid?: boolean;
}

// RFC 8032 §7.1 TEST 1 to 3
const RFC_8032 = [
  {
    seed: '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    publicKey: 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    message: '',
    signature:
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  },
  {
    seed: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    publicKey: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    message: '72',
    signature:
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  },
  {
    seed: 'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    publicKey: 'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    message: 'af82',
    signature:
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  },
];

/** The eight points of small order and every other spelling of them (RFC 8032 §5.1.3 forbids those with y ≥ p). */
const SMALL_ORDER_ENCODINGS = [
  '0100000000000000000000000000000000000000000000000000000000000000', // identity
  '0100000000000000000000000000000000000000000000000000000000000080', // identity, x = −0
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', // order 2
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', // order 2, x = −0
  '0000000000000000000000000000000000000000000000000000000000000000', // order 4
  '0000000000000000000000000000000000000000000000000000000000000080', // order 4
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a', // order 8
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa', // order 8
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05', // order 8
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85', // order 8
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', // y = p, order 4
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', // y = p, order 4
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', // y = p + 1, identity
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', // y = p + 1, identity, x = −0
];

/** noble curves behind the same strict gate, as a third opinion. */
const curves = {
  ed25519PublicKey: (seed: Uint8Array) => curvesEd25519.getPublicKey(seed),
  ed25519Sign: (seed: Uint8Array, message: Uint8Array) => curvesEd25519.sign(message, seed),
  ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    return (
      isStrictSignature(publicKey, signature) &&
      curvesEd25519.verify(signature, message, publicKey, { zip215: false })
    );
  },
};

describe.each([
  ['node', node, [3]],
  ['@noble/ed25519', browser, [3]],
  // 4 and 5 verify with the cofactor, which noble multiplies by and dalek and OpenSSL do not. That is why the browser
  // twin compares R itself.
  ['noble curves', curves, [3, 4, 5]],
])('Ed25519 on %s', (_, impl, speccheckAccepted) => {
  test('agrees with RFC 8032 §7.1', () => {
    for (const v of RFC_8032) {
      const message = fromHex(v.message);
      const publicKey = impl.ed25519PublicKey(fromHex(v.seed));
      expect(toHex(publicKey)).toBe(v.publicKey);
      expect(toHex(impl.ed25519Sign(fromHex(v.seed), message))).toBe(v.signature);
      expect(impl.ed25519Verify(publicKey, message, fromHex(v.signature))).toBe(true);
      expect(impl.ed25519Verify(publicKey, utf8('other'), fromHex(v.signature))).toBe(false);
    }
  });

  test('signs as iroh signs', () => {
    const seed = new Uint8Array(32).fill(0x2a);
    expect(toHex(impl.ed25519PublicKey(seed))).toBe(
      '197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61',
    );
    expect(toHex(impl.ed25519Sign(seed, utf8('hello')))).toBe(
      '8443bb10077574ee765d8b6585cb590b3a6f8951336d37018c5646b5618df50207bc2b458ddcfaee14ca46f89bb581c4b8951202f6a0a8442018dd5882af6306',
    );
  });

  test('agrees with Wycheproof', () => {
    const vectors = loadVectors<SignatureVector[]>('wycheproof-ed25519');
    const wrong = vectors.filter(
      (v) => impl.ed25519Verify(fromHex(v.publicKey), fromHex(v.message), fromHex(v.signature)) !== v.valid,
    );
    expect(wrong).toEqual([]);
  });

  test('accepts of the speccheck signatures what dalek verify_strict accepts', () => {
    const vectors = loadVectors<SignatureVector[]>('ed25519-speccheck');
    const accepted = vectors.filter((v) =>
      impl.ed25519Verify(fromHex(v.publicKey), fromHex(v.message), fromHex(v.signature)),
    );
    expect(accepted.map((v) => v.id)).toEqual(speccheckAccepted);
  });

  test('refuses small-order keys, for which anybody can sign', () => {
    // With A of small order and s = 0, R = −[k]A is one of eight points: some message verifies without any secret.
    for (const a of SMALL_ORDER_ENCODINGS)
      for (const r of SMALL_ORDER_ENCODINGS) {
        const signature = fromHex(r + '00'.repeat(32));
        expect(impl.ed25519Verify(fromHex(a), utf8('anything'), signature)).toBe(false);
      }
  });

  test('refuses s + L, a second spelling of the same signature', () => {
    const { publicKey, message, signature } = RFC_8032[1]!;
    const bytes = fromHex(signature);
    const order = fromHex('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010');
    let carry = 0;
    for (let i = 0; i < 32; i++) {
      carry += bytes[32 + i]! + order[i]!;
      bytes[32 + i] = carry;
      carry >>= 8;
    }
    expect(impl.ed25519Verify(fromHex(publicKey), fromHex(message), bytes)).toBe(false);
  });

  test('refuses keys without a point and wrong lengths', () => {
    const v = RFC_8032[0]!;
    const signature = fromHex(v.signature);
    const noPoint = new Uint8Array(32);
    noPoint[0] = 2; // y = 2 has no x
    expect(impl.ed25519Verify(noPoint, fromHex(v.message), signature)).toBe(false);
    const key = fromHex(v.publicKey);
    expect(impl.ed25519Verify(key.subarray(1), fromHex(v.message), signature)).toBe(false);
    expect(impl.ed25519Verify(key, fromHex(v.message), signature.subarray(1))).toBe(false);
    expect(impl.ed25519Verify(key, fromHex(v.message), Uint8Array.of(...signature, 0))).toBe(false);
  });
});

test('every spelling of a small-order point is refused, ordinary points are not', () => {
  for (const encoding of SMALL_ORDER_ENCODINGS) expect(isStrictPoint(fromHex(encoding))).toBe(false);
  for (const v of RFC_8032) expect(isStrictPoint(fromHex(v.publicKey))).toBe(true);
  // y = p + 3 to 2^255 − 1, not canonical
  for (let low = 0xed; low <= 0xff; low++) {
    const point = new Uint8Array(32).fill(0xff);
    point[0] = low;
    expect(isStrictPoint(point)).toBe(false);
    point[31] = 0x7f;
    expect(isStrictPoint(point)).toBe(false);
  }
});

test('a seed overwritten in place is imported anew', () => {
  const seed = new Uint8Array(32).fill(1);
  node.ed25519Sign(seed, utf8('warm'));
  seed.fill(2);
  expect(node.ed25519PublicKey(seed)).toEqual(browser.ed25519PublicKey(new Uint8Array(32).fill(2)));
  expect(() => node.ed25519Sign(seed.subarray(1), utf8('x'))).toThrow(RangeError);
  expect(() => browser.ed25519Sign(seed.subarray(1), utf8('x'))).toThrow(RangeError);
  expect(() => node.ed25519PublicKey(new Uint8Array(33))).toThrow(RangeError);
  expect(() => browser.ed25519PublicKey(new Uint8Array(33))).toThrow(RangeError);
});

test('the twins sign equally and agree on damaged signatures', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.uint8Array({ maxLength: 100 }),
      fc.nat(64 * 8 - 1),
      (seed, message, flip) => {
        const publicKey = node.ed25519PublicKey(seed);
        const signature = node.ed25519Sign(seed, message);
        expect(browser.ed25519Sign(seed, message)).toEqual(signature);
        expect(browser.ed25519Verify(publicKey, message, signature)).toBe(true);
        signature[flip >> 3]! ^= 1 << (flip & 7);
        expect(node.ed25519Verify(publicKey, message, signature)).toBe(false);
        expect(browser.ed25519Verify(publicKey, message, signature)).toBe(false);
      },
    ),
    { numRuns: 30 },
  );
});

test('verifying changes nothing of what it is given, Buffers included', () => {
  const [vector] = RFC_8032;
  const signature = Buffer.from(vector!.signature, 'hex');
  // R with the sign bit, which the check of its form looks behind.
  signature[31]! |= 0x80;
  const before = toHex(signature);
  for (const { ed25519Verify } of [node, browser]) {
    ed25519Verify(Buffer.from(vector!.publicKey, 'hex'), Buffer.alloc(0), signature);
    expect(toHex(signature)).toBe(before);
  }
});
