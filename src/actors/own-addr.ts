/**
 * Where an endpoint is, as it tells others: what its actors found out, and what the application says. Lookup services are told
 * of each change.
 *
 * @module
 */
import { BehaviorSubject } from 'rxjs';
import { MAX_USER_DATA_BYTES } from '../address-lookup/endpoint-info.ts';
import { utf8 } from '../base/bytes.ts';
import { EndpointAddr } from '../base/endpoint-addr.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { TransportAddr } from '../base/transport-addr.ts';
import type { LookupRegistry } from './lookup-registry.ts';
import type { RelayManager } from './relay-manager.ts';
import type { SocketActor } from './socket.ts';

/** How an {@link OwnAddr} is made. */
export interface OwnAddrOptions {
  readonly id: EndpointId;
  /** Whom it is that listens, for whoever watches. */
  readonly name: string;
  readonly lookup: LookupRegistry;
  readonly externalAddrs: readonly Addr[];
  readonly userData: string | undefined;
  readonly customAddrs: () => readonly TransportAddr[];
}

/** The address of one endpoint. */
export class OwnAddr {
  readonly addr$: BehaviorSubject<EndpointAddr>;
  /** What the application says about where we are. */
  readonly external: Set<Addr>;
  readonly #options: OwnAddrOptions;
  #userData: string | undefined;
  #socket: SocketActor | undefined;
  #relayManager: RelayManager | undefined;
  #isEnded = false;

  constructor(options: OwnAddrOptions) {
    this.#options = options;
    this.external = new Set(options.externalAddrs);
    this.#userData = options.userData;
    this.addr$ = new BehaviorSubject(new EndpointAddr(options.id));
  }

  /** Follows what the actors find out. */
  follow(socket: SocketActor, relayManager: RelayManager | undefined): void {
    this.#socket = socket;
    this.#relayManager = relayManager;
    const refresh = (): void => this.refresh();
    socket.directAddrs.subscribe(this.#options.name, refresh);
    relayManager?.homeRelay.subscribe(this.#options.name, refresh);
  }

  /** Puts the address together anew. */
  refresh(): void {
    const addr = this.#compose();
    if (!this.#isEnded && !addr.equals(this.addr$.value)) this.addr$.next(addr);
  }

  #compose(): EndpointAddr {
    const home = this.#relayManager?.homeRelay.value;
    // What the application says counts at once; the socket actor hears of it in a moment.
    const found = (this.#socket?.directAddrs.value ?? []).filter(({ type }) => type !== 'config');
    const direct = [...found.map(({ addr }) => addr), ...this.external];
    return new EndpointAddr(this.#options.id, [
      ...direct.map((addr) => ({ type: 'ip', addr }) as const),
      ...this.#options.customAddrs(),
      ...(home === undefined ? [] : [{ type: 'relay', url: home.url } as const]),
    ]);
  }

  /** Tells lookup services. */
  publish(): void {
    if (this.#isEnded) return;
    this.refresh();
    this.#options.lookup.publish({ addr: this.addr$.value, userData: this.#userData });
  }

  /** What lookup services publish beside the address. */
  get userData(): string | undefined {
    return this.#userData;
  }

  set userData(userData: string | undefined) {
    if (userData === this.#userData || this.#isEnded) return;
    this.#userData = userData;
    this.publish();
  }

  addExternal(addr: Addr): void {
    if (this.#isEnded) return;
    this.external.add(addr);
    this.#changed();
  }

  /** @returns whether it was there; false once the endpoint closes. */
  deleteExternal(addr: Addr): boolean {
    if (this.#isEnded || !this.external.delete(addr)) return false;
    this.#changed();
    return true;
  }

  #changed(): void {
    this.refresh();
    this.#socket?.sender('application').send({ type: 'directRefresh' });
  }

  /** The endpoint closes: the address stays as it is. */
  freeze(): void {
    this.#isEnded = true;
  }
}

/** Text that lookup services can publish, or none. @throws {RangeError} when it is too long. */
export function checkUserData(userData: string | undefined): string | undefined {
  if (userData !== undefined && utf8(userData).length > MAX_USER_DATA_BYTES)
    throw new RangeError(`user data has at most ${MAX_USER_DATA_BYTES} bytes`);
  return userData;
}
