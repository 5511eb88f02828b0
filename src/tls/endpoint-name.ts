/**
 * The TLS name of an endpoint: its id spelt as a host name. Source of the expected key, and the key of ticket and token caches
 * (`iroh/src/tls/name.rs`).
 *
 * @module
 */
import { DecodeError } from '../base/bytes.ts';
import { decodeBase32Hex, encodeBase32Hex } from '../base/encoding.ts';

const SUFFIX = '.iroh.invalid';

/** Lower-case base32hex of the 32-byte id, then `.iroh.invalid`; 65 characters. */
export function endpointTlsName(id: Uint8Array): string {
  if (id.length !== 32) throw new RangeError(`endpoint id: expected 32 bytes, got ${id.length}`);
  return encodeBase32Hex(id) + SUFFIX;
}

/** The 32 bytes of the id; undefined if `name` is not such a name. Any 32 bytes are returned, even if no key. */
export function endpointIdFromTlsName(name: string): Uint8Array | undefined {
  if (!name.endsWith(SUFFIX)) return undefined;
  try {
    const id = decodeBase32Hex(name.slice(0, -SUFFIX.length));
    return id.length === 32 ? id : undefined;
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
