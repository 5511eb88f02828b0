/**
 * A small assembler for WebAssembly modules: expressions are nested arrays of bytes, put together by functions that are
 * named like the instructions (WebAssembly core specification 2.0, §5 for the binary format).
 *
 * Only what `chacha-wasm.ts` and `sha256-wasm.ts` need. The module's bytes are made when it is loaded, so that no binary has to be trusted or
 * kept in step with its source.
 *
 * @module
 */

/** Encoded instructions: bytes, nested so that nothing is copied until the module is whole. */
export type Code = readonly (number | Code)[];

/** Value types (§5.3.1). */
export const I32 = 0x7f;
export const I64 = 0x7e;
export const V128 = 0x7b;

/** One of the value types. */
export type ValueType = typeof I32 | typeof I64 | typeof V128;

function flatten(code: Code, out: number[] = []): number[] {
  for (const part of code) {
    if (typeof part === 'number') out.push(part);
    else flatten(part, out);
  }
  return out;
}

/** Unsigned LEB128 (§5.2.2). */
function unsigned(value: number): number[] {
  const out: number[] = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) out.push((value & 0x7f) | 0x80);
  out.push(value);
  return out;
}

/** Signed LEB128 (§5.2.2). */
function signed(value: bigint): number[] {
  const out: number[] = [];
  for (;;) {
    const low = Number(value & 0x7fn);
    value >>= 7n;
    if ((value === 0n && low < 0x40) || (value === -1n && low >= 0x40)) {
      out.push(low);
      return out;
    }
    out.push(low | 0x80);
  }
}

const unary =
  (...opcode: number[]) =>
  (a: Code): Code => [a, opcode];
const binary =
  (...opcode: number[]) =>
  (a: Code, b: Code): Code => [a, b, opcode];
/** Alignment 1 for all accesses: a hint only, and packets lie anywhere. */
const load =
  (...opcode: number[]) =>
  (address: Code, offset = 0): Code => [address, opcode, 0, unsigned(offset)];
const store =
  (...opcode: number[]) =>
  (address: Code, value: Code, offset = 0): Code => [address, value, opcode, 0, unsigned(offset)];

/** Instructions of i32 (§5.4.7). */
export const i32 = {
  const: (value: number): Code => [0x41, signed(BigInt(value | 0))],
  load: load(0x28),
  store: store(0x36),
  add: binary(0x6a),
  sub: binary(0x6b),
  mul: binary(0x6c),
  and: binary(0x71),
  xor: binary(0x73),
  shrU: (a: Code, bits: number): Code => [a, i32.const(bits), 0x76],
  rotr: (a: Code, bits: number): Code => [a, i32.const(bits), 0x78],
  gtS: binary(0x4a),
  eqz: unary(0x45),
} as const;

/** Instructions of i64. */
export const i64 = {
  const: (value: bigint): Code => [0x42, signed(BigInt.asIntN(64, value))],
  load: load(0x29),
  store: store(0x37),
  add: binary(0x7c),
  sub: binary(0x7d),
  mul: binary(0x7e),
  and: binary(0x83),
  or: binary(0x84),
  xor: binary(0x85),
  shl: (a: Code, bits: number): Code => [a, i64.const(BigInt(bits)), 0x86],
  shrU: (a: Code, bits: number): Code => [a, i64.const(BigInt(bits)), 0x88],
  extendI32U: unary(0xad),
  eqz: unary(0x50),
} as const;

/** Vector instructions (§5.4.8). */
export const v128 = {
  load: load(0xfd, 0x00),
  load32Splat: load(0xfd, 0x09),
  store: store(0xfd, 0x0b),
  /** Four 32-bit lanes. */
  const: (...lanes: readonly number[]): Code => [
    0xfd,
    0x0c,
    ...lanes.flatMap((lane) => [lane & 0xff, (lane >>> 8) & 0xff, (lane >>> 16) & 0xff, lane >>> 24]),
  ],
  or: binary(0xfd, 0x50),
  xor: binary(0xfd, 0x51),
  /** 1 when any bit is set. */
  anyTrue: unary(0xfd, 0x53),
  addI32: binary(0xfd, 0xae, 0x01),
  splatI32: unary(0xfd, 0x11),
  shlI32: (a: Code, bits: number): Code => [a, i32.const(bits), 0xfd, 0xab, 0x01],
  shrI32: (a: Code, bits: number): Code => [a, i32.const(bits), 0xfd, 0xad, 0x01],
  /** Picks bytes of `a` (0–15) and `b` (16–31). */
  shuffle: (a: Code, b: Code, bytes: readonly number[]): Code => [a, b, 0xfd, 0x0d, bytes],
  /** Picks 32-bit lanes of `a` (0–3) and `b` (4–7). */
  shuffleI32: (a: Code, b: Code, lanes: readonly number[]): Code =>
    v128.shuffle(
      a,
      b,
      lanes.flatMap((lane) => [4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3]),
    ),
} as const;

/** Repeats `body` while `condition` holds at its end (§5.4.1); the body runs at least once. */
export function doWhile(body: Code, condition: Code): Code {
  return [0x03, 0x40, body, condition, 0x0d, 0x00, 0x0b];
}

/** Runs `body` when `condition` is not zero. */
export function when(condition: Code, body: Code): Code {
  return [condition, 0x04, 0x40, body, 0x0b];
}

/** Returns `value` from the function when `condition` is not zero. */
export function returnIf(condition: Code, value: Code): Code {
  return when(condition, [value, 0x0f]);
}

/** A parameter or a variable of a function. */
export class Local {
  readonly type: ValueType;
  readonly #index: number[];

  constructor(type: ValueType, index: number) {
    this.type = type;
    this.#index = unsigned(index);
  }

  get get(): Code {
    return [0x20, this.#index];
  }

  set(value: Code): Code {
    return [value, 0x21, this.#index];
  }

  /** Sets it and leaves the value as a result. */
  tee(value: Code): Code {
    return [value, 0x22, this.#index];
  }
}

/** A function under construction. */
export class FunctionBuilder {
  readonly index: number;
  readonly params: readonly Local[];
  readonly result: ValueType | undefined;
  readonly #locals: Local[] = [];
  readonly #code: Code[] = [];

  constructor(index: number, params: readonly ValueType[], result: ValueType | undefined) {
    this.index = index;
    this.params = params.map((type, at) => new Local(type, at));
    this.result = result;
  }

  /** Declares a variable; it starts at zero. */
  local(type: ValueType): Local {
    const local = new Local(type, this.params.length + this.#locals.length);
    this.#locals.push(local);
    return local;
  }

  /** Declares `count` variables. */
  locals(type: ValueType, count: number): Local[] {
    return Array.from({ length: count }, () => this.local(type));
  }

  /** Appends instructions. */
  add(...code: readonly Code[]): void {
    this.#code.push(...code);
  }

  /** A call of this function. */
  call(...args: readonly Code[]): Code {
    return [args, 0x10, unsigned(this.index)];
  }

  get type(): Code {
    const results = this.result === undefined ? [] : [this.result];
    return [0x60, this.params.length, ...this.params.map(({ type }) => type), results.length, ...results];
  }

  get body(): Code {
    const code = flatten(this.#code);
    const locals: [number, ValueType][] = [];
    for (const { type } of this.#locals) {
      const last = locals.at(-1);
      if (last?.[1] === type) last[0]++;
      else locals.push([1, type]);
    }
    const declared = [
      ...unsigned(locals.length),
      ...locals.flatMap(([count, type]) => [...unsigned(count), type]),
    ];
    return [unsigned(declared.length + code.length + 1), declared, code, 0x0b];
  }
}

function section(id: number, entries: readonly Code[]): Code {
  const content = flatten([unsigned(entries.length), entries]);
  return [id, unsigned(content.length), content];
}

const name = (text: string): Code => [text.length, ...[...text].map((letter) => letter.charCodeAt(0))];

/** A module with one memory of its own, exported as `memory`. */
export class ModuleBuilder {
  readonly #functions: FunctionBuilder[] = [];
  readonly #exports: Code[] = [[name('memory'), 0x02, 0x00]];

  /** Starts a function, to be exported under `exportName` when given. */
  function(
    exportName: string | undefined,
    params: readonly ValueType[],
    result: ValueType | undefined,
  ): FunctionBuilder {
    const built = new FunctionBuilder(this.#functions.length, params, result);
    this.#functions.push(built);
    if (exportName !== undefined) this.#exports.push([name(exportName), 0x00, built.index]);
    return built;
  }

  /** The module in binary format (§5.5), with a memory of `pages` × 64 KiB that does not grow. */
  toBytes(pages: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(
      flatten([
        [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
        section(
          1,
          this.#functions.map(({ type }) => type),
        ),
        section(
          3,
          this.#functions.map(({ index }) => [index]),
        ),
        section(5, [[0x01, pages, pages]]),
        section(7, this.#exports),
        section(
          10,
          this.#functions.map(({ body }) => body),
        ),
      ]),
    );
  }
}
