/**
 * Signed packets of pkarr: a DNS message that the key in its names has signed (https://pkarr.org `design/base.md`; upstream
 * `iroh-dns/src/pkarr.rs`).
 *
 * ```text
 * key 32 | signature 64 | timestamp 8, µs since 1970 | DNS message, up to 1,000 bytes
 * ```
 *
 * What HTTP carries ("relay payload") is all of it but the key. The signature is that of a mutable item in the DHT (BEP 44):
 * over `3:seqi<timestamp>e1:v<length>:` and the message.
 *
 * @module
 */
import { concatBytes, fromUtf8, utf8 } from '../base/bytes.ts';
import { ENDPOINT_ID_BYTES, EndpointId } from '../base/endpoint-id.ts';
import { DnsError, PkarrError } from '../base/errors.ts';
import { SIGNATURE_BYTES, Signature, type SecretKey } from '../crypto/keys.ts';
import {
  CLASS_IN,
  decodeDnsMessage,
  decodeTxt,
  EMPTY_MESSAGE,
  encodeDnsMessage,
  encodeTxt,
  FLAG_RESPONSE,
  TYPE_TXT,
  type DnsMessage,
} from '../dns/message.ts';
import { isSameName } from '../dns/name.ts';
import { txtNameOf } from './endpoint-info.ts';

/** What the DHT takes, and so do servers. */
export const MAX_PACKET_DNS_BYTES = 1_000;
const TIMESTAMP_BYTES = 8;
/** Signature and timestamp, in front of the records. */
export const PAYLOAD_HEADER_BYTES = SIGNATURE_BYTES + TIMESTAMP_BYTES;
/** Most bytes of what HTTP carries. */
export const MAX_RELAY_PAYLOAD_BYTES = PAYLOAD_HEADER_BYTES + MAX_PACKET_DNS_BYTES;
/** A TXT record without its text: a pointer to the name, type, class, TTL, and two lengths. */
const REPEATED_RECORD_BYTES = 2 + 10 + 1;
/** Seconds that others may keep a record; upstream `DEFAULT_PKARR_TTL`. */
export const DEFAULT_PKARR_TTL_S = 30;

/** What is signed, and when. */
export interface PacketContents {
  /** TXT records under `_iroh`, as `toTxtStrings` makes them. */
  readonly strings: readonly string[];
  /** Microseconds since 1970; more than in any packet before. */
  readonly timestampMicros: bigint;
  /** Default 30. */
  readonly ttlSeconds?: number | undefined;
}

/** A packet whose signature is right. Immutable. */
export class SignedPacket {
  /** Who signed it. */
  readonly id: EndpointId;
  /** Microseconds since 1970 on the signer's clock. */
  readonly timestampMicros: bigint;
  readonly message: DnsMessage;
  readonly #payload: Uint8Array;

  private constructor(id: EndpointId, timestampMicros: bigint, message: DnsMessage, payload: Uint8Array) {
    this.id = id;
    this.timestampMicros = timestampMicros;
    this.message = message;
    this.#payload = payload;
  }

  /** @throws {PkarrError} `TooLong`; {@link DnsError} `TooLong` for a string above 255 bytes. */
  static sign(key: SecretKey, { strings, timestampMicros, ttlSeconds }: PacketContents): SignedPacket {
    const dns = encodeDnsMessage(toMessage(key.publicKey, strings, ttlSeconds));
    if (dns.length > MAX_PACKET_DNS_BYTES)
      throw new PkarrError('PkarrError.TooLong', `${dns.length} bytes of records do not fit`);
    const timestamp = new Uint8Array(TIMESTAMP_BYTES);
    new DataView(timestamp.buffer).setBigUint64(0, timestampMicros);
    const payload = concatBytes(key.sign(signable(timestampMicros, dns)).toBytes(), timestamp, dns);
    return new SignedPacket(
      key.publicKey,
      timestampMicros,
      decodeDnsMessage(payload.slice(PAYLOAD_HEADER_BYTES)),
      payload,
    );
  }

  /**
   * Reads what a server has for a key. Whether it is new is for others to say.
   *
   * @param payload - Copied.
   * @throws {PkarrError} `TooShort`, `TooLong`, `Signature`, `Dns`
   */
  static verify(id: EndpointId, payload: Uint8Array): SignedPacket {
    const own = new Uint8Array(payload);
    const { signature, message } = signedParts(own);
    // First, so that nothing else looks at bytes of who has not the key.
    if (!Signature.fromBytes(signature).verify(id, message))
      throw new PkarrError('PkarrError.Signature', `a packet that ${id.short()} has not signed`);
    return SignedPacket.fromVerified(id, own);
  }

  /**
   * Reads a packet whose signature somebody has verified ({@link signedParts}).
   *
   * @param own - Not copied, and not changed afterwards.
   * @throws {PkarrError} `Dns`
   */
  static fromVerified(id: EndpointId, own: Uint8Array): SignedPacket {
    const dns = own.subarray(PAYLOAD_HEADER_BYTES);
    const timestampMicros = timestampOf(own);
    try {
      return new SignedPacket(id, timestampMicros, decodeDnsMessage(dns), own);
    } catch (cause) {
      if (!(cause instanceof DnsError)) throw cause;
      throw new PkarrError('PkarrError.Dns', `a signed packet with no DNS message: ${cause.message}`, {
        cause,
      });
    }
  }

  /** As {@link verify}, with the key in front. @throws {PkarrError}; {@link ParseError} `EndpointId` */
  static fromBytes(bytes: Uint8Array): SignedPacket {
    if (bytes.length < ENDPOINT_ID_BYTES)
      throw new PkarrError('PkarrError.TooShort', `a signed packet of ${bytes.length} bytes`);
    const id = EndpointId.fromBytes(bytes.subarray(0, ENDPOINT_ID_BYTES));
    return SignedPacket.verify(id, bytes.subarray(ENDPOINT_ID_BYTES));
  }

  /** The TXT records under `_iroh`, those that can be read, each with its strings joined. */
  txtStrings(): string[] {
    const name = txtNameOf(this.id);
    return this.message.answers.flatMap((record) => {
      if (record.type !== TYPE_TXT || record.class !== CLASS_IN || !isSameName(record.name, name)) return [];
      try {
        return [fromUtf8(decodeTxt(record.data))];
      } catch {
        return [];
      }
    });
  }

  /** Of two packets of one key the newer one counts: by timestamp, and by the bytes of the message when that is the same. */
  isNewerThan(other: SignedPacket): boolean {
    if (this.timestampMicros !== other.timestampMicros) return this.timestampMicros > other.timestampMicros;
    const [ours, theirs] = [this.#payload, other.#payload].map((bytes) =>
      bytes.subarray(PAYLOAD_HEADER_BYTES),
    );
    for (let i = 0; i < Math.min(ours!.length, theirs!.length); i++)
      if (ours![i] !== theirs![i]) return ours![i]! > theirs![i]!;
    return ours!.length > theirs!.length;
  }

  /** What HTTP carries: signature, timestamp, message. A copy. */
  toRelayPayload(): Uint8Array {
    return this.#payload.slice();
  }

  /** All of it, the key in front. */
  toBytes(): Uint8Array {
    return concatBytes(this.id.toBytes(), this.#payload);
  }
}

/**
 * Those of the strings that fit into one packet. Addresses are given up first, from the last one on: without the relay nobody
 * gets far, and the application's text is one.
 */
export function fitIntoPacket(
  id: EndpointId,
  strings: readonly string[],
  maxDnsBytes: number = MAX_PACKET_DNS_BYTES,
): string[] {
  const first = encodeDnsMessage(toMessage(id, [''])).length;
  const sizes = strings.map((string) => REPEATED_RECORD_BYTES + utf8(string).length);
  let size = first - REPEATED_RECORD_BYTES + sizes.reduce((sum, each) => sum + each, 0);
  const fitting = strings.map((string, i) => ({ string, size: sizes[i]! }));
  while (size > maxDnsBytes) {
    const lastAddr = fitting.findLastIndex(({ string }) => string.startsWith('addr='));
    // -1 is the last one of all.
    size -= fitting.splice(lastAddr, 1)[0]!.size;
  }
  return fitting.map(({ string }) => string);
}

/**
 * What of a relay payload is the signature, and what it has to be over.
 * @throws {PkarrError} `TooShort`, `TooLong`
 */
export function signedParts(payload: Uint8Array): {
  readonly signature: Uint8Array;
  readonly message: Uint8Array;
} {
  if (payload.length < PAYLOAD_HEADER_BYTES)
    throw new PkarrError('PkarrError.TooShort', `a signed packet of ${payload.length} bytes`);
  if (payload.length > MAX_RELAY_PAYLOAD_BYTES)
    throw new PkarrError('PkarrError.TooLong', `a signed packet of ${payload.length} bytes`);
  return {
    signature: payload.subarray(0, SIGNATURE_BYTES),
    message: signable(timestampOf(payload), payload.subarray(PAYLOAD_HEADER_BYTES)),
  };
}

function timestampOf(payload: Uint8Array): bigint {
  return new DataView(payload.buffer, payload.byteOffset).getBigUint64(SIGNATURE_BYTES);
}

function toMessage(
  id: EndpointId,
  strings: readonly string[],
  ttlSeconds: number = DEFAULT_PKARR_TTL_S,
): DnsMessage {
  const name = txtNameOf(id);
  const answers = strings.map((string) => ({
    name,
    type: TYPE_TXT,
    class: CLASS_IN,
    ttl: ttlSeconds,
    data: encodeTxt([utf8(string)]),
  }));
  return { ...EMPTY_MESSAGE, flags: FLAG_RESPONSE, answers };
}

function signable(timestampMicros: bigint, dns: Uint8Array): Uint8Array {
  return concatBytes(utf8(`3:seqi${timestampMicros}e1:v${dns.length}:`), dns);
}
