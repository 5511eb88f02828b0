import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concatBytes, fromHex, toHex } from '../../../src/base/bytes.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';
import {
  ClientHandshake,
  ServerHandshake,
  encodeChallenge,
  encodeConfirmation,
  encodeDenial,
  keyMaterialHeader,
  relayIdentity,
  verifyKeyMaterialHeader,
} from '../../../src/relay/handshake.ts';
import { RelayProtocolError, type RelayFault } from '../../../src/relay/protocol-error.ts';
import { SimRng } from '../../support/sim-rng.ts';

const identity = relayIdentity(SecretKey.fromBytes(new Uint8Array(32).fill(0x2a)));

// What the native client answered to this challenge, byte for byte.
const CHALLENGE = '000102030405060708090a0b0c0d0e0f';
const CLIENT_AUTH =
  '01197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d6140' +
  'a28b5ebc6a930b5d80ad5aca2a8e48ad4a064e699c0866674c8b8e61a5f4ea940ee8b9f06732930250ac0735555abe77e8df740165edc3163be432f0e4f3cf0f';

// From OpenSSL's exporter (TLS 1.3, SHA-384), checked against a derivation by hand.
const EXPORTED = 'e735e82d5b6207feb1c11b738c69cc28d1bab98c0dca0f39cba20780c9b20d4a';
const HEADER =
  'GX9rI-FshTLGq8g4-s1ep4m-DHaykgM0A5v6iz02jWFAIg-TJSg7m9GPgDr9nTa_GzkMeSP57Dfj1FpAkP5IIuF8QAXzrr_UB5M7Anm8XzPW-LIIqBiJhBifbZ5D3EjQDdG6uYwNyg85y6IHgMmyDUo';

/** A server whose challenge is the given one. */
function serverWith(challenge: string): ServerHandshake {
  return new ServerHandshake({
    fill: (target) => {
      target.set(fromHex(challenge));
      return target;
    },
  });
}

function faultOf(work: () => unknown): RelayFault {
  try {
    work();
  } catch (error) {
    if (error instanceof RelayProtocolError) return error.fault;
    throw error;
  }
  throw new Error('expected a fault');
}

describe('challenge', () => {
  test('published bytes, both sides', () => {
    const step = new ClientHandshake(identity).handleMessage(fromHex(`00${CHALLENGE}`));
    expect(step.type === 'reply' && toHex(step.message)).toBe(CLIENT_AUTH);
    const server = serverWith(CHALLENGE);
    expect(toHex(server.start())).toBe(`00${CHALLENGE}`);
    expect(server.handleMessage(fromHex(CLIENT_AUTH))).toEqual({ type: 'proven', id: identity.publicKey });
  });

  test('an answer to another challenge, of another key, with a changed byte: refused', () => {
    const replayed = serverWith('ff0102030405060708090a0b0c0d0e0f');
    expect(replayed.handleMessage(fromHex(CLIENT_AUTH))).toEqual({
      type: 'refused',
      reason: 'signature invalid',
    });
    fc.assert(
      fc.property(fc.nat(97), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = fromHex(CLIENT_AUTH);
        changed[at]! ^= flip;
        let outcome: string;
        try {
          outcome = serverWith(CHALLENGE).handleMessage(changed).type;
        } catch (error) {
          expect(error).toBeInstanceOf(RelayProtocolError);
          outcome = 'fault';
        }
        expect(outcome).not.toBe('proven');
      }),
    );
  });

  test('a small-order key proves nothing', () => {
    // The identity point signs any message with R = identity, s = 0 where a verifier is not strict.
    const identityPoint = `01${'00'.repeat(31)}`;
    const message = fromHex(`01${identityPoint}40${identityPoint}${'00'.repeat(32)}`);
    expect(serverWith(CHALLENGE).handleMessage(message).type).toBe('refused');
  });

  test('only one answer, and nothing before it', () => {
    const server = serverWith(CHALLENGE);
    expect(faultOf(() => server.handleMessage(fromHex('090000000000000000')))).toBe('unexpectedFrame');
    expect(server.handleMessage(fromHex(CLIENT_AUTH)).type).toBe('proven');
    expect(faultOf(() => server.handleMessage(fromHex(CLIENT_AUTH)))).toBe('unexpectedFrame');
    expect(faultOf(() => serverWith(CHALLENGE).handleMessage(fromHex(CLIENT_AUTH).subarray(0, 97)))).toBe(
      'malformed',
    );
  });

  test('the client: confirmed, denied, or a fault', () => {
    expect(new ClientHandshake(identity).handleMessage(encodeConfirmation())).toEqual({ type: 'confirmed' });
    const client = new ClientHandshake(identity);
    const challenge = encodeChallenge(new Uint8Array(16));
    expect(client.handleMessage(challenge).type).toBe('reply');
    expect(client.handleMessage(encodeDenial('not authorized'))).toEqual({
      type: 'denied',
      reason: 'not authorized',
    });
    expect(faultOf(() => client.handleMessage(challenge))).toBe('unexpectedFrame');
    const fresh = (): ClientHandshake => new ClientHandshake(identity);
    expect(faultOf(() => fresh().handleMessage(fromHex('0001')))).toBe('truncated');
    expect(faultOf(() => fresh().handleMessage(fromHex('03ff')))).toBe('malformed');
    expect(faultOf(() => fresh().handleMessage(fromHex('0302c328')))).toBe('malformed');
    expect(faultOf(() => fresh().handleMessage(fromHex('0d00')))).toBe('unexpectedFrame');
    expect(faultOf(() => fresh().handleMessage(fromHex('01')))).toBe('unexpectedFrame');
  });

  test('any key: what the client says, the server believes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.nat(), (seed, random) => {
        const key = relayIdentity(SecretKey.fromBytes(seed));
        const server = new ServerHandshake(new SimRng(random));
        const step = new ClientHandshake(key).handleMessage(server.start());
        if (step.type !== 'reply') throw new Error('no reply');
        expect(server.handleMessage(step.message)).toEqual({ type: 'proven', id: key.publicKey });
      }),
      { numRuns: 20 },
    );
  });
});

describe('key material of the TLS connection', () => {
  const exporter = (length: number, label: string, context: Uint8Array): Uint8Array => {
    expect([length, label]).toEqual([32, 'iroh-relay handshake v1']);
    expect(context).toEqual(identity.publicKey);
    return fromHex(EXPORTED);
  };

  test('published bytes, both sides', () => {
    expect(keyMaterialHeader(identity, exporter)).toBe(HEADER);
    expect(verifyKeyMaterialHeader(HEADER, exporter)).toEqual({ type: 'proven', id: identity.publicKey });
  });

  test('another connection, a changed signature, no TLS: a challenge', () => {
    const other = (): Uint8Array => fromHex(EXPORTED).reverse();
    expect(verifyKeyMaterialHeader(HEADER, other)).toEqual({ type: 'challenge' });
    expect(verifyKeyMaterialHeader(HEADER, undefined)).toEqual({ type: 'challenge' });
    const suffixOnly = (): Uint8Array => concatBytes(new Uint8Array(16), fromHex(EXPORTED).subarray(16));
    expect(verifyKeyMaterialHeader(HEADER, suffixOnly)).toEqual({ type: 'challenge' });
  });

  test.each(['', '?', HEADER.slice(0, -8), `${HEADER}=`, 'A'.repeat(151), 'A'.repeat(70_000)])(
    'no header at all: %#',
    (text) =>
      expect(faultOf(() => verifyKeyMaterialHeader(text, () => new Uint8Array(32)))).toBe('malformed'),
  );
});
