/**
 * How an endpoint proves its id to a relay (`iroh-relay/src/protos/handshake.rs`): by signing a challenge, or, when both
 * ends of one TLS connection are known to see the same keys, by a header of the upgrade request that saves a round trip.
 *
 * Both sides are small objects that take a message and say what follows.
 *
 * @module
 */
import { blake3 } from '@noble/hashes/blake3.js';
import { ed25519Verify } from '#crypto/signature';
import { DecodeError, EMPTY, Reader, Writer, concatBytes, equalBytes, utf8 } from '../base/bytes.ts';
import { readPostcardBytes, readPostcardText, writePostcardText } from '../base/postcard.ts';
import { randomBytes, type Rng } from '../base/rng.ts';
import type { SecretKey } from '../crypto/keys.ts';
import { FRAME_TYPE, MAX_RELAY_PAYLOAD_BYTES, RELAY_ID_BYTES, readFrameType } from './frames.ts';
import { RelayProtocolError } from './protocol-error.ts';

/** Bytes of a challenge. */
export const CHALLENGE_BYTES = 16;
/** RFC 5705 label of the key material that a client signs. */
export const KEY_MATERIAL_LABEL = 'iroh-relay handshake v1';
/** Bytes of that key material: the first half is signed, the second is shown. */
export const KEY_MATERIAL_BYTES = 32;
/** The header of the upgrade request with the proof. */
export const CLIENT_AUTH_HEADER = 'x-iroh-relay-client-auth-v1';
/** The reason of a denial for a bad signature. */
export const SIGNATURE_INVALID = 'signature invalid';
/** The reason of a denial where the access check gives none. */
export const NOT_AUTHORIZED = 'not authorized';

const SIGNATURE_BYTES = 64;
const CHALLENGE_CONTEXT = utf8('iroh-relay handshake v1 challenge signature');
const AUTH_BYTES = RELAY_ID_BYTES + 1 + SIGNATURE_BYTES;
const SUFFIX_BYTES = KEY_MATERIAL_BYTES / 2;
/** Reasons of a server are for people: longer ones are cut. */
const MAX_REASON_BYTES = 1_024;

/** Exports key material of the TLS connection below (RFC 5705, RFC 8446 §7.5). */
export type KeyMaterialExporter = (length: number, label: string, context: Uint8Array) => Uint8Array;

/** The client's key. */
export interface RelayIdentity {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Ed25519; 64 bytes. */
  sign(message: Uint8Array): Uint8Array;
}

/** A secret key as the handshake wants it. */
export function relayIdentity(key: SecretKey): RelayIdentity {
  return { publicKey: key.publicKey.toBytes(), sign: (message) => key.sign(message).toBytes() };
}

/** What is signed for a challenge: BLAKE3 in its key derivation mode. */
function challengeMessage(challenge: Uint8Array): Uint8Array {
  return blake3(challenge, { context: CHALLENGE_CONTEXT });
}

/** `ServerChallenge`. @param challenge - 16 bytes. */
export function encodeChallenge(challenge: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(FRAME_TYPE.serverChallenge), challenge);
}

/** `ClientAuth`, 98 bytes: `type | id 32 | length 1 | signature 64`. */
export function encodeClientAuth(identity: RelayIdentity, challenge: Uint8Array): Uint8Array {
  const signature = identity.sign(challengeMessage(challenge));
  return concatBytes(
    Uint8Array.of(FRAME_TYPE.clientAuth),
    identity.publicKey,
    Uint8Array.of(SIGNATURE_BYTES),
    signature,
  );
}

/** `ServerConfirmsAuth`. */
export function encodeConfirmation(): Uint8Array {
  return Uint8Array.of(FRAME_TYPE.serverConfirmsAuth);
}

/** `ServerDeniesAuth`. */
export function encodeDenial(reason: string): Uint8Array {
  const writer = new Writer();
  writer.u8(FRAME_TYPE.serverDeniesAuth);
  writePostcardText(writer, reason);
  return writer.copy();
}

/** What a message of the server means for a client that is not confirmed yet. */
export type ClientStep =
  /** Send this. */
  | { readonly type: 'reply'; readonly message: Uint8Array }
  | { readonly type: 'confirmed' }
  | { readonly type: 'denied'; readonly reason: string };

/** The client's side: give it every message until it says `confirmed` or `denied`. */
export class ClientHandshake {
  readonly #identity: RelayIdentity;
  #isChallenged = false;

  constructor(identity: RelayIdentity) {
    this.#identity = identity;
  }

  /** @throws {RelayProtocolError} on anything that is no answer. */
  handleMessage(message: Uint8Array): ClientStep {
    const reader = new Reader(message);
    const type = readFrameType(reader);
    switch (type) {
      case FRAME_TYPE.serverChallenge:
        if (this.#isChallenged) break;
        this.#isChallenged = true;
        if (reader.remaining < CHALLENGE_BYTES)
          throw new RelayProtocolError('truncated', `challenge of ${reader.remaining} bytes`);
        return {
          type: 'reply',
          message: encodeClientAuth(this.#identity, reader.take(CHALLENGE_BYTES)),
        };
      case FRAME_TYPE.serverConfirmsAuth:
        return { type: 'confirmed' };
      case FRAME_TYPE.serverDeniesAuth:
        return { type: 'denied', reason: readReason(reader) };
      default:
    }
    throw new RelayProtocolError('unexpectedFrame', `frame type ${type} in the handshake`);
  }
}

function readReason(reader: Reader): string {
  try {
    return readPostcardText(reader).slice(0, MAX_REASON_BYTES);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new RelayProtocolError('malformed', `denial: ${error.message}`);
  }
}

/**
 * The header's value: base64url of `id 32 | length 1 | signature 64 | suffix 16`. Only over TLS, with the exporter of the
 * very connection that the upgrade request goes over.
 */
export function keyMaterialHeader(identity: RelayIdentity, exporter: KeyMaterialExporter): string {
  const material = exporter(KEY_MATERIAL_BYTES, KEY_MATERIAL_LABEL, identity.publicKey);
  const signature = identity.sign(material.subarray(0, SUFFIX_BYTES));
  return toBase64Url(
    concatBytes(
      identity.publicKey,
      Uint8Array.of(SIGNATURE_BYTES),
      signature,
      material.subarray(SUFFIX_BYTES),
    ),
  );
}

/** What a message of the client means for a server that has not confirmed yet. */
export type ServerStep =
  /** The id is proven, 32 bytes; whether it may come in is the access check's matter. */
  | { readonly type: 'proven'; readonly id: Uint8Array }
  | { readonly type: 'refused'; readonly reason: string };

/** The server's side: {@link start}, then one message. */
export class ServerHandshake {
  readonly #challenge: Uint8Array;
  #isAnswered = false;

  constructor(rng: Rng) {
    this.#challenge = randomBytes(rng, CHALLENGE_BYTES);
  }

  /** What to send first. */
  start(): Uint8Array {
    return encodeChallenge(this.#challenge);
  }

  /** Takes the client's only message of the handshake. @throws {RelayProtocolError} */
  handleMessage(message: Uint8Array): ServerStep {
    const reader = new Reader(message);
    const type = readFrameType(reader);
    if (type !== FRAME_TYPE.clientAuth || this.#isAnswered)
      throw new RelayProtocolError('unexpectedFrame', `frame type ${type} before authentication`);
    // A challenge is good for one answer.
    this.#isAnswered = true;
    const { id, signature } = readAuth(reader);
    if (!ed25519Verify(id, challengeMessage(this.#challenge), signature))
      return { type: 'refused', reason: SIGNATURE_INVALID };
    return { type: 'proven', id };
  }
}

/** What the header of an upgrade request is worth. */
export type HeaderVerdict =
  | { readonly type: 'proven'; readonly id: Uint8Array }
  /** Another TLS connection than ours was signed (a proxy is between), or badly: ask with a challenge. */
  | { readonly type: 'challenge' };

/**
 * Judges {@link CLIENT_AUTH_HEADER}. @param exporter - Undefined without TLS.
 * @throws {RelayProtocolError} for a header that is no proof at all.
 */
export function verifyKeyMaterialHeader(
  header: string,
  exporter: KeyMaterialExporter | undefined,
): HeaderVerdict {
  const bytes = fromBase64Url(header);
  if (bytes === undefined) throw new RelayProtocolError('malformed', 'authentication header is no base64url');
  const reader = new Reader(bytes);
  const { id, signature } = readAuth(reader);
  if (reader.remaining < SUFFIX_BYTES)
    throw new RelayProtocolError('malformed', 'authentication header is cut off');
  const suffix = reader.take(SUFFIX_BYTES);
  if (exporter === undefined) return { type: 'challenge' };
  const material = exporter(KEY_MATERIAL_BYTES, KEY_MATERIAL_LABEL, id);
  return equalBytes(material.subarray(SUFFIX_BYTES), suffix) &&
    ed25519Verify(id, material.subarray(0, SUFFIX_BYTES), signature)
    ? { type: 'proven', id }
    : { type: 'challenge' };
}

/** Copies: a message is not kept for its id. */
function readAuth(reader: Reader): { id: Uint8Array; signature: Uint8Array } {
  try {
    if (reader.remaining < AUTH_BYTES) throw new DecodeError(`${reader.remaining} bytes`);
    const id = new Uint8Array(reader.take(RELAY_ID_BYTES));
    const signature = readPostcardBytes(reader);
    if (signature.length !== SIGNATURE_BYTES) throw new DecodeError(`signature of ${signature.length} bytes`);
    return { id, signature };
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new RelayProtocolError('malformed', `authentication: ${error.message}`);
  }
}

function toBase64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}

function fromBase64Url(text: string): Uint8Array | undefined {
  if (text.length > MAX_RELAY_PAYLOAD_BYTES || !/^[A-Za-z0-9_-]*$/.test(text)) return undefined;
  if (text.length === 0) return EMPTY;
  try {
    const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
    return Uint8Array.from(binary, (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
