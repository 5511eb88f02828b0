/**
 * SHA-256 (FIPS 180-4 §6.2) and HMAC over it (RFC 2104) as a WebAssembly module, written with `wasm-assembler.ts`.
 *
 * Branches and addresses depend on lengths and on whether an HMAC has the key of the one before, never on what is hashed.
 *
 * @module
 */
import {
  I32,
  ModuleBuilder,
  doWhile,
  i32,
  v128,
  when,
  type Code,
  type FunctionBuilder,
  type Local,
} from './wasm-assembler.ts';

/** The constants of the rounds, 64 words; whoever makes the instance puts {@link ROUND_CONSTANTS} here. */
export const CONSTANTS_AT = 0;
/** The message schedule, 64 words. */
const SCHEDULE_AT = 256;
/** The chaining value, 8 words in the machine's byte order. */
export const STATE_AT = 512;
/** The key of an HMAC, with zeros up to 64 bytes. */
export const KEY_AT = 576;
/** A digest, 32 bytes. */
export const DIGEST_AT = 640;
/** Second message of an HMAC behind its key: the inner digest; padding follows. */
const OUTER_AT = 704;
/** The key of the HMAC before, as it was at {@link KEY_AT}. */
const USED_KEY_AT = 896;
/** The chaining values behind that key's block in the first and in the second message of an HMAC. */
const INNER_STATE_AT = 960;
const OUTER_STATE_AT = 992;
/** The block that a key makes, for as long as it is hashed. */
export const PAD_AT = 1_024;
/** What is hashed goes here. */
export const DATA_AT = 1_088;
/** Bytes that fit there. */
export const MAX_DATA = 32_768;

/** FIPS 180-4 §4.2.2: fractional parts of the cube roots of the first 64 primes; §5.3.3: square roots of the first eight. */
const primes = firstPrimes(64);
export const ROUND_CONSTANTS: readonly number[] = primes.map((prime) => rootFraction(prime, 3n));
export const INITIAL_STATE: readonly number[] = primes.slice(0, 8).map((prime) => rootFraction(prime, 2n));

function firstPrimes(count: number): number[] {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) if (found.every((prime) => n % prime !== 0)) found.push(n);
  return found;
}

/** The first 32 bits after the point of the `degree`-th root, by bisection. */
function rootFraction(n: number, degree: bigint): number {
  const target = BigInt(n) << (32n * degree);
  let low = 0n;
  let high = 1n << 40n;
  while (high - low > 1n) {
    const middle = (low + high) / 2n;
    if (middle ** degree <= target) low = middle;
    else high = middle;
  }
  return Number(BigInt.asIntN(32, low));
}

/** Turns the four words of a vector between byte orders. */
const SWAPPED = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12];

function swapWords(value: Code): Code {
  return v128.shuffle(value, value, SWAPPED);
}

function xorAll(first: Code, ...rest: readonly Code[]): Code {
  return rest.reduce((a, b) => i32.xor(a, b), first);
}

function addAll(first: Code, ...rest: readonly Code[]): Code {
  return rest.reduce((a, b) => i32.add(a, b), first);
}

/** `compress(at, count)`: runs `count` blocks of 64 bytes through the state. */
function defineCompress(module: ModuleBuilder): FunctionBuilder {
  const compress = module.function('compress', [I32, I32], undefined);
  const [at, count] = compress.params as [Local, Local];
  const state = compress.locals(I32, 8);
  const [word, mixed] = compress.locals(I32, 2) as [Local, Local];
  const zero = i32.const(0);
  const rotations = (value: Local, a: number, b: number, c: number): Code =>
    xorAll(i32.rotr(value.get, a), i32.rotr(value.get, b), i32.rotr(value.get, c));
  /** Word `index` counted from `word`, of the schedule. */
  const scheduled = (index: number): Code => i32.load(word.get, SCHEDULE_AT + 4 * index);
  /** FIPS 180-4 §4.1.2, small sigma. */
  const sigma = (index: number, a: number, b: number, shift: number): Code => [
    mixed.set(scheduled(index)),
    xorAll(i32.rotr(mixed.get, a), i32.rotr(mixed.get, b), i32.shrU(mixed.get, shift)),
  ];
  const next = (value: Code): Code => word.tee(i32.add(word.get, value));
  const round = (step: number): Code => {
    const [a, b, c, d, e, f, g, h] = state.map((_, index) => state[(index - step + 8) & 7]!) as [
      Local,
      Local,
      Local,
      Local,
      Local,
      Local,
      Local,
      Local,
    ];
    const choice = i32.xor(g.get, i32.and(e.get, i32.xor(f.get, g.get)));
    const majority = i32.xor(i32.and(a.get, b.get), i32.and(c.get, i32.xor(a.get, b.get)));
    return [
      mixed.set(
        addAll(
          h.get,
          rotations(e, 6, 11, 25),
          choice,
          i32.load(word.get, CONSTANTS_AT + 4 * step),
          scheduled(step),
        ),
      ),
      d.set(i32.add(d.get, mixed.get)),
      h.set(addAll(mixed.get, rotations(a, 2, 13, 22), majority)),
    ];
  };
  compress.add(
    doWhile(
      [
        [0, 16, 32, 48].map((offset) =>
          v128.store(zero, swapWords(v128.load(at.get, offset)), SCHEDULE_AT + offset),
        ),
        word.set(zero),
        doWhile(
          [0, 1, 2, 3].map((step) =>
            i32.store(
              word.get,
              addAll(
                sigma(step + 14, 17, 19, 10),
                scheduled(step + 9),
                sigma(step + 1, 7, 18, 3),
                scheduled(step),
              ),
              SCHEDULE_AT + 4 * (step + 16),
            ),
          ),
          i32.gtS(i32.const(4 * 48), next(i32.const(16))),
        ),
        state.map((value, index) => value.set(i32.load(zero, STATE_AT + 4 * index))),
        word.set(zero),
        doWhile([0, 1, 2, 3, 4, 5, 6, 7].map(round), i32.gtS(i32.const(4 * 64), next(i32.const(32)))),
        state.map((value, index) =>
          i32.store(zero, i32.add(value.get, i32.load(zero, STATE_AT + 4 * index)), STATE_AT + 4 * index),
        ),
        at.set(i32.add(at.get, i32.const(64))),
      ],
      count.tee(i32.sub(count.get, i32.const(1))),
    ),
  );
  return compress;
}

/**
 * `finish(at, length, total)`: pads the last `length` bytes of a message of `total` bytes, fewer than 2^29 (FIPS 180-4 §5.1.1),
 * and writes the digest. What lies behind them is overwritten.
 */
function defineFinish(module: ModuleBuilder, compress: FunctionBuilder): FunctionBuilder {
  const finish = module.function('finish', [I32, I32, I32], undefined);
  const [at, length, total] = finish.params as [Local, Local, Local];
  const [end, blocks] = finish.locals(I32, 2) as [Local, Local];
  const zero = i32.const(0);
  finish.add(
    end.set(i32.add(at.get, length.get)),
    [0, 1, 2, 3, 4, 5, 6, 7].map((i) => v128.store(end.get, v128.const(0, 0, 0, 0), 16 * i)),
    i32.store(end.get, i32.const(0x80)),
    // One byte for the mark, eight for the length, rounded up.
    blocks.set(i32.shrU(i32.add(length.get, i32.const(9 + 63)), 6)),
    total.set(i32.mul(total.get, i32.const(8))),
    // Turned to the other byte order; its upper half stays zero.
    i32.store(
      i32.sub(i32.add(at.get, i32.mul(blocks.get, i32.const(64))), i32.const(4)),
      i32.xor(
        i32.and(i32.rotr(total.get, 24), i32.const(0x00ff00ff)),
        i32.and(i32.rotr(total.get, 8), i32.const(~0x00ff00ff)),
      ),
    ),
    compress.call(at.get, blocks.get),
    [0, 16].map((offset) =>
      v128.store(zero, swapWords(v128.load(zero, STATE_AT + offset)), DIGEST_AT + offset),
    ),
  );
  return finish;
}

/** Copies bytes in steps of a vector. */
function copy(from: number, to: number, length: number): Code {
  const zero = i32.const(0);
  return Array.from({ length: length / 16 }, (_, i) =>
    v128.store(zero, v128.load(zero, from + 16 * i), to + 16 * i),
  );
}

/** `useKey()`: runs the two blocks of the key at {@link KEY_AT}, and keeps the states behind them (RFC 2104 §4). */
function defineUseKey(module: ModuleBuilder, compress: FunctionBuilder): FunctionBuilder {
  const useKey = module.function('useKey', [], undefined);
  const zero = i32.const(0);
  const run = (pad: number, stateTo: number): Code => [
    [0, 16, 32, 48].map((offset) =>
      v128.store(
        zero,
        v128.xor(v128.load(zero, KEY_AT + offset), v128.const(pad, pad, pad, pad)),
        PAD_AT + offset,
      ),
    ),
    [0, 4].map((word) =>
      v128.store(zero, v128.const(...INITIAL_STATE.slice(word, word + 4)), STATE_AT + 4 * word),
    ),
    compress.call(i32.const(PAD_AT), i32.const(1)),
    copy(STATE_AT, stateTo, 32),
  ];
  useKey.add(run(0x36363636, INNER_STATE_AT), run(0x5c5c5c5c, OUTER_STATE_AT), copy(KEY_AT, USED_KEY_AT, 64));
  return useKey;
}

/** `hmac(length)`. Secrets of a handshake are used for several labels in a row: half of the work is the key's. */
function defineHmac(module: ModuleBuilder, useKey: FunctionBuilder, finish: FunctionBuilder): void {
  const hmac = module.function('hmac', [I32], undefined);
  const [length] = hmac.params as [Local];
  const zero = i32.const(0);
  const differences = [0, 16, 32, 48].map((offset) =>
    v128.xor(v128.load(zero, KEY_AT + offset), v128.load(zero, USED_KEY_AT + offset)),
  );
  hmac.add(
    when(v128.anyTrue(differences.reduce((a, b) => v128.or(a, b))), useKey.call()),
    copy(INNER_STATE_AT, STATE_AT, 32),
    finish.call(i32.const(DATA_AT), length.get, i32.add(length.get, i32.const(64))),
    copy(OUTER_STATE_AT, STATE_AT, 32),
    copy(DIGEST_AT, OUTER_AT, 32),
    finish.call(i32.const(OUTER_AT), i32.const(32), i32.const(96)),
  );
}

/**
 * Assembles the module: `compress(at, count)`, `finish(at, length, total)`, and `hmac(length)` of the data under the key, which
 * leaves it in the place of the digest. `useKey()` must have run once before the first `hmac`.
 */
export function sha256ModuleBytes(): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  const compress = defineCompress(module);
  const finish = defineFinish(module, compress);
  defineHmac(module, defineUseKey(module, compress), finish);
  return module.toBytes(1);
}
