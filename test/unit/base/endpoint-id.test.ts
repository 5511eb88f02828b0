import { expect, test } from '@jest/globals';
import { ed25519 } from '@noble/curves/ed25519.js';
import fc from 'fast-check';
import { inspect } from 'node:util';
import { fromHex, toHex } from '../../../src/base/bytes.ts';
import { isEdwardsPoint } from '../../../src/base/edwards-point.ts';
import { EndpointId, PublicKey } from '../../../src/base/endpoint-id.ts';
import { ParseError } from '../../../src/base/parse-error.ts';

// the public key of 32 × 2a, as iroh 1.0.2 prints it
const HEX = '197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61';
const BASE32 = 'df7wwi7bnsctfrvlza4pvtk6u6e34ddwwkjagnadtp5iwpjwrvqq';
const Z32 = 'df9sse9bp1nuftim3yhxiuk6w6r5hddsskjygpydux7esxjstioo';

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof ParseError) return error.code;
    throw error;
  }
  return 'no error';
}

test('has the text forms of iroh', () => {
  const id = EndpointId.parse(HEX);
  expect(toHex(id.toBytes())).toBe(HEX);
  expect(`${id}`).toBe(HEX);
  expect(id.short()).toBe('197f6b23e1');
  expect(id.toZ32()).toBe(Z32);
  expect(JSON.stringify({ id })).toBe(`{"id":"${HEX}"}`);
  expect(inspect(id)).toBe(`EndpointId(${HEX})`);
  for (const same of [
    EndpointId.parse(BASE32),
    EndpointId.parse(BASE32.toUpperCase()),
    EndpointId.parse(BASE32.slice(0, 20).toUpperCase() + BASE32.slice(20)),
    EndpointId.fromZ32(Z32),
    EndpointId.fromBytes(fromHex(HEX)),
    EndpointId.fromVerified(fromHex(HEX)),
  ])
    expect(same.equals(id)).toBe(true);
  expect(PublicKey).toBe(EndpointId);
});

test('refuses what iroh refuses', () => {
  expect(codeOf(() => EndpointId.parse(HEX.toUpperCase()))).toBe('ParseError.EndpointId.Encoding');
  expect(codeOf(() => EndpointId.parse(`0x${HEX}`))).toBe('ParseError.EndpointId.Length');
  expect(codeOf(() => EndpointId.parse(` ${HEX}`))).toBe('ParseError.EndpointId.Length');
  expect(codeOf(() => EndpointId.parse(`${BASE32}====`))).toBe('ParseError.EndpointId.Length');
  expect(codeOf(() => EndpointId.parse(HEX.slice(2)))).toBe('ParseError.EndpointId.Length');
  expect(codeOf(() => EndpointId.parse(''))).toBe('ParseError.EndpointId.Length');
  expect(codeOf(() => EndpointId.parse(Z32))).toBe('ParseError.EndpointId.Encoding');
  expect(codeOf(() => EndpointId.parse(`${BASE32.slice(0, -1)}r`))).toBe('ParseError.EndpointId.Encoding');
  expect(codeOf(() => EndpointId.fromZ32(BASE32))).toBe('ParseError.EndpointId.Encoding');
  expect(codeOf(() => EndpointId.fromZ32(Z32.toUpperCase()))).toBe('ParseError.EndpointId.Encoding');
  expect(codeOf(() => EndpointId.fromZ32(HEX))).toBe('ParseError.EndpointId.Length');
  expect(codeOf(() => EndpointId.fromBytes(new Uint8Array(31)))).toBe('ParseError.EndpointId.Length');
  expect(codeOf(() => EndpointId.fromVerified(new Uint8Array(33)))).toBe('ParseError.EndpointId.Length');
  const two = new Uint8Array(32);
  two[0] = 2;
  expect(codeOf(() => EndpointId.fromBytes(two))).toBe('ParseError.EndpointId.NotAPoint');
});

test('takes the odd keys that iroh takes, and keeps their bytes', () => {
  const ff = 'ff'.repeat(31);
  for (const odd of [
    '00'.repeat(32),
    `01${'00'.repeat(31)}`, // identity
    `01${'00'.repeat(30)}80`, // identity with x = −0
    `ff${ff}`,
    `ed${'ff'.repeat(30)}7f`, // y = p
    `ee${'ff'.repeat(30)}7f`, // y = p + 1
  ])
    expect(EndpointId.parse(odd).toString()).toBe(odd);
});

test('the check for a point agrees with noble', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
      let expected = true;
      try {
        ed25519.Point.fromBytes(bytes, true);
      } catch {
        expected = false;
      }
      expect(isEdwardsPoint(bytes)).toBe(expected);
    }),
    { numRuns: 100 },
  );
  expect(isEdwardsPoint(new Uint8Array(31))).toBe(false);
});

test('is a value: copies in, copies out, ordered by bytes', () => {
  const bytes = fromHex(HEX);
  const id = EndpointId.fromBytes(bytes);
  const fromBuffer = EndpointId.fromBytes(Buffer.from(HEX, 'hex'));
  bytes[0] = 0;
  id.toBytes()[0] = 0;
  expect(id.toString()).toBe(HEX);
  expect(id.equals(fromBuffer)).toBe(true);
  expect(Object.getPrototypeOf(fromBuffer.toBytes())).toBe(Uint8Array.prototype);

  const anyId = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((b) => EndpointId.fromVerified(b));
  fc.assert(
    fc.property(anyId, anyId, (a, b) => {
      expect(Math.sign(a.compare(b))).toBe(
        a.toString() < b.toString() ? -1 : a.toString() > b.toString() ? 1 : 0,
      );
      expect(a.equals(b)).toBe(a.compare(b) === 0);
      expect(a.compare(a)).toBe(0);
    }),
  );
});

test('an error says its code in JSON and nothing of a secret', () => {
  const error = new ParseError('ParseError.RelayUrl', 'm', new Error('cause'));
  expect(JSON.parse(JSON.stringify(error))).toEqual({
    name: 'ParseError',
    code: 'ParseError.RelayUrl',
    message: 'm',
  });
  expect((error.cause as Error).message).toBe('cause');
});
