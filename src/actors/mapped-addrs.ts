/**
 * Synthetic IPv6 addresses for what has no IP address: peers behind a relay or a custom transport, and peers of which several
 * addresses are known (upstream `iroh/src/socket/mapped_addrs.rs`).
 *
 * The engine knows IP addresses only. A mapped address never leaves the process: not on the wire, not in tickets, not in
 * events.
 *
 * @module
 */
import { equalBytes, toHex } from '../base/bytes.ts';
import { EndpointId } from '../base/endpoint-id.ts';
import type { RelayUrl } from '../base/relay-url.ts';
import type { RemoteAddr } from '../base/remote-addr.ts';
import { randomBytes, type Rng } from '../base/rng.ts';
import { toAddr, type Addr } from '../base/socket-addr.ts';
import type { PathKind } from '../machines/path-selection.ts';

/** `fd15:070a:510b::/48`: unique local prefix with upstream's global id. Then a 16-bit subnet and 64 random bits. */
const PREFIX = Uint8Array.of(0xfd, 0x15, 0x07, 0x0a, 0x51, 0x0b);
/** Subnet of endpoint ids; upstream `ENDPOINT_ID_SUBNET`. */
export const ENDPOINT_ID_SUBNET = 0;
/** Subnet of relay and endpoint id; upstream `RELAY_MAPPED_SUBNET`. */
export const RELAY_MAPPED_SUBNET = 1;
/** Subnet of custom addresses; upstream `CUSTOM_MAPPED_SUBNET`. */
export const CUSTOM_MAPPED_SUBNET = 3;
/** Port of every mapped address; upstream `MAPPED_PORT`. */
export const MAPPED_PORT = 12_345;
/** The local end of paths that start at no socket of ours; upstream `DEFAULT_FAKE_ADDR`. */
export const NO_SOCKET_ADDR = toAddr('fd15:70a:510b:0:ffff:ffff:ffff:ffff', MAPPED_PORT);
/** Mapped addresses kept that nobody holds: anybody on a relay can make us map one. Upstream never forgets. */
export const MAX_UNHELD_MAPPED_ADDRS = 4_096;

/** What a mapped address stands for. */
export type Mapped =
  /** Everything that is known of a peer: where first flights go. */
  { readonly type: 'endpoint'; readonly id: EndpointId } | Exclude<RemoteAddr, { type: 'ip' }>;

interface Entry {
  readonly addr: Addr;
  readonly key: string;
  readonly mapped: Mapped;
  holders: number;
  /** Custom addresses: where the transport said that the last datagram from there arrived. */
  arrivedAt: Uint8Array | undefined;
}

/** Both ways between mapped addresses and what they stand for. */
export class MappedAddrs {
  readonly #rng: Rng;
  readonly #byAddr = new Map<Addr, Entry>();
  readonly #byKey = new Map<string, Entry>();
  /** Oldest first. */
  readonly #unheld = new Set<Entry>();
  /** Datagrams of one relay mostly come from the same peer as the one before. Relays come and go. */
  readonly #lastOfRelay = new WeakMap<RelayUrl, { readonly from: Uint8Array; readonly entry: Entry }>();

  constructor(rng: Rng) {
    this.#rng = rng;
  }

  get size(): number {
    return this.#byAddr.size;
  }

  /** The address for first flights to a peer. */
  ofEndpoint(id: EndpointId): Addr {
    return this.#of(`endpoint ${id.toString()}`, ENDPOINT_ID_SUBNET, () => ({ type: 'endpoint', id })).addr;
  }

  /** The address of a peer on a relay. @param id - 32 bytes. */
  ofRelay(url: RelayUrl, id: Uint8Array): Addr {
    const last = this.#lastOfRelay.get(url);
    if (last !== undefined && equalBytes(last.from, id) && this.#byAddr.has(last.entry.addr))
      return last.entry.addr;
    const entry = this.#of(`${toHex(id)} ${url.href}`, RELAY_MAPPED_SUBNET, () => ({
      type: 'relay',
      url,
      endpointId: EndpointId.fromVerified(id.slice()),
    }));
    this.#lastOfRelay.set(url, { from: id.slice(), entry });
    return entry.addr;
  }

  /** The address of what a custom transport calls `data`. */
  ofCustom(id: bigint, data: Uint8Array): Addr {
    const key = `custom ${id.toString(16)}_${toHex(data)}`;
    return this.#of(key, CUSTOM_MAPPED_SUBNET, () => ({
      type: 'custom',
      id,
      // Not `slice`, which of a Buffer is a view.
      data: new Uint8Array(data),
    })).addr;
  }

  #of(key: string, subnet: number, make: () => Mapped): Entry {
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      // What is in use is forgotten last: a handshake that runs holds nothing yet.
      if (this.#unheld.delete(known)) this.#unheld.add(known);
      return known;
    }
    const entry: Entry = { addr: this.#draw(subnet), key, mapped: make(), holders: 0, arrivedAt: undefined };
    this.#byKey.set(key, entry);
    this.#byAddr.set(entry.addr, entry);
    this.#unheld.add(entry);
    if (this.#unheld.size > MAX_UNHELD_MAPPED_ADDRS) this.#forget(this.#unheld.values().next().value!);
    return entry;
  }

  #draw(subnet: number): Addr {
    for (;;) {
      const bytes = new Uint8Array(16);
      bytes.set(PREFIX);
      bytes[7] = subnet;
      bytes.set(randomBytes(this.#rng, 8), 8);
      const addr = toAddr(bytes, MAPPED_PORT);
      if (!this.#byAddr.has(addr) && addr !== NO_SOCKET_ADDR) return addr;
    }
  }

  #forget(entry: Entry): void {
    this.#unheld.delete(entry);
    this.#byAddr.delete(entry.addr);
    this.#byKey.delete(entry.key);
  }

  /** What an address stands for; undefined for one that is none of ours, however it looks: it is an IP address then. */
  lookup(addr: Addr): Mapped | undefined {
    // Nearly all addresses end here.
    if (addr.port !== MAPPED_PORT) return undefined;
    return this.#byAddr.get(addr)?.mapped;
  }

  /** As an application sees it, to keep. An endpoint's address is no place and must not get here. */
  describe(addr: Addr): RemoteAddr {
    const mapped = this.lookup(addr);
    // What the application does with these bytes must not change where datagrams go.
    if (mapped?.type === 'custom') return { ...mapped, data: mapped.data.slice() };
    return mapped === undefined || mapped.type === 'endpoint' ? { type: 'ip', addr } : mapped;
  }

  /** Notes at which of our addresses a datagram from a custom address arrived. `to` may change after the call. */
  noteArrival(from: Addr, to: Uint8Array): void {
    const entry = this.#byAddr.get(from);
    if (entry === undefined) return;
    // Nearly always the same as before.
    if (entry.arrivedAt === undefined || !equalBytes(entry.arrivedAt, to))
      entry.arrivedAt = new Uint8Array(to);
  }

  /** What {@link noteArrival} noted last, to keep. */
  arrivalFrom(from: Addr): Uint8Array | undefined {
    return from.port === MAPPED_PORT ? this.#byAddr.get(from)?.arrivedAt?.slice() : undefined;
  }

  /** What carries datagrams to an address. */
  kindOf(addr: Addr): PathKind {
    const mapped = this.lookup(addr);
    if (mapped === undefined || mapped.type === 'endpoint') return addr.family === 4 ? 'ipv4' : 'ipv6';
    return mapped.type;
  }

  /** Keeps an address until as many calls of {@link release}. Does nothing for IP addresses. */
  hold(addr: Addr): void {
    const entry = this.#byAddr.get(addr);
    if (entry === undefined) return;
    entry.holders++;
    this.#unheld.delete(entry);
  }

  release(addr: Addr): void {
    const entry = this.#byAddr.get(addr);
    if (entry === undefined || entry.holders === 0) return;
    entry.holders--;
    if (entry.holders > 0) return;
    // Late datagrams may still need it; it goes when others come.
    this.#unheld.add(entry);
    if (this.#unheld.size > MAX_UNHELD_MAPPED_ADDRS) this.#forget(this.#unheld.values().next().value!);
  }
}
