/**
 * ClientHello (RFC 8446 §4.1.2): encoding, decoding, and a look at one that nobody has decided about yet.
 *
 * @module
 */
import { DecodeError, Reader, Writer } from '../base/bytes.ts';
import { TlsAlert } from './alert.ts';
import {
  EXTENSION,
  GROUP_X25519,
  LEGACY_VERSION,
  PSK_DHE_KE,
  VERSION_TLS13,
  beginExtension,
  beginField16,
  decodeExtensions,
  endField16,
  readAlpnList,
  readU16List,
  readU8List,
  writeAlpn,
  writeBytes16,
  writeExtension,
} from './extensions.ts';
import {
  HANDSHAKE,
  HANDSHAKE_HEADER_BYTES,
  MAX_HANDSHAKE_MESSAGE_BYTES,
  beginMessage,
  endMessage,
} from './messages.ts';

/** A DNS name has at most 253 characters (RFC 1035 §2.3.4); the name is remembered with a session. */
export const MAX_SERVER_NAME_BYTES = 255;

/** An offered session. */
export interface PskIdentity {
  readonly ticket: Uint8Array;
  /** u32. */
  readonly obfuscatedAge: number;
}

/** The pre_shared_key extension (RFC 8446 §4.2.11). */
export interface PskOffer {
  readonly identities: readonly PskIdentity[];
  /** One per identity. */
  readonly binders: readonly Uint8Array[];
  /** Bytes of the message, from its header on, that the binders cover. */
  readonly truncatedLength: number;
}

/** A received ClientHello. Byte fields are views into the message; fields of absent extensions are undefined. */
export interface ClientHello {
  /** 32 bytes. */
  readonly random: Uint8Array;
  readonly sessionId: Uint8Array;
  readonly suites: readonly number[];
  readonly compressionMethods: Uint8Array;
  serverName: string | undefined;
  groups: readonly number[] | undefined;
  signatureSchemes: readonly number[] | undefined;
  alpns: readonly Uint8Array[] | undefined;
  clientCertificateTypes: readonly number[] | undefined;
  serverCertificateTypes: readonly number[] | undefined;
  versions: readonly number[] | undefined;
  pskModes: readonly number[] | undefined;
  /** Whether a key_share extension is there, even if it holds no share of ours. */
  hasKeyShares: boolean;
  keyShareCount: number;
  /** The x25519 share, 32 bytes. */
  x25519Share: Uint8Array | undefined;
  transportParameters: Uint8Array | undefined;
  earlyData: boolean;
  psk: PskOffer | undefined;
}

/**
 * Decodes a whole ClientHello message with its header.
 * @throws {TlsAlert | DecodeError}
 */
export function decodeClientHello(message: Uint8Array): ClientHello {
  const r = new Reader(message, HANDSHAKE_HEADER_BYTES);
  r.u16(); // legacy_version: supported_versions decides (RFC 8446 §4.2.1)
  const random = r.take(32);
  const sessionId = r.take(r.u8());
  if (sessionId.length > 32) throw new TlsAlert('decode_error', 'session id of more than 32 bytes');
  const suites = readU16List(r);
  const compressionMethods = r.take(r.u8());
  const hello: ClientHello = {
    random,
    sessionId,
    suites,
    compressionMethods,
    serverName: undefined,
    groups: undefined,
    signatureSchemes: undefined,
    alpns: undefined,
    clientCertificateTypes: undefined,
    serverCertificateTypes: undefined,
    versions: undefined,
    pskModes: undefined,
    hasKeyShares: false,
    keyShareCount: 0,
    x25519Share: undefined,
    transportParameters: undefined,
    earlyData: false,
    psk: undefined,
  };
  // Without extensions it is TLS 1.2 or older, which the missing supported_versions tells.
  if (r.remaining > 0) decodeExtensions(r, (type, body) => decodeExtension(hello, type, body));
  return hello;
}

/** Unknown extensions are ignored (RFC 8446 §4.1.2). */
function decodeExtension(hello: ClientHello, type: number, body: Reader): boolean {
  // RFC 8446 §4.2.11: the binders cover everything before them, so nothing may follow.
  if (hello.psk !== undefined) throw new TlsAlert('illegal_parameter', 'pre_shared_key is not the last');
  switch (type) {
    case EXTENSION.serverName:
      hello.serverName = decodeServerName(body);
      return true;
    case EXTENSION.supportedGroups:
      hello.groups = readU16List(body);
      return true;
    case EXTENSION.signatureAlgorithms:
      hello.signatureSchemes = readU16List(body);
      return true;
    case EXTENSION.alpn:
      hello.alpns = readAlpnList(body);
      return true;
    case EXTENSION.clientCertificateType:
      hello.clientCertificateTypes = readU8List(body);
      return true;
    case EXTENSION.serverCertificateType:
      hello.serverCertificateTypes = readU8List(body);
      return true;
    case EXTENSION.supportedVersions: {
      const versions = body.nested(body.u8());
      if (versions.remaining === 0) throw new TlsAlert('decode_error', 'no versions');
      const list: number[] = [];
      while (versions.remaining > 0) list.push(versions.u16());
      hello.versions = list;
      return true;
    }
    case EXTENSION.pskKeyExchangeModes:
      hello.pskModes = readU8List(body);
      return true;
    case EXTENSION.keyShare:
      decodeKeyShares(hello, body);
      return true;
    case EXTENSION.quicTransportParameters:
      hello.transportParameters = body.rest();
      return true;
    case EXTENSION.earlyData:
      hello.earlyData = true;
      return true;
    case EXTENSION.preSharedKey:
      hello.psk = decodePskOffer(body);
      return true;
    default:
      return false;
  }
}

/** RFC 6066 §3. Only host names exist; any bytes do, since nothing is looked up with them. */
function decodeServerName(body: Reader): string {
  const list = body.nested(body.u16());
  let name: string | undefined;
  while (list.remaining > 0) {
    const type = list.u8();
    const value = list.take(list.u16());
    if (type !== 0) continue;
    if (name !== undefined) throw new TlsAlert('illegal_parameter', 'two host names');
    if (value.length === 0 || value.length > MAX_SERVER_NAME_BYTES)
      throw new TlsAlert('decode_error', `host name of ${value.length} bytes`);
    name = String.fromCharCode(...value);
  }
  if (name === undefined) throw new TlsAlert('decode_error', 'server_name without a host name');
  return name;
}

/** RFC 8446 §4.2.8. */
function decodeKeyShares(hello: ClientHello, body: Reader): void {
  const list = body.nested(body.u16());
  const groups = new Set<number>();
  while (list.remaining > 0) {
    const group = list.u16();
    const key = list.take(list.u16());
    if (key.length === 0) throw new TlsAlert('decode_error', 'empty key share');
    if (groups.has(group)) throw new TlsAlert('illegal_parameter', 'two key shares of one group');
    groups.add(group);
    if (group === GROUP_X25519) hello.x25519Share = key;
  }
  hello.hasKeyShares = true;
  hello.keyShareCount = groups.size;
}

/** RFC 8446 §4.2.11. */
function decodePskOffer(body: Reader): PskOffer {
  const list = body.nested(body.u16());
  const identities: PskIdentity[] = [];
  while (list.remaining > 0) {
    const ticket = list.take(list.u16());
    if (ticket.length === 0) throw new TlsAlert('decode_error', 'empty PSK identity');
    identities.push({ ticket, obfuscatedAge: list.u32() });
  }
  const truncatedLength = body.pos;
  const binderList = body.nested(body.u16());
  const binders: Uint8Array[] = [];
  while (binderList.remaining > 0) {
    const binder = binderList.take(binderList.u8());
    if (binder.length < 32) throw new TlsAlert('decode_error', 'PSK binder below 32 bytes');
    binders.push(binder);
  }
  if (identities.length === 0) throw new TlsAlert('decode_error', 'no PSK identity');
  // RFC 8446 §4.2.11: one binder for each identity.
  if (binders.length !== identities.length)
    throw new TlsAlert('illegal_parameter', `${identities.length} identities, ${binders.length} binders`);
  return { identities, binders, truncatedLength };
}

/** What our ClientHello says. */
export interface ClientHelloInput {
  readonly random: Uint8Array;
  readonly suites: readonly number[];
  readonly serverName: string | undefined;
  readonly groups: readonly number[];
  readonly signatureSchemes: readonly number[];
  readonly alpns: readonly Uint8Array[];
  /** Undefined or X.509 alone: the extension is left out (RFC 7250 §4.1). */
  readonly clientCertificateTypes: readonly number[] | undefined;
  readonly serverCertificateTypes: readonly number[] | undefined;
  /** Public x25519 key; undefined sends an empty list, which asks for a HelloRetryRequest. */
  readonly x25519Share: Uint8Array | undefined;
  readonly transportParameters: Uint8Array;
  /** From a HelloRetryRequest. */
  readonly cookie: Uint8Array | undefined;
  readonly earlyData: boolean;
  /** The session to resume; its binder is left zero. */
  readonly psk: (PskIdentity & { readonly binderLength: 32 | 48 }) | undefined;
}

/** An encoded ClientHello. */
export interface EncodedClientHello {
  /** The whole message with its header. */
  readonly message: Uint8Array;
  /** Bytes that a binder covers; without a PSK the whole length. The binder follows 3 bytes later (RFC 8446 §4.2.11.2). */
  readonly truncatedLength: number;
}

/** Bytes between the truncated hello and the first binder: length of the list, length of the binder. */
export const BINDER_OFFSET = 3;

/** Encodes a ClientHello. @throws {RangeError} when a configured value does not fit its field. */
export function encodeClientHello(input: ClientHelloInput): EncodedClientHello {
  const w = new Writer(new Uint8Array(512), 0, Infinity);
  const message = beginMessage(w, HANDSHAKE.clientHello);
  w.u16(LEGACY_VERSION);
  w.put(input.random);
  w.u8(0); // RFC 9001 §8.4: no compatibility mode, so no session id
  writeU16List(w, input.suites);
  w.u8(1);
  w.u8(0); // compression: null
  const extensions = beginField16(w);

  const versions = beginExtension(w, EXTENSION.supportedVersions);
  w.u8(2);
  w.u16(VERSION_TLS13);
  endField16(w, versions);

  const groups = beginExtension(w, EXTENSION.supportedGroups);
  writeU16List(w, input.groups);
  endField16(w, groups);

  const schemes = beginExtension(w, EXTENSION.signatureAlgorithms);
  writeU16List(w, input.signatureSchemes);
  endField16(w, schemes);

  const shares = beginExtension(w, EXTENSION.keyShare);
  const shareList = beginField16(w);
  if (input.x25519Share !== undefined) {
    w.u16(GROUP_X25519);
    writeBytes16(w, input.x25519Share);
  }
  endField16(w, shareList);
  endField16(w, shares);

  writeAlpn(w, input.alpns);
  writeExtension(w, EXTENSION.quicTransportParameters, input.transportParameters);
  writeCertificateTypes(w, EXTENSION.clientCertificateType, input.clientCertificateTypes);
  writeCertificateTypes(w, EXTENSION.serverCertificateType, input.serverCertificateTypes);

  const modes = beginExtension(w, EXTENSION.pskKeyExchangeModes);
  w.u8(1);
  w.u8(PSK_DHE_KE);
  endField16(w, modes);

  if (input.serverName !== undefined) writeServerName(w, input.serverName);
  if (input.cookie !== undefined) {
    const cookie = beginExtension(w, EXTENSION.cookie);
    writeBytes16(w, input.cookie);
    endField16(w, cookie);
  }
  if (input.earlyData) endField16(w, beginExtension(w, EXTENSION.earlyData));

  let truncatedLength: number | undefined;
  if (input.psk !== undefined) {
    const psk = beginExtension(w, EXTENSION.preSharedKey);
    const identities = beginField16(w);
    writeBytes16(w, input.psk.ticket);
    w.u32(input.psk.obfuscatedAge);
    endField16(w, identities);
    truncatedLength = w.pos;
    const binders = beginField16(w);
    w.u8(input.psk.binderLength);
    w.zeros(input.psk.binderLength);
    endField16(w, binders);
    endField16(w, psk);
  }
  endField16(w, extensions);
  endMessage(w, message);
  return { message: w.written(), truncatedLength: truncatedLength ?? w.pos };
}

function writeU16List(w: Writer, values: readonly number[]): void {
  const list = beginField16(w);
  for (const value of values) w.u16(value);
  endField16(w, list);
}

function writeCertificateTypes(w: Writer, type: number, list: readonly number[] | undefined): void {
  if (list === undefined) return;
  const extension = beginExtension(w, type);
  w.u8(list.length);
  for (const value of list) w.u8(value);
  endField16(w, extension);
}

function writeServerName(w: Writer, name: string): void {
  const extension = beginExtension(w, EXTENSION.serverName);
  const list = beginField16(w);
  w.u8(0); // host_name
  const host = beginField16(w);
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code > 0x7f) throw new RangeError(`sni: not an ASCII host name: ${name}`);
    w.u8(code);
  }
  endField16(w, host);
  endField16(w, list);
  endField16(w, extension);
}

/** What an application may want to know before it accepts. */
export interface ClientHelloPeek {
  /** In the client's order; empty when it offers none. Copies. */
  readonly alpns: Uint8Array[];
  readonly sni?: string;
}

/**
 * Looks into CRYPTO bytes from offset 0 of a first flight.
 * @returns undefined when they do not hold a whole ClientHello, or not one that can be parsed.
 */
export function peekClientHello(bytes: Uint8Array): ClientHelloPeek | undefined {
  if (bytes.length < HANDSHAKE_HEADER_BYTES || bytes[0] !== HANDSHAKE.clientHello) return undefined;
  const length = HANDSHAKE_HEADER_BYTES + ((bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!);
  if (length > MAX_HANDSHAKE_MESSAGE_BYTES || length > bytes.length) return undefined;
  try {
    const hello = decodeClientHello(bytes.subarray(0, length));
    const alpns = (hello.alpns ?? []).map((alpn) => alpn.slice());
    return hello.serverName === undefined ? { alpns } : { alpns, sni: hello.serverName };
  } catch (error) {
    if (error instanceof TlsAlert || error instanceof DecodeError) return undefined;
    throw error;
  }
}
