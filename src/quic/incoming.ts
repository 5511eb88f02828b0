/**
 * Connection attempts that the application has not decided about, with what arrived for them so far (RFC 9000 §5.2.2;
 * limits as noq `noq-proto/src/endpoint.rs`).
 *
 * @module
 */
import { Reader } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';
import { peekClientHello } from '../tls/client-hello.ts';
import type { Datagram, IncomingRef } from './engine.ts';
import { TransportError } from './transport-error.ts';
import { decodeFrame } from './wire/frames.ts';
import type { NumberedHeader } from './wire/packet.ts';
import { removeHeaderProtection, type PacketKeys } from './wire/protection.ts';

/** Undecided attempts at a time; more are dropped. noq `max_incoming`. */
export const MAX_INCOMING = 65_536;
/** Bytes kept per attempt, and for all of them together; noq `incoming_buffer_size`, `incoming_buffer_size_total`. */
export const MAX_INCOMING_BUFFER_BYTES = 10 * 1_024 * 1_024;
export const MAX_INCOMING_TOTAL_BYTES = 100 * 1_024 * 1_024;
/** Counted for each kept datagram beside its bytes: a flood of tiny ones costs objects. */
export const KEPT_DATAGRAM_BYTES = 256;
/** Header protection needs this much after the start of the packet number (RFC 9001 §5.4.2). */
const MIN_PROTECTED_BYTES = 20;
/** Reserved bits of a long header (RFC 9000 §17.2). */
const RESERVED_BITS = 0x0c;

/** Initial keys of a client's destination cid, as the server uses them. */
export interface InitialKeys {
  readonly read: PacketKeys;
  readonly write: PacketKeys;
}

/** What a token says about a client's address. */
export interface AddressProof {
  readonly validated: boolean;
  /** Set when it was a Retry token. */
  readonly retry: { readonly originalDcid: Uint8Array; readonly retryScid: Uint8Array } | undefined;
}

/** A packet that was decrypted: its frames, in memory of their own. */
export interface OpenedPacket {
  readonly payload: Uint8Array;
  readonly packetNumber: number;
}

/** Bytes that keeping `datagram` counts for. */
export function keptBytes(datagram: Datagram): number {
  return datagram.data.length + KEPT_DATAGRAM_BYTES;
}

/** An undecided attempt. */
export class PendingIncoming implements IncomingRef {
  readonly remote: Addr;
  readonly local: Addr;
  readonly remoteValidated: boolean;
  /** Destination and source cid of the client's Initial; copies. */
  readonly dcid: Uint8Array;
  readonly scid: Uint8Array;
  /** {@link dcid} as the key under which the attempt is found. */
  readonly route: string;
  /** Undefined after {@link release}. */
  keys: InitialKeys | undefined;
  readonly retry: AddressProof['retry'];
  readonly receivedAt: Millis;
  /** Everything that arrived, the first Initial first. */
  readonly datagrams: Datagram[] = [];
  /** What {@link datagrams} count for. */
  bytes = 0;
  isDecided = false;
  /** The first packet of the first datagram, decrypted. Undefined after {@link release}. */
  first: OpenedPacket | undefined;

  constructor(
    datagram: Datagram,
    header: NumberedHeader,
    route: string,
    keys: InitialKeys,
    first: OpenedPacket,
    proof: AddressProof,
    now: Millis,
  ) {
    this.remote = datagram.from;
    this.local = datagram.local;
    // Not slice(): sockets of Node hand out Buffers, whose slices are views.
    this.dcid = new Uint8Array(header.dcid);
    this.scid = new Uint8Array(header.scid);
    this.route = route;
    this.keys = keys;
    this.remoteValidated = proof.validated;
    this.retry = proof.retry;
    this.receivedAt = now;
    this.first = first;
    this.push(datagram);
  }

  /** Keeps a datagram; the owner looks after the limits. */
  push(datagram: Datagram): void {
    this.datagrams.push(datagram);
    this.bytes += keptBytes(datagram);
  }

  /** Drops what only a decision needs: the application may hold the attempt for as long as its connection lives. */
  release(): void {
    this.keys = undefined;
    this.first = undefined;
    this.datagrams.length = 0;
  }

  get offeredAlpns(): readonly Uint8Array[] | undefined {
    if (this.first === undefined) return undefined;
    return peekClientHello(cryptoPrefix(this.first.payload))?.alpns;
  }
}

/** The CRYPTO bytes of a packet from offset 0 on, as far as they are contiguous. */
function cryptoPrefix(payload: Uint8Array): Uint8Array {
  const pieces: { readonly offset: number; readonly data: Uint8Array }[] = [];
  const reader = new Reader(payload);
  try {
    while (reader.remaining > 0) {
      const frame = decodeFrame(reader, 'initial');
      if (frame.type === 'crypto') pieces.push(frame);
    }
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
  }
  pieces.sort((a, b) => a.offset - b.offset);
  const prefix = new Uint8Array(payload.length);
  let length = 0;
  for (const { offset, data } of pieces) {
    if (offset > length) break;
    prefix.set(data.subarray(length - offset), length);
    length = Math.max(length, offset + data.length);
  }
  return prefix.subarray(0, length);
}

/**
 * Opens a client's first Initial without touching the datagram: what does not authenticate deserves no state.
 * @returns The packet, or undefined.
 */
export function openFirstInitial(
  datagram: Datagram,
  header: NumberedHeader,
  keys: PacketKeys,
): OpenedPacket | undefined {
  const { pnOffset } = header;
  if (header.end - pnOffset < MIN_PROTECTED_BYTES) return undefined;
  const bytes = new Uint8Array(datagram.data.subarray(0, header.end));
  const mask = keys.headerKey.masks(bytes.subarray(pnOffset + 4, pnOffset + 20), 1);
  const pnLength = removeHeaderProtection(bytes, 0, pnOffset, mask, 0);
  // The first packet of its space: the truncated number is the number (RFC 9000 §A.3).
  let packetNumber = 0;
  for (let i = 0; i < pnLength; i++) packetNumber = packetNumber * 256 + bytes[pnOffset + i]!;
  const nonce = new Uint8Array(12);
  keys.writeNonce(nonce, 0, packetNumber);
  const payload = keys.aead.open({
    bytes,
    headerStart: 0,
    payloadStart: pnOffset + pnLength,
    payloadEnd: header.end,
    nonce,
  });
  // A violation of RFC 9000 §17.2; as nothing is known of the sender, dropped (noq does the same).
  return payload !== undefined && (bytes[0]! & RESERVED_BITS) === 0 ? { payload, packetNumber } : undefined;
}
