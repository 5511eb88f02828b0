/**
 * What is fuzzed: a function that takes any bytes.
 *
 * @module
 */

/** Branches of these are what a target has to reach. */
export interface Decoder {
  /** Source file, from the root of the repository. */
  readonly file: string;
  /** Functions that do not read input: writers of the same format. */
  readonly except?: RegExp;
}

export interface Target {
  readonly name: string;
  readonly decoders: readonly Decoder[];
  /** Longest input worth trying, bytes. */
  readonly maxLength: number;
  /** Branches that one input may run through: more is a hang, or work that an attacker gets too cheaply. */
  readonly maxWork: number;
  /** Valid inputs to start from. */
  seeds(): Uint8Array[];
  /** Tokens worth inserting. */
  readonly dictionary?: readonly Uint8Array[];
  /** Takes the input. @throws {Error} for anything that is not a documented way to refuse it. */
  run(input: Uint8Array): void;
}

/** A property did not hold. */
export class FuzzFailure extends Error {
  override readonly name = 'FuzzFailure';
}

export function must(condition: boolean, message: string): asserts condition {
  if (!condition) throw new FuzzFailure(message);
}

/** Runs `decode`; true when it refused in a documented way. */
export function refused(decode: () => void, isDocumented: (error: unknown) => boolean): boolean {
  try {
    decode();
    return false;
  } catch (error) {
    if (error instanceof FuzzFailure || !isDocumented(error)) throw error;
    return true;
  }
}
