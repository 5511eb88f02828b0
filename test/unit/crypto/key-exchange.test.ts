import { describe, expect, test } from '@jest/globals';
import { fromHex, toHex } from '../../../src/base/bytes.ts';
import * as browser from '../../../src/crypto/key-exchange.browser.ts';
import * as node from '../../../src/crypto/key-exchange.ts';
import { systemRng } from '../../../src/crypto/random.ts';
import { loadVectors } from '../../support/vectors.ts';

interface X25519Vector {
  id: number;
  flags: string[];
  publicKey: string;
  secret: string;
  shared: string;
}

describe.each([
  ['node', node],
  ['browser', browser],
])('%s X25519', (_, impl) => {
  test('agrees with RFC 7748 §6.1', () => {
    const alice = impl.x25519FromSecret(
      fromHex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a'),
    );
    const bob = impl.x25519FromSecret(
      fromHex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb'),
    );
    expect(toHex(alice.publicKey)).toBe('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a');
    expect(toHex(bob.publicKey)).toBe('de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f');
    const shared = '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742';
    expect(toHex(alice.sharedSecret(bob.publicKey)!)).toBe(shared);
    expect(toHex(bob.sharedSecret(alice.publicKey)!)).toBe(shared);
  });

  test('agrees with Wycheproof; all-zero secrets are refused', () => {
    for (const v of loadVectors<X25519Vector[]>('wycheproof-x25519')) {
      const shared = impl.x25519FromSecret(fromHex(v.secret)).sharedSecret(fromHex(v.publicKey));
      expect({ id: v.id, shared: shared && toHex(shared) }).toEqual({
        id: v.id,
        shared: v.flags.includes('ZeroSharedSecret') ? undefined : v.shared,
      });
    }
  });

  test('refuses keys of another length', () => {
    const pair = impl.generateX25519(systemRng);
    for (const length of [0, 31, 33]) {
      expect(pair.sharedSecret(new Uint8Array(length))).toBeUndefined();
      expect(() => impl.x25519FromSecret(new Uint8Array(length))).toThrow(RangeError);
    }
  });

  test('takes its secret from the given randomness', () => {
    const fixed = { fill: (target: Uint8Array) => target.fill(5) };
    const secret = new Uint8Array(32).fill(5);
    expect(impl.generateX25519(fixed).publicKey).toEqual(impl.x25519FromSecret(secret).publicKey);
  });
});

test('the twins agree on a secret', () => {
  const a = node.generateX25519(systemRng);
  const b = browser.generateX25519(systemRng);
  expect(a.sharedSecret(b.publicKey)).toEqual(b.sharedSecret(a.publicKey));
  expect(Object.getPrototypeOf(a.sharedSecret(b.publicKey))).toBe(Uint8Array.prototype);
});
