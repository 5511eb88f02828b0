/**
 * ServerHello and HelloRetryRequest (RFC 8446 §4.1.3, §4.1.4): one format, told apart by the random.
 *
 * @module
 */
import { Reader, equalBytes, fromHex, type Writer } from '../base/bytes.ts';
import { TlsAlert } from './alert.ts';
import {
  EXTENSION,
  LEGACY_VERSION,
  VERSION_TLS13,
  beginExtension,
  beginField16,
  decodeExtensions,
  endField16,
  refuseExtension,
  writeBytes16,
} from './extensions.ts';
import { HANDSHAKE, HANDSHAKE_HEADER_BYTES, beginMessage, endMessage } from './messages.ts';

/** SHA-256 of "HelloRetryRequest" (RFC 8446 §4.1.3). */
export const RETRY_RANDOM = fromHex('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c');

/** Longest cookie that we send back: our ClientHello has to fit into a few datagrams. */
export const MAX_COOKIE_BYTES = 4096;

/** A received ServerHello or HelloRetryRequest. Byte fields are views into the message. */
export interface ServerHello {
  readonly isRetry: boolean;
  readonly suite: number;
  /** ServerHello: group and public key. HelloRetryRequest: group and an empty key. */
  keyShare: { readonly group: number; readonly key: Uint8Array } | undefined;
  /** Index of the accepted PSK. */
  pskIndex: number | undefined;
  cookie: Uint8Array | undefined;
}

/**
 * Decodes and checks what holds for every ServerHello to a TLS 1.3 QUIC client.
 * @throws {TlsAlert | DecodeError}
 */
export function decodeServerHello(message: Uint8Array): ServerHello {
  const r = new Reader(message, HANDSHAKE_HEADER_BYTES);
  if (r.u16() !== LEGACY_VERSION) throw new TlsAlert('protocol_version', 'server does not speak TLS 1.3');
  const isRetry = equalBytes(r.take(32), RETRY_RANDOM);
  // RFC 8446 §4.1.3: an echo of ours, which is empty (RFC 9001 §8.4).
  if (r.u8() !== 0) throw new TlsAlert('illegal_parameter', 'session id is not an echo');
  const suite = r.u16();
  if (r.u8() !== 0) throw new TlsAlert('illegal_parameter', 'server chose a compression');
  const hello: ServerHello = {
    isRetry,
    suite,
    keyShare: undefined,
    pskIndex: undefined,
    cookie: undefined,
  };
  let version: number | undefined;
  decodeExtensions(r, (type, body) => {
    switch (type) {
      case EXTENSION.supportedVersions:
        version = body.u16();
        return true;
      case EXTENSION.keyShare: {
        const group = body.u16();
        hello.keyShare = { group, key: isRetry ? body.take(0) : body.take(body.u16()) };
        return true;
      }
      case EXTENSION.preSharedKey:
        if (isRetry) return refuseExtension(type, 'HelloRetryRequest');
        hello.pskIndex = body.u16();
        return true;
      case EXTENSION.cookie:
        if (!isRetry) return refuseExtension(type, 'ServerHello');
        hello.cookie = body.take(body.u16());
        if (hello.cookie.length === 0) throw new TlsAlert('decode_error', 'empty cookie');
        return true;
      default:
        return refuseExtension(type, isRetry ? 'HelloRetryRequest' : 'ServerHello');
    }
  });
  // RFC 8446 §4.2.1: without the extension the server speaks TLS 1.2, which QUIC forbids (RFC 9001 §4.2).
  if (version === undefined) throw new TlsAlert('protocol_version', 'server does not speak TLS 1.3');
  if (version !== VERSION_TLS13) throw new TlsAlert('illegal_parameter', 'server chose another version');
  return hello;
}

/** Encodes a ServerHello. @param pskIndex - Of the resumed session; undefined in a full handshake. */
export function writeServerHello(
  w: Writer,
  random: Uint8Array,
  suite: number,
  share: { readonly group: number; readonly key: Uint8Array },
  pskIndex: number | undefined,
): void {
  const message = beginHello(w, random, suite);
  const extensions = beginField16(w);
  writeVersion(w);
  const keyShare = beginExtension(w, EXTENSION.keyShare);
  w.u16(share.group);
  writeBytes16(w, share.key);
  endField16(w, keyShare);
  if (pskIndex !== undefined) {
    const psk = beginExtension(w, EXTENSION.preSharedKey);
    w.u16(pskIndex);
    endField16(w, psk);
  }
  endField16(w, extensions);
  endMessage(w, message);
}

/** Encodes a HelloRetryRequest for `group`. @param cookie - For servers that keep no state; ours do. */
export function writeHelloRetryRequest(
  w: Writer,
  suite: number,
  group: number | undefined,
  cookie?: Uint8Array,
): void {
  const message = beginHello(w, RETRY_RANDOM, suite);
  const extensions = beginField16(w);
  writeVersion(w);
  if (group !== undefined) {
    const keyShare = beginExtension(w, EXTENSION.keyShare);
    w.u16(group);
    endField16(w, keyShare);
  }
  if (cookie !== undefined) {
    const extension = beginExtension(w, EXTENSION.cookie);
    writeBytes16(w, cookie);
    endField16(w, extension);
  }
  endField16(w, extensions);
  endMessage(w, message);
}

function beginHello(w: Writer, random: Uint8Array, suite: number): number {
  const message = beginMessage(w, HANDSHAKE.serverHello);
  w.u16(LEGACY_VERSION);
  w.put(random);
  w.u8(0);
  w.u16(suite);
  w.u8(0);
  return message;
}

function writeVersion(w: Writer): void {
  const extension = beginExtension(w, EXTENSION.supportedVersions);
  w.u16(VERSION_TLS13);
  endField16(w, extension);
}
