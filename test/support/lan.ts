/**
 * Real time on loopback, with a real relay and UDP that can be blocked: where scenarios run whose engine reads the clock itself.
 * Whoever dials and whoever accepts may have engines of their own.
 *
 * @module
 */
import { EndpointAddr, type Connection, type Endpoint, type EndpointOptions } from '../../src/index.ts';
import type { EngineCapabilities } from '../../src/quic/engine.ts';
import { quicheEngine } from '../../src/quiche.ts';
import { RelayServer } from '../../src/relay-server.ts';
import type { Platform } from '../../src/transport/platform.ts';
import { Loopback } from './endpoints.ts';

/** An engine on each side. */
export interface EnginePair {
  readonly name: string;
  /** Of who dials. */
  readonly client: EndpointOptions;
  /** Of who accepts. */
  readonly server: EndpointOptions;
}

const quiche: EndpointOptions = { engine: quicheEngine() };
const flexible: EndpointOptions = { x509Peers: true };

/** Each engine with itself, and with the other one. */
export const ENGINE_PAIRS: readonly EnginePair[] = [
  { name: 'ours × ours', client: {}, server: {} },
  { name: 'quiche × quiche', client: quiche, server: quiche },
  { name: 'ours dials quiche', client: flexible, server: quiche },
  { name: 'quiche dials ours', client: quiche, server: flexible },
];

/** Polls so often for what no event tells, ms. */
const POLL_MS = 20;

/** A local network of endpoints. */
export class Lan extends Loopback {
  readonly #pair: EnginePair;
  #relay: RelayServer | undefined;
  /** Ports whose datagrams get lost, both ways. */
  readonly #blocked = new Set<number>();

  constructor(pair: EnginePair) {
    super();
    this.#pair = pair;
  }

  /** An endpoint that dials. */
  override bind(options: EndpointOptions = {}): Promise<Endpoint> {
    return super.bind({ ...this.#pair.client, ...options });
  }

  /** An endpoint that accepts. */
  override serve(options: EndpointOptions = {}): Promise<Endpoint> {
    return super.serve({ ...this.#pair.server, ...options });
  }

  /** Options of endpoints that use the relay of this place, which is started now. */
  async addRelay(): Promise<EndpointOptions> {
    this.#relay ??= await RelayServer.listen();
    return { relay: [{ url: this.#relay.url.href, quicPort: false }] };
  }

  /** What is said of the relay: an address without others. */
  relayAddrOf({ id, addr }: Endpoint): EndpointAddr {
    return new EndpointAddr(
      id,
      addr.addrs.filter(({ type }) => type === 'relay'),
    );
  }

  /** Direct addresses and the relay. */
  bothAddrsOf(endpoint: Endpoint): EndpointAddr {
    return new EndpointAddr(endpoint.id, [
      ...this.addrOf(endpoint).addrs,
      ...this.relayAddrOf(endpoint).addrs,
    ]);
  }

  /** Two endpoints that are online with the relay. */
  async relayedPair(): Promise<{ readonly client: Endpoint; readonly server: Endpoint }> {
    const options = await this.addRelay();
    const server = await this.serve(options);
    const client = await this.bind(options);
    await Promise.all([server.online(this.wait), client.online(this.wait)]);
    return { client, server };
  }

  /** A connection that begins at the relay though the client knows better: UDP is blocked for a while. */
  async dialRelayed(client: Endpoint, server: Endpoint): Promise<{ ours: Connection; theirs: Connection }> {
    this.block(server, true);
    const connections = await this.dial(client, server, this.bothAddrsOf(server));
    this.block(server, false);
    return connections;
  }

  /** Loses what comes to and from the sockets of an endpoint, as a firewall that tells nobody. */
  block(endpoint: Endpoint, isBlocked: boolean): void {
    for (const { port } of endpoint.boundSockets)
      if (isBlocked) this.#blocked.add(port);
      else this.#blocked.delete(port);
  }

  /** Waits until something is so. @throws {Error} when it is not within the limit of this place. */
  async until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
    const end = this.clock.now() + this.wait.timeoutMs;
    while (!(await isSo())) {
      if (this.clock.now() > end) throw new Error(`not in time: ${what}`);
      await this.sleep(POLL_MS);
    }
  }

  protected override nextPlatform(): Platform {
    const platform = super.nextPlatform();
    return {
      ...platform,
      bindUdp: async (request) => {
        const transport = await platform.bindUdp!(request);
        const send = transport.send.bind(transport);
        transport.send = (batch, from, to) => {
          if (this.#blocked.has(transport.localAddr.port)) return;
          if (this.#blocked.size === 0) return send(batch, from, to);
          const passing = batch.slice(from, to).filter((each) => !this.#blocked.has(each.to.port));
          send(passing, 0, passing.length);
        };
        return transport;
      },
    };
  }

  /** After a failure: frees what can be freed. */
  async giveUp(): Promise<void> {
    await Promise.all(this.endpoints.map((endpoint) => endpoint.close({ timeoutMs: 100 })));
    await this.#relay?.close();
  }

  override async end(): Promise<void> {
    await Promise.all(this.endpoints.map((endpoint) => endpoint.close({ timeoutMs: 1_000 })));
    await this.#relay?.close();
    await super.end();
  }
}

/** What the engines of a pair can do, by asking endpoints that have them. */
export interface PairCapabilities {
  readonly client: EngineCapabilities;
  readonly server: EngineCapabilities;
}

/** Asks the engines of a pair. */
export async function capabilitiesOf(pair: EnginePair): Promise<PairCapabilities> {
  const place = new Lan(pair);
  const { capabilities: client } = await place.bind();
  const { capabilities: server } = await place.serve();
  await place.end();
  return { client, server };
}
