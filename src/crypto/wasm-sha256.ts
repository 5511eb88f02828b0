/**
 * SHA-256 and HMAC on the module of `sha256-wasm.ts`, for Node and for browsers.
 *
 * A handshake makes forty HMACs of one or two blocks. In `node:crypto` each is an object with a native half, and those cost
 * more than the hashing, at once and when they are collected. One instance serves a thread: nothing is asynchronous.
 *
 * @module
 */
import type { IncrementalHash } from './hkdf-label.ts';
import {
  CONSTANTS_AT,
  DATA_AT,
  DIGEST_AT,
  INITIAL_STATE,
  KEY_AT,
  MAX_DATA,
  ROUND_CONSTANTS,
  STATE_AT,
  sha256ModuleBytes,
} from './sha256-wasm.ts';

const BLOCK_BYTES = 64;
const DIGEST_BYTES = 32;

interface Instance {
  readonly memory: Uint8Array;
  /** The chaining value in it. */
  readonly state: Int32Array;
  readonly run: {
    compress(at: number, count: number): void;
    finish(at: number, length: number, total: number): void;
    useKey(): void;
    hmac(length: number): void;
  };
  /** Bytes of the last key; behind it the memory is zero. */
  keyBytes: number;
}

/** Undefined before the first attempt, false where WebAssembly or its vectors are missing or not allowed. */
let shared: Instance | false | undefined;

function start(): Instance | false {
  try {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(sha256ModuleBytes()));
    const { buffer } = exports['memory'] as WebAssembly.Memory;
    new Int32Array(buffer, CONSTANTS_AT).set(ROUND_CONSTANTS);
    const run = exports as unknown as Instance['run'];
    run.useKey();
    return {
      memory: new Uint8Array(buffer),
      state: new Int32Array(buffer, STATE_AT, INITIAL_STATE.length),
      run,
      keyBytes: 0,
    };
  } catch {
    return false;
  }
}

function instance(): Instance {
  const running = (shared ??= start());
  if (running === false) throw new Error('WebAssembly vectors are not available');
  return running;
}

/** Bytes in the longest message. */
const MAX_TOTAL = 2 ** 29;

/** True when this environment can run the module; tried once. */
export function hasWasmSha256(): boolean {
  return (shared ??= start()) !== false;
}

function digestOf({ memory }: Instance): Uint8Array {
  return memory.slice(DIGEST_AT, DIGEST_AT + DIGEST_BYTES);
}

/** SHA-256 over data that arrives in parts. {@link hasWasmSha256} must be true. */
export class WasmSha256 implements IncrementalHash {
  readonly #instance = instance();
  readonly #state = Int32Array.from(INITIAL_STATE);
  /** What does not fill a block. */
  readonly #rest = new Uint8Array(BLOCK_BYTES);
  #restBytes = 0;
  #total = 0;

  update(data: Uint8Array): void {
    const most = MAX_DATA - BLOCK_BYTES;
    if (data.length <= most) this.#take(data);
    else for (let at = 0; at < data.length; at += most) this.#take(data.subarray(at, at + most));
  }

  #take(data: Uint8Array): void {
    const length = this.#restBytes + data.length;
    this.#total += data.length;
    if (length < BLOCK_BYTES) {
      this.#rest.set(data, this.#restBytes);
      this.#restBytes = length;
      return;
    }
    const { memory, state, run } = this.#instance;
    state.set(this.#state);
    memory.set(this.#rest, DATA_AT);
    memory.set(data, DATA_AT + this.#restBytes);
    const whole = length - (length % BLOCK_BYTES);
    run.compress(DATA_AT, whole / BLOCK_BYTES);
    this.#state.set(state);
    for (let i = 0; i < length - whole; i++) this.#rest[i] = memory[DATA_AT + whole + i]!;
    this.#restBytes = length - whole;
  }

  /** @throws {RangeError} after 512 MiB: the module counts bits in 32 of them. */
  digest(): Uint8Array {
    if (this.#total >= MAX_TOTAL) throw new RangeError('the message is too long');
    const { memory, state, run } = this.#instance;
    state.set(this.#state);
    memory.set(this.#rest, DATA_AT);
    run.finish(DATA_AT, this.#restBytes, this.#total);
    return digestOf(this.#instance);
  }
}

/** SHA-256 of `data`. {@link hasWasmSha256} must be true. */
export function wasmSha256(data: Uint8Array): Uint8Array {
  const hash = new WasmSha256();
  hash.update(data);
  return hash.digest();
}

/**
 * HMAC-SHA-256 (RFC 2104) of `data` under `key`. {@link hasWasmSha256} must be true.
 * @throws {RangeError} when `data` has more than 32,768 bytes: what is authenticated here are labels and digests.
 */
export function wasmHmacSha256(key: Uint8Array, data: Uint8Array): Uint8Array {
  if (data.length > MAX_DATA) throw new RangeError(`hmac of ${data.length} bytes`);
  if (key.length > BLOCK_BYTES) return wasmHmacSha256(wasmSha256(key), data);
  const running = instance();
  const { memory, run } = running;
  memory.set(key, KEY_AT);
  if (key.length < running.keyBytes) memory.fill(0, KEY_AT + key.length, KEY_AT + running.keyBytes);
  running.keyBytes = key.length;
  memory.set(data, DATA_AT);
  run.hmac(data.length);
  return digestOf(running);
}
