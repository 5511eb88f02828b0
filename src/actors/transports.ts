/**
 * The sockets of an endpoint as one: binds them, and picks the one that a datagram leaves from
 * (upstream `iroh/src/socket/transports.rs`).
 *
 * @module
 */
import { BindError, InvalidSocketAddrError } from '../base/errors.ts';
import { DecodeError } from '../base/bytes.ts';
import { parseAddr, type Addr } from '../base/socket-addr.ts';
import type { LocalSocket } from '../machines/direct-addrs.ts';
import type { Datagram, Transmit } from '../quic/engine.ts';
import type { DatagramTransport } from '../transport/datagram.ts';
import type { Platform } from '../transport/platform.ts';
import type { FirstFlights } from './first-flights.ts';

/** One address to bind. */
export interface BindOptions {
  /** `ip:port`, port 0 for any. */
  readonly addr: string;
  /** Destinations in this prefix of `addr` leave from this socket; 0 for all of the family (default). */
  readonly prefixLength?: number;
  /** Whether `bind` fails when this socket does (default true). */
  readonly required?: boolean;
  /** Whether destinations that match nothing leave from here (default: prefix length 0). */
  readonly defaultRoute?: boolean;
}

interface BoundSocket {
  readonly transport: DatagramTransport;
  readonly prefixLength: number;
  readonly isDefault: boolean;
  readonly requestedPort: number;
}

interface Plan {
  readonly addr: Addr;
  readonly prefixLength: number;
  readonly required: boolean;
  readonly isDefault: boolean;
}

/** What an endpoint binds without being told: any IPv4, and IPv6 where it exists. */
const WILDCARDS: readonly BindOptions[] = [{ addr: '0.0.0.0:0' }, { addr: '[::]:0', required: false }];

/** @throws {InvalidSocketAddrError} */
function plan(options: readonly (string | BindOptions)[]): Plan[] {
  const asked = options.map((option) => toPlan(typeof option === 'string' ? { addr: option } : option));
  for (const family of [4, 6] as const) {
    const defaults = asked.filter((each) => each.isDefault && each.addr.family === family);
    if (defaults.length > 1) {
      throw new InvalidSocketAddrError(
        'InvalidSocketAddr.DuplicateDefaultAddr',
        `two default addresses for IPv${family}`,
      );
    }
  }
  // A default address replaces the wildcard of its family; others are bound beside it.
  const wildcards = WILDCARDS.map(toPlan).filter(
    (wildcard) => !asked.some((each) => each.isDefault && each.addr.family === wildcard.addr.family),
  );
  return [...asked, ...wildcards];
}

function toPlan(option: BindOptions): Plan {
  let addr: Addr;
  try {
    addr = parseAddr(option.addr);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new InvalidSocketAddrError('InvalidSocketAddr.AddrParse', error.message, error);
  }
  const prefixLength = option.prefixLength ?? 0;
  if (!Number.isInteger(prefixLength) || prefixLength < 0 || prefixLength > addr.bytes.length * 8) {
    throw new InvalidSocketAddrError(
      'InvalidSocketAddr.InvalidPrefixLength',
      `prefix length ${prefixLength} for ${addr.text}`,
    );
  }
  return {
    addr,
    prefixLength,
    required: option.required ?? true,
    isDefault: option.defaultRoute ?? prefixLength === 0,
  };
}

/** All sockets of one endpoint. */
export class Transports {
  onDatagrams: ((batch: readonly Datagram[]) => void) | undefined;
  onDrained: (() => void) | undefined;
  readonly #sockets: BoundSocket[];
  readonly #firstFlights: FirstFlights;
  readonly #one: Transmit[] = [];

  private constructor(sockets: BoundSocket[], firstFlights: FirstFlights) {
    // Longest prefix first: the first match is the best.
    this.#sockets = sockets.sort((a, b) => b.prefixLength - a.prefixLength);
    this.#firstFlights = firstFlights;
    for (const { transport } of sockets) {
      transport.onDatagrams = (batch) => this.onDatagrams?.(batch);
      transport.onDrained = () => {
        if (this.queued === 0) this.onDrained?.();
      };
    }
  }

  /** @throws {BindError | InvalidSocketAddrError} */
  static async bind(
    options: readonly (string | BindOptions)[],
    platform: Platform,
    firstFlights: FirstFlights,
  ): Promise<Transports> {
    const sockets: BoundSocket[] = [];
    const plans = plan(options);
    const { bindUdp } = platform;
    if (bindUdp === undefined)
      throw new BindError('BindError.CreateQuicEndpoint', 'this platform has no UDP sockets');
    for (const { addr, prefixLength, required, isDefault } of plans) {
      try {
        const transport = await bindUdp({ ip: addr.ip, port: addr.port });
        sockets.push({ transport, prefixLength, isDefault, requestedPort: addr.port });
      } catch (error) {
        if (!required) continue;
        await Promise.all(sockets.map(({ transport }) => transport.close()));
        throw new BindError('BindError.Sockets', `cannot bind ${addr.text}`, error);
      }
    }
    if (sockets.length === 0) throw new BindError('BindError.CreateQuicEndpoint', 'no socket could be bound');
    return new Transports(sockets, firstFlights);
  }

  /** Where each socket is bound, and which port was asked for. */
  get sockets(): LocalSocket[] {
    return this.#sockets.map(({ transport, requestedPort }) => ({
      addr: transport.localAddr,
      requestedPort,
    }));
  }

  get localAddrs(): Addr[] {
    return this.#sockets.map(({ transport }) => transport.localAddr);
  }

  get queued(): number {
    let queued = 0;
    for (const { transport } of this.#sockets) queued += transport.queued;
    return queued;
  }

  get sendErrors(): number {
    let errors = 0;
    for (const { transport } of this.#sockets) errors += transport.sendErrors;
    return errors;
  }

  /** Sends a batch: runs of one destination go to one socket with one call. */
  send(batch: readonly Transmit[]): void {
    let start = 0;
    while (start < batch.length) {
      const { to, local } = batch[start]!;
      let end = start + 1;
      while (end < batch.length && batch[end]!.to === to && batch[end]!.local === local) end++;
      const targets = this.#firstFlights.targetsOf(to);
      if (targets === undefined) this.#route(to, local)?.send(batch, start, end);
      else this.#sendToAll(batch, start, end, targets);
      start = end;
    }
  }

  /** The first flight of a dial goes to every address that is known (upstream: mixed address). */
  #sendToAll(batch: readonly Transmit[], start: number, end: number, targets: readonly Addr[]): void {
    for (const to of targets) {
      const transport = this.#route(to, undefined);
      for (let i = start; i < end && transport !== undefined; i++) {
        this.#one[0] = { to, local: undefined, data: batch[i]!.data };
        transport.send(this.#one, 0, 1);
      }
    }
  }

  /** The socket for a destination; undefined: no route, the datagram counts as lost. */
  #route(to: Addr, local: Addr | undefined): DatagramTransport | undefined {
    let fallback: DatagramTransport | undefined;
    for (const { transport, prefixLength, isDefault } of this.#sockets) {
      const bound = transport.localAddr;
      if (bound.family !== to.family) continue;
      if (local !== undefined) {
        if (bound === local) return transport;
      } else if (prefixLength > 0 && sharesPrefix(bound.bytes, to.bytes, prefixLength)) {
        return transport;
      }
      if (isDefault) fallback ??= transport;
    }
    return fallback;
  }

  async close(): Promise<void> {
    await Promise.all(this.#sockets.map(({ transport }) => transport.close()));
  }
}

function sharesPrefix(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  for (let i = 0; i < bits; i += 8) {
    const mask = bits - i >= 8 ? 0xff : (0xff << (8 - (bits - i))) & 0xff;
    if ((a[i / 8]! & mask) !== (b[i / 8]! & mask)) return false;
  }
  return true;
}
