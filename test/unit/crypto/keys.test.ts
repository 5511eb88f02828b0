import { expect, test } from '@jest/globals';
import { inspect } from 'node:util';
import { fromHex, toHex, utf8 } from '../../../src/base/bytes.ts';
import { ParseError } from '../../../src/base/parse-error.ts';
import { EndpointId, SecretKey, Signature } from '../../../src/crypto/keys.ts';

const SECRET_HEX = '2a'.repeat(32);
const PUBLIC_HEX = '197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61';
const HELLO_SIGNATURE =
  '8443bb10077574ee765d8b6585cb590b3a6f8951336d37018c5646b5618df50207bc2b458ddcfaee14ca46f89bb581c4b8951202f6a0a8442018dd5882af6306';

test('a secret key has the id and the signatures that iroh gives it', () => {
  const key = SecretKey.parse(SECRET_HEX);
  expect(key.publicKey.toString()).toBe(PUBLIC_HEX);
  expect(key.publicKey).toBe(key.publicKey);
  const signature = key.sign(utf8('hello'));
  expect(signature.toString()).toBe(HELLO_SIGNATURE);
  expect(signature.verify(key.publicKey, utf8('hello'))).toBe(true);
  expect(signature.verify(key.publicKey, utf8('hellO'))).toBe(false);
  expect(signature.verify(SecretKey.generate().publicKey, utf8('hello'))).toBe(false);
});

test('a secret key shows itself in toBytes only', () => {
  const key = SecretKey.fromBytes(fromHex(SECRET_HEX));
  for (const text of [
    `${key}`,
    JSON.stringify({ key }),
    inspect(key),
    inspect({ key }, { showHidden: true, depth: 9 }),
  ])
    expect(text.toLowerCase()).not.toMatch(/2a2a|42, ?42/);
  expect(`${key}`).toBe('SecretKey(..)');
  expect(toHex(key.toBytes())).toBe(SECRET_HEX);
  key.toBytes()[0] = 0;
  expect(toHex(key.toBytes())).toBe(SECRET_HEX);
});

test('errors about secret keys do not repeat them', () => {
  for (const text of [SECRET_HEX.toUpperCase(), `${SECRET_HEX}00`, `${'2a'.repeat(25)}!!`]) {
    try {
      SecretKey.parse(text);
      throw new Error('parsed');
    } catch (error) {
      expect(error).toBeInstanceOf(ParseError);
      expect(inspect(error, { depth: 9 })).not.toMatch(/2a2a/i);
      expect((error as ParseError).code).toMatch(/^ParseError\.SecretKey\./);
    }
  }
  expect(() => SecretKey.fromBytes(new Uint8Array(31))).toThrow(ParseError);
});

test('a secret key parses from base32 too, and compares', () => {
  expect(() => SecretKey.parse(`${'fivcukrk'.repeat(6)}fivb`)).toThrow(ParseError); // trailing bits
  const key = SecretKey.parse(`${'fivcukrk'.repeat(6)}fiva`);
  expect(key.equals(SecretKey.parse(SECRET_HEX))).toBe(true);
  expect(key.equals(SecretKey.generate())).toBe(false);
});

test('generated keys differ, unless the randomness is the same', () => {
  expect(SecretKey.generate().equals(SecretKey.generate())).toBe(false);
  const fixed = { fill: (target: Uint8Array) => target.fill(0x2a) };
  expect(toHex(SecretKey.generate(fixed).toBytes())).toBe(SECRET_HEX);
});

test('a signature is a value', () => {
  const signature = Signature.parse(HELLO_SIGNATURE);
  expect(signature.equals(Signature.parse(HELLO_SIGNATURE.toUpperCase()))).toBe(true);
  expect(JSON.stringify(signature)).toBe(JSON.stringify([...fromHex(HELLO_SIGNATURE)]));
  signature.toBytes()[0] = 0;
  expect(signature.toString()).toBe(HELLO_SIGNATURE);
  expect(signature.equals(Signature.fromBytes(new Uint8Array(64)))).toBe(false);
  for (const bad of ['', 'zz', HELLO_SIGNATURE.slice(2)])
    expect(() => Signature.parse(bad)).toThrow(ParseError);
});

test('nobody can sign as a small-order id, though it is an id', () => {
  const weak = EndpointId.parse(`01${'00'.repeat(31)}`);
  const forged = new Uint8Array(64);
  forged[0] = 1; // R = identity, s = 0: verifies under the identity for every message if nobody looks
  expect(Signature.fromBytes(forged).verify(weak, utf8('anything'))).toBe(false);
});
