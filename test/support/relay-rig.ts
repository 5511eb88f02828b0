/**
 * Relay managers of several endpoints around simulated relays, in virtual time.
 *
 * @module
 */
import { expect } from '@jest/globals';
import { ActorSystem, type ActorInspectionEvent } from '../../src/actors/actor-system.ts';
import { RelayManager, type RelayedDatagram } from '../../src/actors/relay-manager.ts';
import { Metrics, type MetricName } from '../../src/base/metrics.ts';
import { toHex } from '../../src/base/bytes.ts';
import { RelayUrl } from '../../src/base/relay-url.ts';
import { SecretKey } from '../../src/crypto/keys.ts';
import { RelayMap } from '../../src/relay/relay-map.ts';
import type { RelayStatus } from '../../src/relay/relay-status.ts';
import { Log } from '../../src/transport/log.ts';
import type { RelaySocket, WebSocketRequest } from '../../src/transport/relay-socket.ts';
import { SimRelays, SimRelaySocket, type SimRelay, type SimRelayOptions } from './sim-relay.ts';
import { SimWorld } from './sim-platform.ts';
import { SimRng } from './sim-rng.ts';

/** How a {@link RigPeer} is made. */
export interface RigPeerOptions {
  /** Fills the secret key; default: another one for each peer. */
  readonly key?: number;
  /** Undefined: hidden, as in browsers. */
  readonly ip?: string | undefined;
  /** Sees all that is dialled; may answer itself. */
  readonly openWebSocket?: (
    request: WebSocketRequest,
    dial: (request: WebSocketRequest) => Promise<RelaySocket>,
  ) => Promise<RelaySocket>;
  readonly inspect?: (event: ActorInspectionEvent) => void;
}

/** One endpoint, as relays know it. */
export class RigPeer {
  readonly manager: RelayManager;
  readonly id: Uint8Array;
  readonly metrics = new Metrics();
  readonly map: RelayMap;
  readonly system: ActorSystem;
  /** Datagrams as text. */
  readonly received: {
    readonly at: number;
    readonly text: string;
    readonly from: string;
    readonly url: string;
  }[] = [];
  readonly batches: (readonly RelayedDatagram[])[] = [];
  /** Ids that left, in hex. */
  readonly gone: string[] = [];
  readonly statuses: (RelayStatus | undefined)[] = [];
  /** Sockets so far; never more than one is open to the same relay. */
  readonly sockets: { readonly url: string; readonly socket: RelaySocket }[] = [];
  /** When each relay was dialled, in order. */
  readonly dials: { readonly at: number; readonly url: string }[] = [];
  readonly errors: unknown[] = [];
  readonly lines: string[] = [];
  readonly #world: SimWorld;

  constructor(rig: RelayRig, name: string, { key, ip, openWebSocket, inspect }: Required<RigPeerOptions>) {
    const { world, relays } = rig;
    this.#world = world;
    this.map = rig.map;
    const secretKey = SecretKey.fromBytes(new Uint8Array(32).fill(key));
    this.id = secretKey.publicKey.toBytes();
    this.system = new ActorSystem({
      clock: world.clock,
      inspect,
      onError: (_actor, error) => this.errors.push(error),
    });
    const dial = relays.dialler(ip);
    this.manager = new RelayManager({
      system: this.system,
      name,
      secretKey,
      platform: {
        clock: world.clock,
        rng: new SimRng(world.seed + key),
        openWebSocket: async (request) => {
          this.dials.push({ at: world.clock.now(), url: request.url.href });
          return this.#watch(request, await openWebSocket(request, dial));
        },
      },
      relays: this.map,
      log: new Log({ debug: (line) => this.lines.push(line) }),
      metrics: this.metrics,
    });
    this.manager.onDatagrams = (batch) => {
      this.batches.push(batch);
      for (const { url, from, data } of batch)
        this.received.push({
          at: world.clock.now(),
          text: new TextDecoder().decode(data),
          from: toHex(from),
          url: url.href,
        });
    };
    this.manager.onEndpointGone = (_url, id) => this.gone.push(toHex(id));
    this.manager.homeRelay.subscribe('test', (status) => this.statuses.push(status));
  }

  #watch({ url: { href } }: WebSocketRequest, socket: RelaySocket): RelaySocket {
    this.sockets.push({ url: href, socket });
    const open = this.sockets.filter(
      (each) => each.url === href && each.socket instanceof SimRelaySocket && !each.socket.isClosed,
    );
    if (open.length > 1) this.errors.push(new Error(`inv-C5: ${open.length} sockets to ${href}`));
    return socket;
  }

  /** Our end of the newest connection to a relay; its `peer` is the relay's end. */
  socketOf(relay: SimRelay): SimRelaySocket {
    const socket = this.sockets.findLast(({ url }) => url === relay.url.href)?.socket;
    if (!(socket instanceof SimRelaySocket)) throw new Error(`no socket to ${relay.url.href}`);
    return socket;
  }

  /** Sends texts to another peer over a relay. */
  send(relay: SimRelay | RelayUrl, to: RigPeer, ...texts: string[]): void {
    const datagrams = texts.map((text) => new TextEncoder().encode(text));
    const url = relay instanceof RelayUrl ? relay : relay.url;
    this.manager.send(url, to.id, datagrams, 0, datagrams.length);
    // Buffers are used again.
    for (const datagram of datagrams) datagram.fill(0);
  }

  get texts(): string[] {
    return this.received.map(({ text }) => text);
  }

  /** States of the home relay since the last call, each with its problem or error. */
  takeStatuses(): string[] {
    return this.statuses
      .splice(0)
      .map((status) =>
        status === undefined
          ? 'none'
          : [status.url.toUrl().hostname, status.state, status.problem ?? status.lastError?.code]
              .filter((part) => part !== undefined)
              .join(' '),
      );
  }

  count(name: MetricName): number {
    return this.metrics.value(name);
  }

  /** How the connection to a relay is. */
  stateOf(relay: SimRelay): RelayStatus['state'] | undefined {
    return this.manager.activeRelays().find(({ url }) => url.equals(relay.url))?.state;
  }

  close(): Promise<void> {
    return this.#world.run(this.manager.close(), 5_000);
  }
}

/** A world with relays and peers. */
export class RelayRig {
  readonly world: SimWorld;
  readonly relays: SimRelays;
  readonly map = new RelayMap();
  readonly peers: RigPeer[] = [];

  constructor(seed = 1) {
    this.world = new SimWorld(seed);
    this.relays = new SimRelays(this.world, new SimRng(seed));
  }

  /** @param authToken - What the map says; the relay asks for what `options.access` says. */
  addRelay(url: string, options: SimRelayOptions = {}, authToken?: string): SimRelay {
    const relay = this.relays.add(url, options);
    this.map.set({ url: relay.url, quicPort: undefined, authToken });
    return relay;
  }

  addPeer(options: RigPeerOptions = {}): RigPeer {
    const number = this.peers.length + 1;
    const peer = new RigPeer(this, `peer${number}`, {
      key: options.key ?? number,
      ip: 'ip' in options ? options.ip : `10.0.0.${number}`,
      openWebSocket: options.openWebSocket ?? ((request, dial) => dial(request)),
      inspect: options.inspect ?? (() => undefined),
    });
    this.peers.push(peer);
    return peer;
  }

  /** Lets virtual time pass. */
  run(ms: number): Promise<void> {
    return this.world.run(this.world.sleep(ms), ms);
  }

  /** Ends everything, and looks whether anything is left. */
  async close(): Promise<void> {
    for (const peer of this.peers) await peer.close();
    this.relays.close();
    await this.run(5_000);
    for (const { errors, system, manager } of this.peers) {
      expect(errors).toEqual([]);
      expect([...system.running]).toEqual([]);
      expect(manager.activeRelays()).toEqual([]);
    }
    expect(this.world.clock.pendingTimers).toBe(0);
  }
}
