/**
 * TLS extensions: their numbers, which message may carry which, and the walk over an extension block
 * (RFC 8446 §4.2).
 *
 * @module
 */
import type { Reader, Writer } from '../base/bytes.ts';
import { TlsAlert } from './alert.ts';

/** ExtensionType numbers that we know. */
export const EXTENSION = {
  serverName: 0x0000,
  supportedGroups: 0x000a,
  signatureAlgorithms: 0x000d,
  alpn: 0x0010,
  clientCertificateType: 0x0013,
  serverCertificateType: 0x0014,
  preSharedKey: 0x0029,
  earlyData: 0x002a,
  supportedVersions: 0x002b,
  cookie: 0x002c,
  pskKeyExchangeModes: 0x002d,
  keyShare: 0x0033,
  quicTransportParameters: 0x0039,
} as const;

const KNOWN: ReadonlySet<number> = new Set<number>(Object.values(EXTENSION));

/** CertificateType numbers (RFC 7250 §7, IANA). */
export const CERTIFICATE_TYPE = { x509: 0, rawPublicKey: 2 } as const;

/** x25519 (RFC 8446 §4.2.7): the only group that we do. */
export const GROUP_X25519 = 0x001d;

/** TLS 1.3 in supported_versions (RFC 8446 §4.2.1). */
export const VERSION_TLS13 = 0x0304;

/** legacy_version of both hellos (RFC 8446 §4.1.2). */
export const LEGACY_VERSION = 0x0303;

/** PskKeyExchangeMode psk_dhe_ke (RFC 8446 §4.2.9): the only mode that we do. */
export const PSK_DHE_KE = 1;

/** The only max_early_data_size that QUIC allows: QUIC's own flow control limits early data (RFC 9001 §4.6.1). */
export const QUIC_MAX_EARLY_DATA = 0xffff_ffff;

/**
 * Walks the extension block at `r` (`length u16 | (type u16 | length u16 | body)*`), which must be its rest.
 * @param visit - Gets each body; what it leaves unread of an extension that it takes (returns true) is an error.
 * @throws {TlsAlert} illegal_parameter on a duplicate, decode_error on wrong lengths.
 */
export function decodeExtensions(r: Reader, visit: (type: number, body: Reader) => boolean): void {
  const block = r.nested(r.u16());
  if (r.remaining > 0) throw new TlsAlert('decode_error', 'bytes after the extensions');
  const seen = new Set<number>();
  while (block.remaining > 0) {
    const type = block.u16();
    const body = block.nested(block.u16());
    // RFC 8446 §4.2: one of each type.
    if (seen.has(type)) throw new TlsAlert('illegal_parameter', `extension ${type} appears twice`);
    seen.add(type);
    if (visit(type, body) && body.remaining > 0)
      throw new TlsAlert('decode_error', `bytes left in extension ${type}`);
  }
}

/**
 * What to do about an extension of a server's message that is not among those that the message may carry.
 * @throws {TlsAlert} illegal_parameter if it belongs elsewhere, else unsupported_extension (RFC 8446 §4.2).
 */
export function refuseExtension(type: number, message: string): never {
  if (KNOWN.has(type))
    throw new TlsAlert('illegal_parameter', `extension ${type} does not belong into ${message}`);
  throw new TlsAlert('unsupported_extension', `${message} has extension ${type}, which was not offered`);
}

/** Starts a field that is preceded by its length in two bytes; returns a mark for {@link endField16}. */
export function beginField16(w: Writer): number {
  w.u16(0);
  return w.pos;
}

/** Fills in the length. @throws {RangeError} when the field is too long. */
export function endField16(w: Writer, start: number): void {
  const length = w.pos - start;
  if (length > 0xffff) throw new RangeError(`tls: a field of ${length} bytes does not fit`);
  w.bytes[start - 2] = length >>> 8;
  w.bytes[start - 1] = length;
}

/** Starts a field that is preceded by its length in three bytes; returns a mark for {@link endField24}. */
export function beginField24(w: Writer): number {
  w.u24(0);
  return w.pos;
}

/** Fills in the length. @throws {RangeError} when the field is too long. */
export function endField24(w: Writer, start: number): void {
  const length = w.pos - start;
  if (length > 0xff_ffff) throw new RangeError(`tls: a field of ${length} bytes does not fit`);
  w.bytes[start - 3] = length >>> 16;
  w.bytes[start - 2] = length >>> 8;
  w.bytes[start - 1] = length;
}

/** Starts an extension; end it with {@link endField16}. */
export function beginExtension(w: Writer, type: number): number {
  w.u16(type);
  return beginField16(w);
}

/** Writes `type | length u16 | body`. */
export function writeExtension(w: Writer, type: number, body: Uint8Array): void {
  w.u16(type);
  writeBytes16(w, body);
}

/** Writes `length u16 | bytes`. @throws {RangeError} when too long. */
export function writeBytes16(w: Writer, bytes: Uint8Array): void {
  const start = beginField16(w);
  w.put(bytes);
  endField16(w, start);
}

/** Reads `length u16 | u16*`. @throws {TlsAlert} decode_error when empty or odd. */
export function readU16List(r: Reader): number[] {
  const list = r.nested(r.u16());
  if (list.remaining === 0) throw new TlsAlert('decode_error', 'empty list');
  const values: number[] = [];
  while (list.remaining > 0) values.push(list.u16());
  return values;
}

/** Reads `length u8 | u8*`. @throws {TlsAlert} decode_error when empty. */
export function readU8List(r: Reader): number[] {
  const list = r.nested(r.u8());
  if (list.remaining === 0) throw new TlsAlert('decode_error', 'empty list');
  const values: number[] = [];
  while (list.remaining > 0) values.push(list.u8());
  return values;
}

/** Reads the ALPN list `length u16 | (length u8 | name)*` (RFC 7301 §3.1). Names are views. @throws {TlsAlert} decode_error */
export function readAlpnList(r: Reader): Uint8Array[] {
  const list = r.nested(r.u16());
  const names: Uint8Array[] = [];
  while (list.remaining > 0) {
    const name = list.take(list.u8());
    if (name.length === 0) throw new TlsAlert('decode_error', 'empty protocol name');
    names.push(name);
  }
  if (names.length === 0) throw new TlsAlert('decode_error', 'empty protocol list');
  return names;
}

/** Writes an ALPN extension. @throws {RangeError} without names, or on a name of 0 or more than 255 bytes. */
export function writeAlpn(w: Writer, names: readonly Uint8Array[]): void {
  if (names.length === 0) throw new RangeError('alpn: no protocol to offer');
  const extension = beginExtension(w, EXTENSION.alpn);
  const list = beginField16(w);
  for (const name of names) {
    if (name.length < 1 || name.length > 255)
      throw new RangeError(`alpn: expected 1 to 255 bytes, got ${name.length}`);
    w.u8(name.length);
    w.put(name);
  }
  endField16(w, list);
  endField16(w, extension);
}
