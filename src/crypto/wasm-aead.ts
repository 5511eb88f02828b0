/**
 * ChaCha20-Poly1305 packets and header masks on the module of `chacha-wasm.ts`, for Node and for browsers.
 *
 * Measured (Node 20, 1,423 bytes): a third of `node:crypto` and a tenth of noble, and nothing for the garbage collector but
 * two views. One instance serves all keys of a thread: nothing is asynchronous, so a key is written into its memory when
 * another one was used last.
 *
 * @module
 */
import { ChaChaHeaderKey } from './chacha-mask.ts';
import {
  AAD_AT,
  DATA_AT,
  KEY_AT,
  MASKS_AT,
  MAX_MASKS,
  MAX_SPAN,
  NONCE_AT,
  SAMPLES_AT,
  chachaModuleBytes,
} from './chacha-wasm.ts';
import {
  AEAD_NONCE_BYTES,
  AEAD_TAG_BYTES,
  HEADER_SAMPLE_BYTES,
  type Aead,
  type AeadName,
  type HeaderKey,
  type PacketJob,
} from './packet-cipher.ts';

interface Instance {
  readonly memory: Uint8Array;
  /** The masks of a call, for as long as no other call happens. */
  readonly masks: Uint8Array;
  readonly run: {
    seal(aadLength: number, length: number): void;
    open(aadLength: number, length: number): number;
    masks(count: number): void;
  };
  /** Whose key is in the memory. */
  key: Uint8Array | undefined;
}

/** Undefined before the first attempt, false where WebAssembly or its vectors are missing or not allowed. */
let shared: Instance | false | undefined;

function start(): Instance | false {
  try {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(chachaModuleBytes()));
    const buffer = (exports['memory'] as WebAssembly.Memory).buffer;
    return {
      memory: new Uint8Array(buffer),
      masks: new Uint8Array(buffer, MASKS_AT, HEADER_SAMPLE_BYTES * MAX_MASKS),
      run: exports as unknown as Instance['run'],
      key: undefined,
    };
  } catch {
    // No WebAssembly, no 128-bit vectors, or a content security policy that forbids compiling.
    return false;
  }
}

/** True when this environment can run the module; tried once. */
export function hasWasmChaCha(): boolean {
  return (shared ??= start()) !== false;
}

function instance(): Instance {
  const running = (shared ??= start());
  if (running === false) throw new Error('WebAssembly vectors are not available');
  return running;
}

function useKey(running: Instance, key: Uint8Array): void {
  if (running.key === key) return;
  running.memory.set(key, KEY_AT);
  running.key = key;
}

/** ChaCha20-Poly1305 on WebAssembly; {@link hasWasmChaCha} must be true. */
export class WasmAead implements Aead {
  readonly name: AeadName = 'chacha20-poly1305';
  readonly #key: Uint8Array;
  readonly #instance = instance();

  /** @param key - 32 bytes, copied. */
  constructor(key: Uint8Array) {
    this.#key = new Uint8Array(key);
  }

  seal(job: PacketJob): void {
    const { bytes, headerStart, payloadStart, payloadEnd } = job;
    const { memory, run } = this.#instance;
    const length = payloadEnd - payloadStart;
    if (length > MAX_SPAN - AEAD_TAG_BYTES || payloadStart - headerStart > MAX_SPAN) {
      throw new RangeError(`a packet of ${payloadEnd - headerStart} bytes fits into no datagram`);
    }
    this.#prepare(job);
    memory.set(bytes.subarray(payloadStart, payloadEnd), DATA_AT);
    run.seal(payloadStart - headerStart, length);
    bytes.set(memory.subarray(DATA_AT, DATA_AT + length + AEAD_TAG_BYTES), payloadStart);
  }

  sealBatch(jobs: readonly PacketJob[], count: number): void {
    for (let i = 0; i < count; i++) this.seal(jobs[i]!);
  }

  open(job: PacketJob): Uint8Array | undefined {
    const { bytes, headerStart, payloadStart, payloadEnd } = job;
    const { memory, run } = this.#instance;
    const length = payloadEnd - payloadStart - AEAD_TAG_BYTES;
    if (length < 0 || payloadEnd - payloadStart > MAX_SPAN || payloadStart - headerStart > MAX_SPAN) {
      return undefined;
    }
    this.#prepare(job);
    memory.set(bytes.subarray(payloadStart, payloadEnd), DATA_AT);
    if (run.open(payloadStart - headerStart, length) === 0) return undefined;
    // Not a subarray: of a Buffer that would be a Buffer, whose slice() shares memory.
    const plaintext = new Uint8Array(bytes.buffer, bytes.byteOffset + payloadStart, length);
    plaintext.set(memory.subarray(DATA_AT, DATA_AT + length));
    return plaintext;
  }

  /** Key, nonce and associated data; byte by byte, as they are too short for a call. */
  #prepare({ bytes, headerStart, payloadStart, nonce }: PacketJob): void {
    const running = this.#instance;
    const { memory } = running;
    useKey(running, this.#key);
    for (let i = 0; i < AEAD_NONCE_BYTES; i++) memory[NONCE_AT + i] = nonce[i]!;
    for (let i = headerStart, to = AAD_AT; i < payloadStart; i++, to++) memory[to] = bytes[i]!;
  }
}

/** ChaCha20 header protection (RFC 9001 §5.4.4) on WebAssembly; {@link hasWasmChaCha} must be true. */
export class WasmHeaderKey implements HeaderKey {
  readonly #key: Uint8Array;
  readonly #instance = instance();

  /** @param key - 32 bytes, copied. */
  constructor(key: Uint8Array) {
    this.#key = new Uint8Array(key);
  }

  masks(samples: Uint8Array, count: number): Uint8Array {
    // More than any batch of the engine: then the plain one is as good.
    if (count > MAX_MASKS) return new ChaChaHeaderKey(this.#key).masks(samples, count);
    const running = this.#instance;
    const { memory } = running;
    if (count === 0) return running.masks;
    useKey(running, this.#key);
    const length = HEADER_SAMPLE_BYTES * count;
    for (let i = 0; i < length; i++) memory[SAMPLES_AT + i] = samples[i]!;
    running.run.masks(count);
    return running.masks;
  }
}
