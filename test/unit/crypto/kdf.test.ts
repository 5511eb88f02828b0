import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { EMPTY, fromHex, toHex, utf8 } from '../../../src/base/bytes.ts';
import * as browser from '../../../src/crypto/kdf.browser.ts';
import * as node from '../../../src/crypto/kdf.ts';

describe.each([
  ['node', node],
  ['browser', browser],
])('%s key derivation', (_, impl) => {
  test('hashes "abc" as FIPS 180-2 shows', () => {
    expect(toHex(impl.hash('sha256', utf8('abc')))).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    );
    expect(toHex(impl.hash('sha384', utf8('abc')))).toBe(
      'cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7',
    );
    expect(impl.hashLength('sha256')).toBe(32);
    expect(impl.hashLength('sha384')).toBe(48);
  });

  test('authenticates as RFC 4231 test case 2 shows', () => {
    const key = utf8('Jefe');
    const data = utf8('what do ya want for nothing?');
    expect(toHex(impl.hmac('sha256', key, data))).toBe(
      '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    );
    expect(toHex(impl.hmac('sha384', key, data))).toBe(
      'af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649',
    );
  });

  test('extracts as RFC 5869 §A.1 and §A.3 show', () => {
    const ikm = new Uint8Array(22).fill(0x0b);
    expect(toHex(impl.hkdfExtract('sha256', fromHex('000102030405060708090a0b0c'), ikm))).toBe(
      '077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5',
    );
    expect(toHex(impl.hkdfExtract('sha256', EMPTY, ikm))).toBe(
      '19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04',
    );
  });

  test('derives the Initial secrets of RFC 9001 §A.1 and the ChaCha20 keys of §A.5', () => {
    const expand = (secret: Uint8Array, label: string, length: number): string =>
      toHex(impl.hkdfExpandLabel('sha256', secret, label, EMPTY, length));
    const salt = fromHex('38762cf7f55934b34d179ae6a4c80cadccbb7f0a');
    const initial = impl.hkdfExtract('sha256', salt, fromHex('8394c8f03e515708'));
    expect(toHex(initial)).toBe('7db5df06e7a69e432496adedb00851923595221596ae2ae9fb8115c1e9ed0a44');
    expect(expand(initial, 'client in', 32)).toBe(
      'c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea',
    );
    expect(expand(initial, 'server in', 32)).toBe(
      '3c199828fd139efd216c155ad844cc81fb82fa8d7446fa7d78be803acdda951b',
    );
    const secret = fromHex('9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b');
    expect(expand(secret, 'quic key', 32)).toBe(
      'c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8',
    );
    expect(expand(secret, 'quic iv', 12)).toBe('e0459b3474bdd0e44a41c144');
    expect(expand(secret, 'quic hp', 32)).toBe(
      '25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4',
    );
    expect(expand(secret, 'quic ku', 32)).toBe(
      '1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9',
    );
  });

  test('reads a running hash without ending it', () => {
    const running = impl.createHash('sha384');
    running.update(utf8('ab'));
    expect(running.digest()).toEqual(impl.hash('sha384', utf8('ab')));
    running.update(utf8('c'));
    expect(running.digest()).toEqual(impl.hash('sha384', utf8('abc')));
    expect(running.digest()).toEqual(running.digest());
  });

  test('refuses what RFC 8446 §7.1 cannot express', () => {
    const secret = new Uint8Array(32);
    expect(() => impl.hkdfExpandLabel('sha256', secret, 'x', EMPTY, 255 * 32 + 1)).toThrow(RangeError);
    expect(() => impl.hkdfExpandLabel('sha256', secret, 'x', EMPTY, -1)).toThrow(RangeError);
    expect(() => impl.hkdfExpandLabel('sha256', secret, 'x'.repeat(250), EMPTY, 32)).toThrow(RangeError);
    expect(() => impl.hkdfExpandLabel('sha256', secret, 'x', new Uint8Array(256), 32)).toThrow(RangeError);
    expect(impl.hkdfExpandLabel('sha256', secret, 'x'.repeat(249), new Uint8Array(255), 0)).toEqual(EMPTY);
  });

  test('returns plain arrays', () => {
    for (const bytes of [
      impl.hash('sha256', EMPTY),
      impl.hmac('sha256', EMPTY, EMPTY),
      impl.createHash('sha256').digest(),
      impl.hkdfExpandLabel('sha256', EMPTY, 'x', EMPTY, 16),
    ])
      expect(Object.getPrototypeOf(bytes)).toBe(Uint8Array.prototype);
  });
});

test('both twins give equal bytes, at lengths over several blocks too', () => {
  const name = fc.constantFrom('sha256' as const, 'sha384' as const);
  fc.assert(
    fc.property(
      name,
      fc.uint8Array({ maxLength: 200 }),
      fc.uint8Array({ maxLength: 255 }),
      fc.string({ maxLength: 40 }),
      fc.nat(400),
      (hash, secret, context, label, length) => {
        const a = node.hkdfExpandLabel(hash, secret, label, context, length);
        const b = browser.hkdfExpandLabel(hash, secret, label, context, length);
        expect(a).toEqual(b);
        expect(a.length).toBe(length);
        expect(node.hkdfExtract(hash, context, secret)).toEqual(browser.hkdfExtract(hash, context, secret));
        expect(node.hash(hash, secret)).toEqual(browser.hash(hash, secret));
      },
    ),
    { numRuns: 100 },
  );
});

test('HKDF-Expand-Label without a label prefix is plain HKDF-Expand over the HkdfLabel structure (RFC 5869 §2.3)', () => {
  // An independent reading: T(i) from its definition.
  const secret = new Uint8Array(32).fill(7);
  const info = [0, 100, 9, ...utf8('tls13 abc'), 2, 0xaa, 0xbb];
  let t: Uint8Array = EMPTY;
  const all: number[] = [];
  for (let i = 1; all.length < 100; i++) {
    t = node.hmac('sha256', secret, Uint8Array.from([...t, ...info, i]));
    all.push(...t);
  }
  expect([...node.hkdfExpandLabel('sha256', secret, 'abc', fromHex('aabb'), 100)]).toEqual(all.slice(0, 100));
});
