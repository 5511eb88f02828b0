/**
 * An input read as instructions: what is missing at its end reads as zeros, so every input is a whole script.
 *
 * @module
 */
export class Script {
  readonly #bytes: Uint8Array;
  #pos = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isOver(): boolean {
    return this.#pos >= this.#bytes.length;
  }

  u8(): number {
    return this.#bytes[this.#pos++] ?? 0;
  }

  u16(): number {
    return (this.u8() << 8) | this.u8();
  }

  /** Up to `length` bytes: what is there. */
  take(length: number): Uint8Array {
    const bytes = this.#bytes.slice(this.#pos, this.#pos + length);
    this.#pos += length;
    return bytes;
  }
}
