/**
 * A socket actor alone in virtual time: its surroundings are scripts, and everything that it does is written down.
 *
 * @module
 */
import { ActorSystem, type ActorInspectionEvent } from '../../src/actors/actor-system.ts';
import { SocketActor, type NetworkNotice, type OwnAddrs } from '../../src/actors/socket.ts';
import type { Millis } from '../../src/base/clock.ts';
import { Metrics } from '../../src/base/metrics.ts';
import { RelayUrl } from '../../src/base/relay-url.ts';
import { toAddr, type Addr } from '../../src/base/socket-addr.ts';
import type { LocalSocket } from '../../src/machines/direct-addrs.ts';
import type { NetReport } from '../../src/net-report/report.ts';
import { RelayMap } from '../../src/relay/relay-map.ts';
import type { Watch } from '../../src/transport/channel.ts';
import { Log } from '../../src/transport/log.ts';
import { SimWorld, type SimHostNetwork } from './sim-platform.ts';

/** A report that found nothing. */
export const EMPTY_REPORT: NetReport = {
  udpV4: false,
  udpV6: false,
  mappingVariesByDestV4: undefined,
  mappingVariesByDestV6: undefined,
  preferredRelay: undefined,
  latencies: [],
  globalV4: undefined,
  globalV6: undefined,
  captivePortal: undefined,
};

/** A run that was asked for. */
export interface ReportRun {
  readonly isFull: boolean;
  readonly at: Millis;
  readonly signal: AbortSignal;
  finish(report?: Partial<NetReport>): void;
  fail(error: Error): void;
}

export interface SocketRigOptions {
  readonly seed?: number;
  /** How many relays the map has; default 1. */
  readonly relays?: number;
  /** How long a report takes by itself; undefined: until the test ends it. */
  readonly reportMs?: Millis;
  readonly report?: () => Partial<NetReport>;
  readonly sockets?: readonly LocalSocket[];
  readonly ips?: readonly string[];
  readonly rebind?: () => Promise<void>;
  readonly inspect?: (event: ActorInspectionEvent) => void;
  /** Whether there is a port mapper, whose word is the test's. */
  readonly hasPortMapper?: boolean;
}

export class SocketRig {
  readonly world: SimWorld;
  readonly system: ActorSystem;
  readonly network: SimHostNetwork;
  readonly relays: RelayMap;
  readonly metrics = new Metrics();
  readonly homeRelay: Watch<{ readonly url: RelayUrl } | undefined>;
  /** What the router says, if there is a port mapper. */
  readonly mappedAddr: Watch<Addr | undefined>;
  readonly externalAddrs = new Set<Addr>();
  readonly actor: SocketActor;
  readonly runs: ReportRun[] = [];
  /** What happened, in order: `<ms> <what>`. */
  readonly story: { readonly at: Millis; readonly what: string }[] = [];
  readonly notices: (NetworkNotice & { readonly at: Millis })[] = [];
  readonly published: OwnAddrs[] = [];
  readonly errors: unknown[] = [];
  ipv6Works: boolean | undefined;
  sockets: readonly LocalSocket[];

  constructor(options: SocketRigOptions = {}) {
    const { seed = 1, relays = 1, ips = ['192.0.2.7'] } = options;
    this.world = new SimWorld(seed);
    const { clock } = this.world;
    const host = this.world.addHost('host', ips);
    if (options.hasPortMapper === true) host.gatewayIp = '192.0.2.1';
    this.network = this.world.interfacesOf(host);
    this.sockets = options.sockets ?? [{ addr: toAddr('0.0.0.0', 4_242), requestedPort: 0 }];
    this.relays = new RelayMap(
      Array.from({ length: relays }, (_, i) => ({
        url: relayUrl(i),
        quicPort: undefined,
        authToken: undefined,
      })),
    );
    this.system = new ActorSystem({
      clock,
      inspect: options.inspect,
      onError: (_actor, error) => this.errors.push(error),
    });
    this.homeRelay = this.system.watch<{ readonly url: RelayUrl } | undefined>(
      'home relay',
      'relays',
      undefined,
    );
    this.mappedAddr = this.system.watch<Addr | undefined>('external address', 'port mapper', undefined);
    const note = (what: string): void => void this.story.push({ at: clock.now(), what });
    this.actor = new SocketActor({
      system: this.system,
      name: 'test',
      platform: this.world.platformOf(host),
      sockets: () => this.sockets,
      relays: this.relays,
      relayManager: {
        homeRelay: this.homeRelay,
        setHome: (url) => {
          note(`home ${url?.href}`);
          this.homeRelay.set(url && { url });
        },
        setIpv6Works: (works) => (this.ipv6Works = works),
        checkConnections: () => note('check relays'),
        cutBackoff: () => note('cut back-off'),
      },
      netReporter: {
        run: ({ isFull }, signal) => {
          note(isFull ? 'full report' : 'report');
          return new Promise<NetReport>((resolve, reject) => {
            const finish = (report: Partial<NetReport> = {}): void => resolve({ ...EMPTY_REPORT, ...report });
            signal.addEventListener('abort', () => {
              note('report aborted');
              reject(signal.reason as Error);
            });
            this.runs.push({ isFull, at: clock.now(), signal, finish, fail: reject });
            if (options.reportMs !== undefined)
              clock.setTimeout(() => finish(options.report?.()), options.reportMs);
          });
        },
        onFinding: undefined,
        close: () => {
          note('reporter closed');
          return Promise.resolve();
        },
      },
      portMapper:
        options.hasPortMapper === true
          ? {
              externalAddr: this.mappedAddr,
              setPort: (port) => note(`map ${port}`),
              procure: () => undefined,
              check: () => note('check mapping'),
              closeStarted: () => note('mapper ends'),
            }
          : undefined,
      externalAddrs: this.externalAddrs,
      rebind: async () => {
        note('rebind');
        await options.rebind?.();
      },
      notifyQuic: (notice) => {
        note(notice.isMajor ? 'notify major' : 'notify minor');
        this.notices.push({ ...notice, at: clock.now() });
      },
      publish: (own) => {
        note('publish');
        this.published.push(own);
      },
      log: new Log(),
      metrics: this.metrics,
    });
  }

  /** Lets virtual time pass. */
  run(ms: Millis): Promise<void> {
    return this.world.run(this.world.sleep(ms), ms);
  }

  /** What happened from now on during `work`. */
  async during(work: () => void | Promise<void>, ms: Millis): Promise<string[]> {
    const from = this.story.length;
    await work();
    await this.run(ms);
    return this.story.slice(from).map(({ what }) => what);
  }

  async stop(): Promise<void> {
    await this.world.run(this.actor.stop(), 1_000);
  }
}

/** A relay's name. */
export function relayUrl(i: number): RelayUrl {
  return RelayUrl.parse(`https://relay${i}.example/`);
}
