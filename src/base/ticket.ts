/**
 * Endpoint tickets: an endpoint's id and addresses as one word to copy and paste
 * (`iroh-tickets/src/endpoint.rs`, `iroh-base/src/endpoint_addr.rs`).
 *
 * `endpoint` followed by the lower-case base32 of
 * ```
 * | 0 (format) | id 32 B | n (varint) | n × address |
 * address = | 0 | length | URL |  or  | 1 | 0 | IPv4 4 B | port |  or  | 1 | 1 | IPv6 16 B | port |  or  | 2 | custom |
 * ```
 * with postcard's varints. Addresses are written sorted; any order and duplicates are read.
 *
 * @module
 */
import { DecodeError, Reader, Writer } from './bytes.ts';
import { decodeBase32, encodeBase32 } from './encoding.ts';
import { ENDPOINT_ID_BYTES, EndpointId } from './endpoint-id.ts';
import { ParseError } from './parse-error.ts';
import {
  readPostcardBig,
  readPostcardBytes,
  readPostcardNumber,
  readPostcardText,
  writePostcardBytes,
  writePostcardInteger,
  writePostcardText,
} from './postcard.ts';
import { RelayUrl } from './relay-url.ts';
import { toAddr } from './socket-addr.ts';
import { MAX_INLINE_CUSTOM_BYTES, type TransportAddr } from './transport-addr.ts';

const PREFIX = 'endpoint';

/** Longest ticket that we read, in characters: some 1,500 addresses, so that a hostile paste costs little. */
export const MAX_TICKET_CHARS = 65_536;

/** What a ticket carries. */
export interface TicketContent {
  readonly id: EndpointId;
  /** As on the wire: maybe unsorted, with duplicates. */
  readonly addrs: readonly TransportAddr[];
}

/** @param content - Its addresses sorted and without duplicates, as those of an `EndpointAddr` are. */
export function encodeTicket(content: TicketContent): string {
  const w = new Writer();
  writePostcardInteger(w, 0);
  w.put(content.id.toBytes());
  writePostcardInteger(w, content.addrs.length);
  for (const addr of content.addrs) writeTransportAddr(w, addr);
  return PREFIX + encodeBase32(w.written());
}

/**
 * Reads a ticket. Bytes after the last address are ignored, as upstream does.
 * @throws {ParseError} `Ticket.*`, `EndpointId.NotAPoint`, `RelayUrl`
 */
export function decodeTicket(text: string): TicketContent {
  if (text.length > MAX_TICKET_CHARS)
    throw new ParseError('ParseError.Ticket.TooLong', `ticket: over ${MAX_TICKET_CHARS} characters`);
  if (!text.startsWith(PREFIX))
    throw new ParseError('ParseError.Ticket.Prefix', `ticket: does not start with "${PREFIX}"`);
  let payload: Uint8Array;
  try {
    payload = decodeBase32(text.slice(PREFIX.length));
  } catch (cause) {
    throw new ParseError('ParseError.Ticket.Encoding', `ticket: ${(cause as Error).message}`, cause);
  }

  const reader = new Reader(payload);
  try {
    if (readPostcardNumber(reader, 32) !== 0)
      throw new ParseError('ParseError.Ticket.Variant', 'ticket: unknown format');
    const id = EndpointId.fromBytes(reader.take(ENDPOINT_ID_BYTES));
    return { id, addrs: readTransportAddrs(reader) };
  } catch (cause) {
    throw asParseError(cause);
  }
}

function asParseError(cause: unknown): unknown {
  if (!(cause instanceof DecodeError)) return cause;
  return new ParseError('ParseError.Ticket.Payload', `ticket: ${cause.message}`, cause);
}

/**
 * Custom addresses have two layouts that nothing tells apart: iroh up to 1.0.3 wrote its in-memory enum (`released`), later
 * sources write plain bytes (`plain`). Both are tried; the reading that ends at the last byte wins.
 */
type CustomLayout = 'plain' | 'released';

function readTransportAddrs(reader: Reader): TransportAddr[] {
  const start = reader.pos;
  const plain = tryLayout(reader, 'plain');
  if (Array.isArray(plain) && (reader.remaining === 0 || !plain.some((addr) => addr.type === 'custom')))
    return plain;
  reader.pos = start;
  const released = tryLayout(reader, 'released');
  if (Array.isArray(released) && (reader.remaining === 0 || !Array.isArray(plain))) return released;
  if (Array.isArray(plain)) return plain;
  throw plain.error;
}

function tryLayout(reader: Reader, layout: CustomLayout): TransportAddr[] | { error: unknown } {
  try {
    // Each address takes at least two bytes, so the loop ends with the input whatever the count says.
    const count = readPostcardNumber(reader, 64);
    const addrs: TransportAddr[] = [];
    for (let i = 0; i < count; i++) addrs.push(readTransportAddr(reader, layout));
    return addrs;
  } catch (error) {
    return { error };
  }
}

function readTransportAddr(reader: Reader, layout: CustomLayout): TransportAddr {
  const variant = readPostcardNumber(reader, 32);
  switch (variant) {
    case 0:
      return { type: 'relay', url: RelayUrl.parse(readPostcardText(reader)) };
    case 1: {
      const family = readPostcardNumber(reader, 32);
      if (family > 1) throw new ParseError('ParseError.Ticket.Variant', `ticket: IP family ${family}`);
      const ip = reader.take(family === 0 ? 4 : 16);
      return { type: 'ip', addr: toAddr(ip, readPostcardNumber(reader, 16)) };
    }
    case 2: {
      const id = readPostcardBig(reader, 64);
      const data = layout === 'plain' ? readPostcardBytes(reader) : readReleasedCustomData(reader);
      return { type: 'custom', id, data: data.slice() };
    }
    default:
      // There is no length to skip by, so what follows cannot be read either.
      throw new ParseError('ParseError.Ticket.Variant', `ticket: address of unknown kind ${variant}`);
  }
}

/** `| 0 | size | 30 bytes, zero-padded |` or `| 1 | length | bytes |` */
function readReleasedCustomData(reader: Reader): Uint8Array {
  const variant = readPostcardNumber(reader, 32);
  if (variant === 1) return readPostcardBytes(reader);
  if (variant !== 0) throw new DecodeError('custom address of unknown layout');
  const size = reader.u8();
  const padded = reader.take(MAX_INLINE_CUSTOM_BYTES);
  if (size > MAX_INLINE_CUSTOM_BYTES) throw new DecodeError('custom address longer than its field');
  return padded.subarray(0, size);
}

function writeTransportAddr(w: Writer, addr: TransportAddr): void {
  switch (addr.type) {
    case 'relay':
      writePostcardInteger(w, 0);
      writePostcardText(w, addr.url.href);
      break;
    case 'ip':
      writePostcardInteger(w, 1);
      writePostcardInteger(w, addr.addr.family === 4 ? 0 : 1);
      w.put(addr.addr.bytes);
      writePostcardInteger(w, addr.addr.port);
      break;
    case 'custom':
      writePostcardInteger(w, 2);
      writePostcardInteger(w, addr.id);
      // The layout that released versions of iroh read.
      if (addr.data.length <= MAX_INLINE_CUSTOM_BYTES) {
        writePostcardInteger(w, 0);
        w.u8(addr.data.length);
        w.put(addr.data);
        w.zeros(MAX_INLINE_CUSTOM_BYTES - addr.data.length);
      } else {
        writePostcardInteger(w, 1);
        writePostcardBytes(w, addr.data);
      }
  }
}
