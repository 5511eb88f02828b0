/**
 * ChaCha20-Poly1305 (RFC 8439) as a WebAssembly module with 128-bit vectors, written with `wasm-assembler.ts`.
 *
 * Additions, rotations, xors and 64-bit products only; branches and addresses depend on lengths, never on a secret. Below
 * 4,096 bytes, the most that some browsers compile synchronously on their main thread.
 *
 * @module
 */
import {
  I32,
  I64,
  ModuleBuilder,
  V128,
  doWhile,
  i32,
  i64,
  returnIf,
  v128,
  type Code,
  type FunctionBuilder,
  type Local,
} from './wasm-assembler.ts';

/** The key, 32 bytes. */
export const KEY_AT = 0;
/** The block counter (4 bytes, the module's own) and behind it the nonce (12 bytes): the last row of the state. */
const COUNTER_AT = 32;
export const NONCE_AT = COUNTER_AT + 4;
/** Samples for header masks, and where the masks appear. */
export const SAMPLES_AT = 1_024;
/** Masks made by one call. */
export const MAX_MASKS = 256;
export const MASKS_AT = SAMPLES_AT + 16 * MAX_MASKS;
/** The associated data goes here. */
export const AAD_AT = 0x4000;
/** Bytes of associated data, and of payload with tag, that fit: no UDP datagram holds more. */
export const MAX_SPAN = 0xffff;
/** The payload goes here; sealing puts the tag behind it. The padded associated data is moved right before it. */
export const DATA_AT = 0x2_4000;
/** Room for the largest payload and a whole vector step behind it. */
const PAGES = 4;

/** "expand 32-byte k", RFC 8439 §2.3. */
const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574] as const;
/** Bytes of key stream that one step of {@link defineKeyStream} makes: four blocks. */
const STEP = 256;
const MASK_26 = 0x3ff_ffffn;

/** Rotations of 32-bit lanes by whole bytes are shuffles. */
const ROTATE_16 = [2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13];
const ROTATE_8 = [3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14];

/** RFC 8439 §2.1, on four lanes at once. */
function quarterRound(a: Local, b: Local, c: Local, d: Local): Code {
  /** `to += from; mixed = (mixed ^ to) <<< bits`. */
  const half = (to: Local, from: Local, mixed: Local, bits: 16 | 12 | 8 | 7): Code => {
    const value = mixed.tee(v128.xor(mixed.get, to.tee(v128.addI32(to.get, from.get))));
    if (bits === 16) return mixed.set(v128.shuffle(value, mixed.get, ROTATE_16));
    if (bits === 8) return mixed.set(v128.shuffle(value, mixed.get, ROTATE_8));
    return mixed.set(v128.or(v128.shlI32(value, bits), v128.shrI32(mixed.get, 32 - bits)));
  };
  return [half(a, b, d, 16), half(c, d, b, 12), half(a, b, d, 8), half(c, d, b, 7)];
}

/** Runs `body` ten times. */
function tenTimes(counter: Local, body: Code): Code {
  return [counter.set(i32.const(10)), doWhile(body, counter.tee(i32.sub(counter.get, i32.const(1))))];
}

/**
 * `block(row, out)`: 32 bytes of the block whose last row (counter and nonce) is at `row`. One vector holds one row; the
 * diagonal rounds turn the rows.
 */
function defineBlock(module: ModuleBuilder): FunctionBuilder {
  const block = module.function(undefined, [I32, I32], undefined);
  const [row, out] = block.params as [Local, Local];
  const [a, b, c, d] = block.locals(V128, 4) as [Local, Local, Local, Local];
  const rounds = block.local(I32);
  const turn = (value: Local, by: number): Code =>
    value.set(
      v128.shuffleI32(
        value.get,
        value.get,
        [0, 1, 2, 3].map((lane) => (lane + by) & 3),
      ),
    );
  const zero = i32.const(0);
  block.add(
    a.set(v128.const(...CONSTANTS)),
    b.set(v128.load(zero, KEY_AT)),
    c.set(v128.load(zero, KEY_AT + 16)),
    d.set(v128.load(row.get)),
    tenTimes(rounds, [
      quarterRound(a, b, c, d),
      [turn(b, 1), turn(c, 2), turn(d, 3)],
      quarterRound(a, b, c, d),
      [turn(b, 3), turn(c, 2), turn(d, 1)],
    ]),
    v128.store(out.get, v128.addI32(a.get, v128.const(...CONSTANTS))),
    v128.store(out.get, v128.addI32(b.get, v128.load(zero, KEY_AT)), 16),
  );
  return block;
}

/**
 * `mixIn(p, q, r, s, at)`: four words of four blocks, turned into 16 bytes for each of the blocks, which are xored to the
 * memory at `at` and 64, 128, 192 bytes behind it.
 */
function defineMixIn(module: ModuleBuilder): FunctionBuilder {
  const mixIn = module.function(undefined, [V128, V128, V128, V128, I32], undefined);
  const [p, q, r, s, at] = mixIn.params as [Local, Local, Local, Local, Local];
  const [t0, t1, t2, t3] = mixIn.locals(V128, 4) as [Local, Local, Local, Local];
  const put = (value: Code, offset: number): Code =>
    v128.store(at.get, v128.xor(v128.load(at.get, offset), value), offset);
  mixIn.add(
    t0.set(v128.shuffleI32(p.get, q.get, [0, 4, 1, 5])),
    t1.set(v128.shuffleI32(r.get, s.get, [0, 4, 1, 5])),
    t2.set(v128.shuffleI32(p.get, q.get, [2, 6, 3, 7])),
    t3.set(v128.shuffleI32(r.get, s.get, [2, 6, 3, 7])),
    put(v128.shuffleI32(t0.get, t1.get, [0, 1, 4, 5]), 0),
    put(v128.shuffleI32(t0.get, t1.get, [2, 3, 6, 7]), 64),
    put(v128.shuffleI32(t2.get, t3.get, [0, 1, 4, 5]), 128),
    put(v128.shuffleI32(t2.get, t3.get, [2, 3, 6, 7]), 192),
  );
  return mixIn;
}

/**
 * `keyStream(at, length, counter)`: xors the key stream from block `counter` on over `length` bytes at `at`, and over what
 * follows up to a multiple of {@link STEP}. One vector holds one word of four blocks.
 */
function defineKeyStream(module: ModuleBuilder): FunctionBuilder {
  const mixIn = defineMixIn(module);
  const stream = module.function(undefined, [I32, I32, I32], undefined);
  const [at, length, counter] = stream.params as [Local, Local, Local];
  const x = stream.locals(V128, 16);
  const counters = stream.local(V128);
  const rounds = stream.local(I32);
  const zero = i32.const(0);
  const initial = (word: number): Code => {
    if (word < 4) return v128.splatI32(i32.const(CONSTANTS[word]!));
    if (word < 12) return v128.load32Splat(zero, KEY_AT + 4 * (word - 4));
    return word === 12 ? counters.get : v128.load32Splat(zero, NONCE_AT + 4 * (word - 13));
  };
  const round = (a: number, b: number, c: number, d: number): Code =>
    quarterRound(x[a]!, x[b]!, x[c]!, x[d]!);
  const sum = (word: number): Code => v128.addI32(x[word]!.get, initial(word));
  stream.add(
    counters.set(v128.addI32(v128.splatI32(counter.get), v128.const(0, 1, 2, 3))),
    doWhile(
      [
        x.map((word, index) => word.set(initial(index))),
        tenTimes(rounds, [
          [round(0, 4, 8, 12), round(1, 5, 9, 13), round(2, 6, 10, 14), round(3, 7, 11, 15)],
          [round(0, 5, 10, 15), round(1, 6, 11, 12), round(2, 7, 8, 13), round(3, 4, 9, 14)],
        ]),
        [0, 4, 8, 12].map((word) =>
          mixIn.call(
            sum(word),
            sum(word + 1),
            sum(word + 2),
            sum(word + 3),
            i32.add(at.get, i32.const(4 * word)),
          ),
        ),
        counters.set(v128.addI32(counters.get, v128.const(4, 4, 4, 4))),
        at.set(i32.add(at.get, i32.const(STEP))),
      ],
      i32.gtS(length.tee(i32.sub(length.get, i32.const(STEP))), zero),
    ),
  );
  return stream;
}

/** Where the key of Poly1305 is made: block 0, right before the payload. */
const POLY_KEY_AT = DATA_AT - 64;

/**
 * `authenticate(aadLength, length, tagAt)`: writes the tag of RFC 8439 §2.8 to `tagAt`. Takes the key from
 * {@link POLY_KEY_AT} and then overwrites it: associated data, payload and lengths become one run of padded blocks. What is
 * behind the payload is overwritten too.
 *
 * Numbers of 130 bits are five limbs of 26 bits.
 */
function defineAuthenticate(module: ModuleBuilder): FunctionBuilder {
  const poly = module.function(undefined, [I32, I32, I32], undefined);
  const [aadLength, length, tagAt] = poly.params as [Local, Local, Local];
  const [at, left] = poly.locals(I32, 2) as [Local, Local];
  const r = poly.locals(I64, 5);
  const r5 = poly.locals(I64, 5);
  const h = poly.locals(I64, 5);
  const d = poly.locals(I64, 5);
  const [low, high, keyLow, keyHigh, carry] = poly.locals(I64, 5) as [Local, Local, Local, Local, Local];
  const zero = i32.const(0);
  const padded = (value: Local): Code => i32.and(i32.add(value.get, i32.const(15)), i32.const(-16));
  const masked = (value: Code): Code => i64.and(value, i64.const(MASK_26));
  const add = (to: Local, value: Code): Code => to.set(i64.add(to.get, value));
  /** Five limbs of the 128 bits in `low` and `high`. */
  const limbs = (): Code[] => [
    masked(low.get),
    masked(i64.shrU(low.get, 26)),
    masked(i64.or(i64.shrU(low.get, 52), i64.shl(high.get, 12))),
    masked(i64.shrU(high.get, 14)),
    i64.shrU(high.get, 40),
  ];
  const read = (address: Code, offset: number): Code => [
    low.set(i64.load(address, offset)),
    high.set(i64.load(address, offset + 8)),
  ];
  /** Moves what is above 26 bits of `from` to `to`. */
  const carryOver = (from: Local, to: Local, times = 1n): Code => {
    const above = i64.shrU(from.get, 26);
    return [add(to, times === 1n ? above : i64.mul(above, i64.const(times))), from.set(masked(from.get))];
  };

  // r, clamped (RFC 8439 §2.5), and the half that is added at the end.
  poly.add(
    read(zero, POLY_KEY_AT),
    low.set(i64.and(low.get, i64.const(0x0fff_fffc_0fff_ffffn))),
    high.set(i64.and(high.get, i64.const(0x0fff_fffc_0fff_fffcn))),
    ...limbs().map((limb, i) => r[i]!.set(limb)),
    ...r5.map((five, i) => five.set(i64.mul(r[i]!.get, i64.const(5n)))),
    keyLow.set(i64.load(zero, POLY_KEY_AT + 16)),
    keyHigh.set(i64.load(zero, POLY_KEY_AT + 24)),
  );
  // One run of blocks. The associated data is copied up from its end; 16 bytes at a time, rarely more than three steps.
  poly.add(
    v128.store(i32.add(aadLength.get, i32.const(AAD_AT)), v128.const(0, 0, 0, 0)),
    left.set(padded(aadLength)),
    at.set(i32.sub(i32.const(DATA_AT), left.get)),
    // A step too many when there is none: it writes before the payload, where nothing is needed any more.
    doWhile(
      [
        left.set(i32.sub(left.get, i32.const(16))),
        v128.store(i32.add(at.get, left.get), v128.load(i32.add(left.get, i32.const(AAD_AT)))),
      ],
      i32.gtS(left.get, zero),
    ),
    v128.store(i32.add(length.get, i32.const(DATA_AT)), v128.const(0, 0, 0, 0)),
    left.set(i32.add(i32.const(DATA_AT), padded(length))),
    i64.store(left.get, i64.extendI32U(aadLength.get)),
    i64.store(left.get, i64.extendI32U(length.get), 8),
    left.set(i32.add(i32.sub(left.get, at.get), i32.const(16))),
  );
  const step: Code[] = [
    read(at.get, 0),
    ...limbs().map((limb, i) => add(h[i]!, limb)),
    // The bit above the block.
    add(h[4]!, i64.const(1n << 24n)),
  ];
  for (let i = 0; i < 5; i++) {
    let sum: Code | undefined;
    for (let j = 0; j < 5; j++) {
      // 2^130 is 5 modulo the prime, so limbs above the fifth come back five times.
      const factor = j <= i ? r[i - j]! : r5[5 + i - j]!;
      const product = i64.mul(h[j]!.get, factor.get);
      sum = sum === undefined ? product : i64.add(sum, product);
    }
    step.push(d[i]!.set(sum!));
  }
  step.push(
    ...[0, 1, 2, 3].map((i) => carryOver(d[i]!, d[i + 1]!)),
    carryOver(d[4]!, d[0]!, 5n),
    carryOver(d[0]!, d[1]!),
    ...h.map((limb, i) => limb.set(d[i]!.get)),
    at.set(i32.add(at.get, i32.const(16))),
  );
  poly.add(doWhile(step, left.tee(i32.sub(left.get, i32.const(16)))));
  // Full reduction: h, or h − p when that is not negative, chosen by a mask.
  poly.add(
    ...[1, 2, 3].map((i) => carryOver(h[i]!, h[i + 1]!)),
    carryOver(h[4]!, h[0]!, 5n),
    carryOver(h[0]!, h[1]!),
    d[0]!.set(i64.add(h[0]!.get, i64.const(5n))),
    ...[1, 2, 3, 4].flatMap((i) => [d[i]!.set(h[i]!.get), carryOver(d[i - 1]!, d[i]!)]),
    d[4]!.set(i64.sub(d[4]!.get, i64.const(1n << 26n))),
    // All ones when h − p is not negative.
    carry.set(i64.sub(i64.shrU(d[4]!.get, 63), i64.const(1n))),
    ...h.map((limb, i) => limb.set(i64.xor(limb.get, i64.and(carry.get, i64.xor(limb.get, d[i]!.get))))),
    low.set(i64.or(i64.or(h[0]!.get, i64.shl(h[1]!.get, 26)), i64.shl(h[2]!.get, 52))),
    high.set(i64.or(i64.or(i64.shrU(h[2]!.get, 12), i64.shl(h[3]!.get, 14)), i64.shl(h[4]!.get, 40))),
    // Adds the second half of the key modulo 2^128; the carry by logic, not by comparison.
    d[0]!.set(i64.add(low.get, keyLow.get)),
    carry.set(
      i64.shrU(
        i64.or(
          i64.and(low.get, keyLow.get),
          i64.and(i64.or(low.get, keyLow.get), i64.xor(d[0]!.get, i64.const(-1n))),
        ),
        63,
      ),
    ),
    i64.store(tagAt.get, d[0]!.get),
    i64.store(tagAt.get, i64.add(i64.add(high.get, keyHigh.get), carry.get), 8),
  );
  return poly;
}

/** Where the expected tag of a packet to open is made. */
const TAG_AT = 64;

/** Assembles the module: `seal(aadLength, length)`, `open(aadLength, length)` (1 when authentic), `masks(count)`. */
export function chachaModuleBytes(): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  const block = defineBlock(module);
  const keyStream = defineKeyStream(module);
  const authenticate = defineAuthenticate(module);
  const zero = i32.const(0);

  const seal = module.function('seal', [I32, I32], undefined);
  {
    const [aadLength, length] = seal.params as [Local, Local];
    // Block 0 is the key of Poly1305 (RFC 8439 §2.6), the payload starts with block 1.
    for (let offset = 0; offset < 64; offset += 16)
      seal.add(v128.store(zero, v128.const(0, 0, 0, 0), POLY_KEY_AT + offset));
    seal.add(
      keyStream.call(i32.const(POLY_KEY_AT), i32.add(length.get, i32.const(64)), zero),
      authenticate.call(aadLength.get, length.get, i32.add(length.get, i32.const(DATA_AT))),
    );
  }

  const open = module.function('open', [I32, I32], I32);
  {
    const [aadLength, length] = open.params as [Local, Local];
    const [low, high] = open.locals(I64, 2) as [Local, Local];
    const tag = i32.add(length.get, i32.const(DATA_AT));
    const differs = i64.or(
      i64.xor(low.get, i64.load(zero, TAG_AT)),
      i64.xor(high.get, i64.load(zero, TAG_AT + 8)),
    );
    open.add(
      low.set(i64.load(tag)),
      high.set(i64.load(tag, 8)),
      block.call(i32.const(COUNTER_AT), i32.const(POLY_KEY_AT)),
      authenticate.call(aadLength.get, length.get, i32.const(TAG_AT)),
      returnIf(i32.eqz(i64.eqz(differs)), zero),
      keyStream.call(i32.const(DATA_AT), length.get, i32.const(1)),
      i32.const(1),
    );
  }

  const masks = module.function('masks', [I32], undefined);
  {
    const [left] = masks.params as [Local];
    const offset = masks.local(I32);
    masks.add(
      doWhile(
        [
          block.call(i32.add(offset.get, i32.const(SAMPLES_AT)), i32.add(offset.get, i32.const(MASKS_AT))),
          offset.set(i32.add(offset.get, i32.const(16))),
        ],
        left.tee(i32.sub(left.get, i32.const(1))),
      ),
    );
  }
  return module.toBytes(PAGES);
}
