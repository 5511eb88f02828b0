/**
 * What is needed to dial an endpoint: its id and, if known, where it can be reached.
 *
 * @module
 */
import { EndpointId } from './endpoint-id.ts';
import { ParseError } from './parse-error.ts';
import type { RelayUrl } from './relay-url.ts';
import type { Addr } from './socket-addr.ts';
import { decodeTicket, encodeTicket } from './ticket.ts';
import {
  compareTransportAddrs,
  formatTransportAddr,
  sortedTransportAddrs,
  transportAddrFromJson,
  transportAddrToJson,
  type TransportAddr,
  type TransportAddrJson,
} from './transport-addr.ts';

/** JSON as serde writes it for the Rust type. */
export interface EndpointAddrJson {
  /** 64 lower-case hex characters. */
  readonly id: string;
  /** In the order of {@link EndpointAddr.addrs}. */
  readonly addrs: readonly TransportAddrJson[];
}

/** An endpoint id with a sorted set of addresses, maybe empty. Immutable. */
export class EndpointAddr {
  /** Whom one reaches there. */
  readonly id: EndpointId;
  /** Sorted, without duplicates. */
  readonly addrs: readonly TransportAddr[];

  /** @param addrs - In any order, with or without duplicates. */
  constructor(id: EndpointId, addrs: Iterable<TransportAddr> = []) {
    this.id = id;
    this.addrs = sortedTransportAddrs(addrs);
  }

  /**
   * Takes what a user may dial: an address, an id, or the text of a ticket or an id.
   * @throws {ParseError}; TypeError for anything else.
   */
  static from(value: EndpointAddr | EndpointId | string): EndpointAddr {
    if (value instanceof EndpointAddr) return value;
    if (value instanceof EndpointId) return new EndpointAddr(value);
    if (typeof value !== 'string')
      throw new TypeError(
        `whom to dial: expected an EndpointAddr, an EndpointId or text, got ${typeof value}`,
      );
    // A base32 id may start like a ticket, but has 52 characters where the shortest ticket has 63.
    return value.startsWith('endpoint') && value.length > 52
      ? EndpointAddr.fromTicket(value)
      : new EndpointAddr(EndpointId.parse(value));
  }

  /** Reads a ticket (`endpoint…`). @throws {ParseError} */
  static fromTicket(text: string): EndpointAddr {
    const { id, addrs } = decodeTicket(text);
    return new EndpointAddr(id, addrs);
  }

  /** The reverse of {@link toJSON}. @throws {ParseError} */
  static fromJSON(json: unknown): EndpointAddr {
    if (
      typeof json !== 'object' ||
      json === null ||
      !('id' in json && typeof json.id === 'string') ||
      !('addrs' in json && Array.isArray(json.addrs))
    )
      throw new ParseError('ParseError.EndpointAddr', 'endpoint address: JSON of another shape');
    return new EndpointAddr(EndpointId.parse(json.id), json.addrs.map(transportAddrFromJson));
  }

  /** The relays among the addresses. In practice none or one. */
  get relays(): RelayUrl[] {
    return this.addrs.flatMap((addr) => (addr.type === 'relay' ? [addr.url] : []));
  }

  /** The IP addresses among the addresses. */
  get ips(): Addr[] {
    return this.addrs.flatMap((addr) => (addr.type === 'ip' ? [addr.addr] : []));
  }

  /** True when nothing but the id is known. */
  get isEmpty(): boolean {
    return this.addrs.length === 0;
  }

  /** A copy with more addresses. */
  withAddrs(addrs: Iterable<TransportAddr>): EndpointAddr {
    return new EndpointAddr(this.id, [...this.addrs, ...addrs]);
  }

  /** A copy with one more relay. */
  withRelay(url: RelayUrl): EndpointAddr {
    return this.withAddrs([{ type: 'relay', url }]);
  }

  /** A copy with one more IP address. */
  withIp(addr: Addr): EndpointAddr {
    return this.withAddrs([{ type: 'ip', addr }]);
  }

  /** A ticket: one word to copy and paste. */
  toTicket(): string {
    return encodeTicket(this);
  }

  /** True for the same id and the same set of addresses. */
  equals(other: EndpointAddr): boolean {
    return (
      this.id.equals(other.id) &&
      this.addrs.length === other.addrs.length &&
      this.addrs.every((addr, i) => compareTransportAddrs(addr, other.addrs[i]!) === 0)
    );
  }

  /** As serde writes it for the Rust type; {@link fromJSON} reads it. */
  toJSON(): EndpointAddrJson {
    return { id: this.id.toString(), addrs: this.addrs.map(transportAddrToJson) };
  }

  /** For logs: the id and all addresses. {@link toTicket} is what others can read. */
  toString(): string {
    return [this.id.toString(), ...this.addrs.map(formatTransportAddr)].join(' ');
  }
}
