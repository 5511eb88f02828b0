/**
 * Endpoints in namespaces, ours and real iroh, and the relay where they meet.
 *
 * @module
 */
import { Child, type Fields } from './child.ts';
import type { Device, Host, Lab } from './lab.ts';

/** Which implementation a peer runs: ours, real iroh by its binding, or real iroh by `npm run rust:build`. */
export type Implementation = 'iroh-ts' | 'iroh' | 'iroh-rust';

/** Host name of the relay inside a lab, known to the lab's name server. */
const RELAY_NAME = 'relay.lab.test';
const RELAY_PORT = 3340;
/** UDP port of address discovery. */
const QUIC_PORT = 7842;
/** Bound of steps that no test is about. */
const SETUP_WAIT_MS = 20_000;

const SCRIPTS: Record<Implementation, string> = {
  'iroh-ts': 'peer.mjs',
  iroh: 'native-peer.mjs',
  'iroh-rust': 'rust-peer.mjs',
};

/** A path as a peer tells it. */
export interface Selected {
  readonly kind: 'ip' | 'relay';
  /** `ip:port`, or the relay. */
  readonly remote: string;
  /** Since the connection stood. */
  readonly ms: number;
}

/** Which path {@link Link.waitPath} waits for. */
export interface PathWanted {
  readonly kind: 'ip' | 'relay';
  /** Remote addresses that do not count. */
  readonly not?: readonly string[];
  /** What the remote address begins with: one of these. */
  readonly prefixes?: readonly string[];
  readonly timeoutMs: number;
}

/** One side of a connection. */
export class Link {
  readonly #child: Child;
  readonly #connection: number;
  /** How long the handshake took. */
  readonly dialMs: number;

  constructor(child: Child, connection: number, dialMs = 0) {
    this.#child = child;
    this.#connection = connection;
    this.dialMs = dialMs;
  }

  #call<T>(cmd: string, fields: object = {}): Promise<T> {
    return this.#child.call<T>(cmd, { connection: this.#connection, ...fields });
  }

  /** The first path of its story that is wanted, waited for. */
  waitPath(wanted: PathWanted): Promise<Selected> {
    return this.#call('waitPath', wanted);
  }

  /** As {@link waitPath}, among the present path and those to come. */
  async waitNextPath(wanted: PathWanted): Promise<Selected> {
    const { story } = await this.story();
    return this.#call('waitPath', { ...wanted, from: story.length });
  }

  async selected(): Promise<Selected | undefined> {
    return (await this.#call<{ selected?: Selected }>('selected')).selected;
  }

  /** All selected paths so far, and why the connection closed if it did. */
  story(): Promise<{ story: Selected[]; closed?: string }> {
    return this.#call('story');
  }

  /** A round trip of a few bytes over a new stream, ms. @throws {Error} after `timeoutMs`. */
  async ping(timeoutMs: number): Promise<number> {
    return (await this.#call<{ ms: number }>('ping', { timeoutMs })).ms;
  }

  /** Begins to send a few bytes every `intervalMs`, which the other side returns. */
  async beat(intervalMs: number): Promise<void> {
    await this.#call('beat', { intervalMs });
  }

  /** Begins a measurement of {@link gap}. */
  async mark(): Promise<void> {
    await this.#call('mark');
  }

  /** How long after `at`, a time of `process.hrtime` in ms, the first beat came back, ms. @throws {Error} after `timeoutMs`. */
  async beatAfter(at: number, timeoutMs: number): Promise<number> {
    return (await this.#call<{ ms: number }>('beatAfter', { at, timeoutMs })).ms;
  }

  /** The longest time between two beats since {@link mark}, ms. */
  async gap(): Promise<{ ms: number; count: number }> {
    return this.#call('gap');
  }

  async close(): Promise<void> {
    await this.#call('closeConnection');
  }
}

/** `IROH_TS_LAB_RELAY=path/to/iroh-relay` runs upstream's server instead of ours: to tell whose fault a failure is. */
const UPSTREAM_RELAY = process.env['IROH_TS_LAB_RELAY'];

/** A relay and the name server that knows it. */
export class LabRelay {
  readonly host: Host;
  readonly url = `http://${RELAY_NAME}:${RELAY_PORT}/`;
  #child: Child | undefined;
  #identity: Fields = {};

  private constructor(host: Host) {
    this.host = host;
  }

  /** Starts both on a host of their own. */
  static async start(lab: Lab): Promise<LabRelay> {
    const host = await lab.addHost('relay');
    const addrs = [host.addrs.v4!, host.addrs.v6!];
    await lab.setNameServers(addrs);
    const names = Child.script(host.namespace, 'dns-server.mjs');
    await names.call('listen', { hosts: addrs, names: { [RELAY_NAME]: addrs } });
    const relay = new LabRelay(host);
    await relay.restart();
    return relay;
  }

  /** Its addresses, which a black hole spares. */
  get addrs(): string[] {
    return [this.host.addrs.v4!, this.host.addrs.v6!];
  }

  /** Ends the process, if it runs, and starts another one in its place. */
  async restart(): Promise<void> {
    if (UPSTREAM_RELAY !== undefined) return this.#restartUpstream(UPSTREAM_RELAY);
    await this.#child?.stop();
    this.#child = Child.script(this.host.namespace, 'relay.mjs');
    this.#identity = await this.#child.call('listen', {
      name: RELAY_NAME,
      port: RELAY_PORT,
      quicPort: QUIC_PORT,
      ...this.#identity,
    });
  }

  /** What endpoints are told about it: where it is, and which certificate to trust there. */
  get fields(): Fields {
    const { root } = this.#identity;
    return { relays: [this.url], ...(root !== undefined && { quicPort: QUIC_PORT, roots: [root] }) };
  }

  async #restartUpstream(program: string): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#child?.stop();
    this.#child = Child.program(this.host.namespace, [program, '--dev']);
    await this.host.namespace.shell(
      `for i in $(seq 100); do ss -Htln | grep -q ":${RELAY_PORT} " && exit; sleep 0.1; done; exit 1`,
    );
  }
}

/** What else an endpoint is told. */
export interface PeerOptions {
  /** Has the router open a port. Real iroh always asks. */
  readonly portMapper?: boolean;
}

/** An endpoint on a device. A process may have several endpoints, one after the other. */
export class Peer {
  readonly device: Device;
  readonly implementation: Implementation;
  readonly id: string;
  readonly #child: Child;
  readonly #endpoint: number;
  readonly #relay: LabRelay;

  private constructor(
    device: Device,
    implementation: Implementation,
    child: Child,
    relay: LabRelay,
    bound: { endpoint: number; id: string },
  ) {
    this.device = device;
    this.implementation = implementation;
    this.#child = child;
    this.#relay = relay;
    this.#endpoint = bound.endpoint;
    this.id = bound.id;
  }

  /** Starts a process with an endpoint and waits until it is online. */
  static async start(device: Device, implementation: Implementation, relay: LabRelay): Promise<Peer> {
    return Peer.#bind(device, implementation, Child.script(device.namespace, SCRIPTS[implementation]), relay);
  }

  /** Another endpoint in the same process. */
  again(options: PeerOptions = {}): Promise<Peer> {
    return Peer.#bind(this.device, this.implementation, this.#child, this.#relay, options);
  }

  static async #bind(
    device: Device,
    implementation: Implementation,
    child: Child,
    relay: LabRelay,
    options: PeerOptions = {},
  ): Promise<Peer> {
    const bound = await child.call<{ endpoint: number; id: string }>('bind', {
      ...relay.fields,
      ...options,
    });
    const peer = new Peer(device, implementation, child, relay, bound);
    await child.call('online', { endpoint: bound.endpoint, timeoutMs: SETUP_WAIT_MS });
    await peer.tellMapping();
    return peer;
  }

  /**
   * The binding of real iroh trusts public certification authorities only, so that it cannot ask our relay for its public
   * address (QAD). It is told instead what the relay would say: the router keeps the port, `nat-kinds.test.ts` shows it.
   */
  async tellMapping(): Promise<void> {
    const { nat, publicIpv4 } = this.device.router;
    if (this.implementation !== 'iroh' || publicIpv4 === undefined) return;
    if (nat !== 'open' && nat !== 'moderate') return;
    const { sockets } = await this.#child.call<{ sockets: string[] }>('sockets', {
      endpoint: this.#endpoint,
    });
    const port = sockets.find((socket) => socket.startsWith('0.0.0.0:'))?.slice('0.0.0.0:'.length);
    await this.#child.call('addExternalAddr', { endpoint: this.#endpoint, addr: `${publicIpv4}:${port}` });
  }

  /** What it tells others about itself. */
  addr(): Promise<{ relay?: string; direct: string[] }> {
    return this.#child.call('addr', { endpoint: this.#endpoint });
  }

  /** Dials by the relay's address alone; both sides of the connection. */
  async dial(server: Peer, timeoutMs = SETUP_WAIT_MS): Promise<[client: Link, server: Link]> {
    const dialled = await this.#child.call<{ connection: number; ms: number }>('dial', {
      endpoint: this.#endpoint,
      remote: server.id,
      relay: this.#relay.url,
      timeoutMs,
    });
    const accepted = await server.#child.event(
      'accept',
      (event) =>
        event['event'] === 'accepted' &&
        event['endpoint'] === server.#endpoint &&
        event['remote'] === this.id,
    );
    return [
      new Link(this.#child, dialled.connection, dialled.ms),
      new Link(server.#child, accepted['connection'] as number),
    ];
  }

  /** Closes the endpoint; the process stays. */
  async close(): Promise<void> {
    await this.#child.call('close', { endpoint: this.#endpoint });
  }

  /** Ends the process, as a crash would. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
