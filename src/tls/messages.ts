/**
 * Handshake messages other than the hellos (RFC 8446 §4): framing, encoding, decoding.
 *
 * Decoders get a whole message `type u8 | length u24 | body` and return views into it; they throw TlsAlert or
 * {@link DecodeError}, which the session turns into decode_error.
 *
 * @module
 */
import { Reader, type Writer } from '../base/bytes.ts';
import { TlsAlert } from './alert.ts';
import {
  EXTENSION,
  beginExtension,
  beginField16,
  beginField24,
  decodeExtensions,
  endField16,
  endField24,
  readAlpnList,
  readU16List,
  refuseExtension,
  writeAlpn,
  writeBytes16,
  writeExtension,
} from './extensions.ts';

/** HandshakeType numbers (RFC 8446 §4). */
export const HANDSHAKE = {
  clientHello: 1,
  serverHello: 2,
  newSessionTicket: 4,
  endOfEarlyData: 5,
  encryptedExtensions: 8,
  certificate: 11,
  certificateRequest: 13,
  certificateVerify: 15,
  finished: 20,
  keyUpdate: 24,
  messageHash: 254,
} as const;

export const HANDSHAKE_HEADER_BYTES = 4;

/**
 * Largest handshake message with its header. A peer can make us buffer this much per connection; the largest honest
 * message is a certificate chain of a few KiB (rustls allows 65,535 too).
 */
export const MAX_HANDSHAKE_MESSAGE_BYTES = 65_535;

/** Longest certificate chain that is read: the web's have two to four certificates, and each costs time to check. */
export const MAX_CERTIFICATES = 10;

/** Starts a message; returns a mark for {@link endMessage}. */
export function beginMessage(w: Writer, type: number): number {
  w.u8(type);
  return beginField24(w);
}

/** Fills in the length. */
export function endMessage(w: Writer, start: number): void {
  endField24(w, start);
}

/** A reader over the body. */
function bodyOf(message: Uint8Array): Reader {
  return new Reader(message, HANDSHAKE_HEADER_BYTES);
}

function expectEnd(r: Reader): void {
  if (r.remaining > 0) throw new TlsAlert('decode_error', 'bytes after the message');
}

/** EncryptedExtensions (RFC 8446 §4.3.1). */
export interface EncryptedExtensions {
  alpn: Uint8Array | undefined;
  clientCertificateType: number | undefined;
  serverCertificateType: number | undefined;
  transportParameters: Uint8Array | undefined;
  /** The server acknowledges the name that the client sent; says nothing. */
  serverName: boolean;
  earlyData: boolean;
}

/**
 * Decodes EncryptedExtensions.
 * @param offered - Extension types of our ClientHello: the server may use no others (RFC 8446 §4.2).
 */
export function decodeEncryptedExtensions(
  message: Uint8Array,
  offered: ReadonlySet<number>,
): EncryptedExtensions {
  const result: EncryptedExtensions = {
    alpn: undefined,
    clientCertificateType: undefined,
    serverCertificateType: undefined,
    transportParameters: undefined,
    serverName: false,
    earlyData: false,
  };
  decodeExtensions(bodyOf(message), (type, body) => {
    if (!offered.has(type)) throw new TlsAlert('unsupported_extension', `extension ${type} was not offered`);
    switch (type) {
      case EXTENSION.alpn: {
        const names = readAlpnList(body);
        // RFC 7301 §3.1: exactly one.
        if (names.length !== 1) throw new TlsAlert('illegal_parameter', 'server chose several protocols');
        result.alpn = names[0];
        return true;
      }
      case EXTENSION.clientCertificateType:
        result.clientCertificateType = body.u8();
        return true;
      case EXTENSION.serverCertificateType:
        result.serverCertificateType = body.u8();
        return true;
      case EXTENSION.quicTransportParameters:
        result.transportParameters = body.rest();
        return true;
      case EXTENSION.serverName:
        result.serverName = true;
        return true;
      case EXTENSION.earlyData:
        result.earlyData = true;
        return true;
      case EXTENSION.supportedGroups:
        // RFC 8446 §4.2.7: what the server would prefer next time; we have one group.
        return false;
      default:
        return refuseExtension(type, 'EncryptedExtensions');
    }
  });
  return result;
}

/** Encodes EncryptedExtensions. */
export function writeEncryptedExtensions(w: Writer, value: EncryptedExtensions): void {
  const message = beginMessage(w, HANDSHAKE.encryptedExtensions);
  const extensions = beginField16(w);
  if (value.alpn !== undefined) writeAlpn(w, [value.alpn]);
  if (value.transportParameters !== undefined)
    writeExtension(w, EXTENSION.quicTransportParameters, value.transportParameters);
  if (value.clientCertificateType !== undefined)
    writeExtension(w, EXTENSION.clientCertificateType, Uint8Array.of(value.clientCertificateType));
  if (value.serverCertificateType !== undefined)
    writeExtension(w, EXTENSION.serverCertificateType, Uint8Array.of(value.serverCertificateType));
  if (value.serverName) endField16(w, beginExtension(w, EXTENSION.serverName));
  if (value.earlyData) endField16(w, beginExtension(w, EXTENSION.earlyData));
  endField16(w, extensions);
  endMessage(w, message);
}

/**
 * Decodes a CertificateRequest; returns the signature schemes that the server takes. Other extensions are ignored
 * (RFC 8446 §4.3.2).
 */
export function decodeCertificateRequest(message: Uint8Array): readonly number[] {
  const r = bodyOf(message);
  // RFC 8446 §4.3.2: a context is for requests after the handshake, which QUIC forbids (RFC 9001 §4.4).
  if (r.u8() !== 0) throw new TlsAlert('illegal_parameter', 'certificate request with a context');
  let schemes: readonly number[] | undefined;
  decodeExtensions(r, (type, body) => {
    if (type !== EXTENSION.signatureAlgorithms) return false;
    schemes = readU16List(body);
    return true;
  });
  if (schemes === undefined)
    throw new TlsAlert('missing_extension', 'certificate request without signature_algorithms');
  return schemes;
}

/** Encodes a CertificateRequest. */
export function writeCertificateRequest(w: Writer, schemes: readonly number[]): void {
  const message = beginMessage(w, HANDSHAKE.certificateRequest);
  w.u8(0);
  const extensions = beginField16(w);
  const extension = beginExtension(w, EXTENSION.signatureAlgorithms);
  const list = beginField16(w);
  for (const scheme of schemes) w.u16(scheme);
  endField16(w, list);
  endField16(w, extension);
  endField16(w, extensions);
  endMessage(w, message);
}

/** Decodes a Certificate; returns the entries' data, leaf first: DER certificates or one SubjectPublicKeyInfo. */
export function decodeCertificate(message: Uint8Array): Uint8Array[] {
  const r = bodyOf(message);
  // RFC 8446 §4.4.2: echoes the request's context, which is empty.
  if (r.u8() !== 0) throw new TlsAlert('illegal_parameter', 'certificate with a context');
  const list = r.nested(r.u24());
  expectEnd(r);
  const entries: Uint8Array[] = [];
  while (list.remaining > 0) {
    if (entries.length === MAX_CERTIFICATES) throw new TlsAlert('bad_certificate', 'chain too long');
    const data = list.take(list.u24());
    if (data.length === 0) throw new TlsAlert('decode_error', 'empty certificate entry');
    entries.push(data);
    // RFC 8446 §4.4.2: only what was offered, and we offer nothing that goes here.
    if (list.u16() !== 0) throw new TlsAlert('unsupported_extension', 'certificate entry with extensions');
  }
  return entries;
}

/** Encodes a Certificate. @param entries - Leaf first; empty when we have nothing suitable (RFC 8446 §4.4.2). */
export function writeCertificate(w: Writer, entries: readonly Uint8Array[]): void {
  const message = beginMessage(w, HANDSHAKE.certificate);
  w.u8(0);
  const list = beginField24(w);
  for (const entry of entries) {
    const data = beginField24(w);
    w.put(entry);
    endField24(w, data);
    w.u16(0);
  }
  endField24(w, list);
  endMessage(w, message);
}

/** CertificateVerify (RFC 8446 §4.4.3). */
export interface CertificateVerify {
  readonly scheme: number;
  readonly signature: Uint8Array;
}

export function decodeCertificateVerify(message: Uint8Array): CertificateVerify {
  const r = bodyOf(message);
  const scheme = r.u16();
  const signature = r.take(r.u16());
  expectEnd(r);
  return { scheme, signature };
}

export function writeCertificateVerify(w: Writer, value: CertificateVerify): void {
  const message = beginMessage(w, HANDSHAKE.certificateVerify);
  w.u16(value.scheme);
  writeBytes16(w, value.signature);
  endMessage(w, message);
}

/** Encodes a Finished. @param verifyData - Hash length. */
export function writeFinished(w: Writer, verifyData: Uint8Array): void {
  const message = beginMessage(w, HANDSHAKE.finished);
  w.put(verifyData);
  endMessage(w, message);
}

/** NewSessionTicket (RFC 8446 §4.6.1). */
export interface NewSessionTicket {
  readonly lifetimeSeconds: number;
  /** u32. */
  readonly ageAdd: number;
  readonly nonce: Uint8Array;
  readonly ticket: Uint8Array;
  /** Undefined: no early data with this ticket. */
  readonly maxEarlyData: number | undefined;
}

export function decodeNewSessionTicket(message: Uint8Array): NewSessionTicket {
  const r = bodyOf(message);
  const lifetimeSeconds = r.u32();
  const ageAdd = r.u32();
  const nonce = r.take(r.u8());
  const ticket = r.take(r.u16());
  if (ticket.length === 0) throw new TlsAlert('decode_error', 'empty ticket');
  let maxEarlyData: number | undefined;
  decodeExtensions(r, (type, body) => {
    // Others are ignored (RFC 8446 §4.6.1).
    if (type !== EXTENSION.earlyData) return false;
    maxEarlyData = body.u32();
    return true;
  });
  return { lifetimeSeconds, ageAdd, nonce, ticket, maxEarlyData };
}

export function writeNewSessionTicket(w: Writer, value: NewSessionTicket): void {
  const message = beginMessage(w, HANDSHAKE.newSessionTicket);
  w.u32(value.lifetimeSeconds);
  w.u32(value.ageAdd);
  w.u8(value.nonce.length);
  w.put(value.nonce);
  writeBytes16(w, value.ticket);
  const extensions = beginField16(w);
  if (value.maxEarlyData !== undefined) {
    const earlyData = beginExtension(w, EXTENSION.earlyData);
    w.u32(value.maxEarlyData);
    endField16(w, earlyData);
  }
  endField16(w, extensions);
  endMessage(w, message);
}
