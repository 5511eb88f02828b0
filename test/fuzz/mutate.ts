/**
 * Changes to inputs that binary formats are sensitive to.
 *
 * @module
 */
import { concatBytes } from '../../src/base/bytes.ts';
import type { SimRng } from '../support/sim-rng.ts';

/** At the borders of bytes, of varint sizes (RFC 9000 §16) and of lengths. */
const EDGES = [0x00, 0x01, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xfe, 0xff];
const MAX_STACKED = 6;
const MAX_CHUNK = 64;

export interface MutationContext {
  readonly rng: SimRng;
  readonly corpus: readonly Uint8Array[];
  readonly dictionary: readonly Uint8Array[];
  readonly maxLength: number;
}

/** A few changes to `input`, one after the other. Returns a new array. */
export function mutate(input: Uint8Array, context: MutationContext): Uint8Array {
  const { rng, maxLength } = context;
  let bytes: Uint8Array = input.slice();
  for (let left = 1 + rng.below(rng.chance(0.7) ? 2 : MAX_STACKED); left > 0; left--) {
    bytes = change(bytes, context);
  }
  return bytes.length > maxLength ? bytes.subarray(0, maxLength) : bytes;
}

function change(bytes: Uint8Array, { rng, corpus, dictionary }: MutationContext): Uint8Array {
  const at = rng.below(bytes.length + 1);
  const inside = Math.min(at, bytes.length - 1);
  const kind = rng.below(bytes.length === 0 ? 4 : 13);
  switch (kind) {
    case 0:
      return splice(bytes, at, 0, rng.bytes(1 + rng.below(rng.chance(0.5) ? 4 : MAX_CHUNK)));
    case 1: {
      if (dictionary.length === 0) return splice(bytes, at, 0, Uint8Array.of(rng.pick(EDGES)));
      const token = rng.pick(dictionary);
      return splice(bytes, at, rng.chance(0.5) ? token.length : 0, token);
    }
    case 2:
    case 3: {
      // A piece of another input, over or between.
      const other = rng.pick(corpus);
      const from = rng.below(other.length + 1);
      const piece = other.subarray(
        from,
        from + 1 + rng.below(rng.chance(0.5) ? MAX_CHUNK : other.length + 1),
      );
      return splice(bytes, at, kind === 2 ? piece.length : 0, piece);
    }
    case 4:
    case 5:
      bytes[inside]! ^= 1 << rng.below(8);
      return bytes;
    case 6:
      bytes[inside] = rng.below(256);
      return bytes;
    case 7:
      bytes[inside] = rng.pick(EDGES);
      return bytes;
    case 8:
      bytes[inside]! += rng.between(-8, 8);
      return bytes;
    case 9:
      return splice(bytes, at, 1 + rng.below(rng.chance(0.5) ? 4 : MAX_CHUNK), new Uint8Array(0));
    case 10:
      return bytes.slice(0, at);
    case 11: {
      // A piece again, somewhere else.
      const from = rng.below(bytes.length);
      return splice(bytes, at, 0, bytes.slice(from, from + 1 + rng.below(MAX_CHUNK)));
    }
    default: {
      // A varint of any size at this place.
      const size = 1 << rng.below(4);
      const value = rng.chance(0.5) ? rng.bytes(size) : new Uint8Array(size).fill(rng.pick(EDGES));
      value[0] = (value[0]! & 0x3f) | (Math.log2(size) << 6);
      return splice(bytes, at, rng.chance(0.5) ? size : 0, value);
    }
  }
}

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array {
  return concatBytes(bytes.subarray(0, at), insert, bytes.subarray(Math.min(bytes.length, at + remove)));
}
