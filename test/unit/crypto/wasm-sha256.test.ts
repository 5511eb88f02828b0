import { describe, expect, test } from '@jest/globals';
import { createHash, createHmac } from 'node:crypto';
import { toHex, utf8 } from '../../../src/base/bytes.ts';
import {
  CONSTANTS_AT,
  INITIAL_STATE,
  KEY_AT,
  PAD_AT,
  ROUND_CONSTANTS,
  sha256ModuleBytes,
} from '../../../src/crypto/sha256-wasm.ts';
import { WasmSha256, hasWasmSha256, wasmHmacSha256, wasmSha256 } from '../../../src/crypto/wasm-sha256.ts';

/** Bytes that differ from index to index. */
const bytes = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 167 + (i >>> 8) * 59 + length) & 0xff);
const expected = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

const hmacOf = (key: Uint8Array, data: Uint8Array): string =>
  createHmac('sha256', key).update(data).digest('hex');

/** An instance of its own. */
function startModule() {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(sha256ModuleBytes()));
  const memory = new Uint8Array((instance.exports['memory'] as WebAssembly.Memory).buffer);
  new Int32Array(memory.buffer, CONSTANTS_AT).set(ROUND_CONSTANTS);
  return { instance, memory };
}

describe('SHA-256 on WebAssembly', () => {
  test('knows the key of zeros before it has seen another', () => {
    expect(toHex(wasmHmacSha256(new Uint8Array(32), utf8('first')))).toBe(
      hmacOf(new Uint8Array(32), utf8('first')),
    );
  });

  test('runs here, and is small enough to be compiled synchronously in browsers', () => {
    expect(hasWasmSha256()).toBe(true);
    expect(sha256ModuleBytes().length).toBeLessThan(4_096);
  });

  test('computes the constants that FIPS 180-4 §4.2.2 and §5.3.3 list', () => {
    expect(ROUND_CONSTANTS.slice(0, 2).map((word) => word >>> 0)).toEqual([0x428a2f98, 0x71374491]);
    expect(ROUND_CONSTANTS.at(-1)! >>> 0).toBe(0xc67178f2);
    expect(INITIAL_STATE.map((word) => word >>> 0)).toEqual([
      0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    ]);
  });

  test('hashes every length up to some blocks, and more than its memory holds', () => {
    for (let length = 0; length <= 260; length++)
      expect([length, toHex(wasmSha256(bytes(length)))]).toEqual([length, expected(bytes(length))]);
    for (const length of [32_704, 32_705, 32_768, 100_000])
      expect([length, toHex(wasmSha256(bytes(length)))]).toEqual([length, expected(bytes(length))]);
  });

  test('takes data in any parts, and two hashes at a time', () => {
    for (let split = 0; split <= 200; split += 7) {
      const a = new WasmSha256();
      const b = new WasmSha256();
      const data = bytes(200);
      a.update(data.subarray(0, split));
      b.update(data.subarray(split));
      expect(toHex(a.digest())).toBe(expected(data.subarray(0, split)));
      a.update(data.subarray(split));
      expect(toHex(a.digest())).toBe(expected(data));
      expect(toHex(b.digest())).toBe(expected(data.subarray(split)));
    }
  });

  test('authenticates with keys of every length, a short one after a long one too', () => {
    for (const keyLength of [64, 0, 32, 1, 65, 20, 63, 200, 16])
      for (let length = 0; length <= 140; length += 5) {
        const key = bytes(keyLength);
        const data = bytes(length);
        expect([keyLength, length, toHex(wasmHmacSha256(key, data))]).toEqual([
          keyLength,
          length,
          hmacOf(key, data),
        ]);
      }
    const long = bytes(32_768);
    expect(toHex(wasmHmacSha256(utf8('key'), long))).toBe(hmacOf(utf8('key'), long));
    expect(() => wasmHmacSha256(utf8('key'), bytes(32_769))).toThrow(RangeError);
  });

  test('runs the blocks of a key once while it is used', () => {
    const { instance, memory } = startModule();
    const hmac = instance.exports['hmac'] as (length: number) => void;
    (instance.exports['useKey'] as () => void)();
    const padOf = (): Uint8Array => memory.subarray(PAD_AT, PAD_AT + 64);
    const isHashed = (): boolean => {
      padOf().fill(0x55);
      hmac(0);
      return padOf().some((byte) => byte !== 0x55);
    };
    const seen = [isHashed()];
    memory[KEY_AT + 63] = 1;
    seen.push(isHashed(), isHashed());
    memory[KEY_AT + 63] = 0;
    seen.push(isHashed());
    expect(seen).toEqual([false, true, false, true]);
  });

  test('sees that a key changed in place, in any of its bytes, and hashes between two uses of one', () => {
    const key = bytes(64);
    for (let at = 0; at < key.length; at++) {
      key[at]! ^= 1;
      expect([at, toHex(wasmHmacSha256(key, utf8('data')))]).toEqual([at, hmacOf(key, utf8('data'))]);
      wasmSha256(bytes(at * 5));
      expect([at, toHex(wasmHmacSha256(key, utf8('more')))]).toEqual([at, hmacOf(key, utf8('more'))]);
    }
  });
});
