/**
 * A relay server of ours over plain HTTP, with real endpoints (`@number0/iroh`) and ours that know it.
 *
 * @module
 */
import { EndpointAddr as NativeAddr, RelayMap, RelayMode } from '@number0/iroh';
import {
  Endpoint,
  EndpointAddr,
  EndpointId,
  parseAddr,
  type Connection,
  type EndpointOptions,
} from '../../src/index.ts';
import { RelayServer, type RelayHubEvent, type RelayServerOptions } from '../../src/relay-server.ts';
import {
  acceptNative,
  ALPN,
  bindOurs,
  nativeBytes,
  NativeEndpoint,
  NativeId,
  WAIT,
  type Dialler,
  type NativeConnection,
  type Pair,
} from './native.ts';

/** Streams of tests are shorter. */
const LIMIT = 4 << 20;

/** How a real endpoint is bound. */
export interface NativeOptions {
  /** The byte that its key consists of. */
  readonly seed?: number;
  /** Shown to the relay. */
  readonly token?: string;
  /** Another relay to use. */
  readonly relay?: RelayServer;
}

/** A relay, and what uses it. */
export interface Scene {
  readonly relay: RelayServer;
  readonly events: RelayHubEvent[];
  /** A real endpoint on loopback. */
  bind(options?: NativeOptions): Promise<NativeEndpoint>;
  /** One of ours on loopback. */
  bindOurs(options?: EndpointOptions): Promise<Endpoint>;
  /** Another relay. */
  listen(): Promise<RelayServer>;
}

/** Runs `body` with a relay, and closes all that was made. */
export async function withRelay(
  body: (scene: Scene) => Promise<void>,
  options: RelayServerOptions = {},
): Promise<void> {
  const events: RelayHubEvent[] = [];
  const relay = await RelayServer.listen({ ...options, onEvent: (event) => void events.push(event) });
  const relays = [relay];
  const endpoints: { close(): Promise<void> }[] = [];
  try {
    await body({
      relay,
      events,
      bind: async ({ seed, token, relay: other = relay } = {}) => {
        const builder = NativeEndpoint.builder();
        builder.applyMinimal();
        builder.bindAddr('127.0.0.1:0');
        builder.alpns([nativeBytes(ALPN)]);
        if (seed !== undefined) builder.secretKey(Array<number>(32).fill(seed));
        const map = RelayMap.empty();
        map.insert({ url: other.url.href, ...(token !== undefined && { authToken: token }) });
        builder.relayMode(RelayMode.custom(map));
        const endpoint = await builder.bind();
        endpoints.push(endpoint);
        return endpoint;
      },
      bindOurs: async (ourOptions) => {
        const endpoint = await bindOurs({
          relay: [{ url: relay.url, quicPort: false }],
          ...ourOptions,
        });
        endpoints.push(endpoint);
        return endpoint;
      },
      listen: async () => {
        const other = await RelayServer.listen();
        relays.push(other);
        return other;
      },
    });
  } finally {
    await Promise.all(endpoints.map((endpoint) => endpoint.close()));
    await Promise.all(relays.map((each) => each.close()));
  }
}

/** Rejects instead of waiting longer than tests may. */
export async function within<T>(work: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${WAIT.timeoutMs} ms`)), WAIT.timeoutMs);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}

/** Both have the relay. */
export async function online(our: Endpoint, their: NativeEndpoint): Promise<void> {
  await Promise.all([our.online(WAIT), within(their.online(), 'online')]);
}

/** Where a real endpoint is: on a relay, and at `directs` (`ip:port`). */
export function addrAt(
  their: NativeEndpoint,
  relay: RelayServer,
  directs: readonly string[] = [],
): EndpointAddr {
  return new EndpointAddr(EndpointId.parse(their.id().toString()), [
    { type: 'relay', url: relay.url },
    ...directs.map((text) => ({ type: 'ip', addr: parseAddr(text) }) as const),
  ]);
}

/** Where one of ours is, in the same way. */
export function nativeAddrAt(our: Endpoint, relay: RelayServer, directs: readonly string[] = []): NativeAddr {
  return new NativeAddr(NativeId.fromString(our.id.toString()), relay.url.href, [...directs]);
}

/** `ip:port` of the IPv4 socket of an endpoint. */
export function socketOf(endpoint: Endpoint | NativeEndpoint): string {
  if (endpoint instanceof Endpoint) return endpoint.boundSockets.find(({ family }) => family === 4)!.text;
  return endpoint.boundSockets()[0]!;
}

/** Connects by the relay, and directly too if `isDirectToo`. */
export async function meet(
  dialler: Dialler,
  our: Endpoint,
  their: NativeEndpoint,
  relay: RelayServer,
  isDirectToo = false,
): Promise<Pair> {
  if (dialler === 'we dial') {
    const accepted = acceptNative(their);
    const addr = addrAt(their, relay, isDirectToo ? [socketOf(their)] : []);
    const ours = await our.connect(addr, ALPN, WAIT);
    return { our, their, ours, theirs: await within(accepted, 'accept') };
  }
  const addr = nativeAddrAt(our, relay, isDirectToo ? [socketOf(our)] : []);
  const dialled = within(their.connect(addr, nativeBytes(ALPN)), 'connect');
  const incoming = await our.accept(WAIT);
  const [ours, theirs] = await Promise.all([incoming!.accept().connected, dialled]);
  return { our, their, ours, theirs };
}

/** Sends back all that streams of a real connection bring. */
export async function echoNative(theirs: NativeConnection): Promise<void> {
  try {
    for (;;) {
      const { send, recv } = await theirs.acceptBi();
      const answer = await recv.readToEnd(LIMIT);
      await send.writeAll(answer);
      await send.finish();
    }
  } catch {
    // The connection ended.
  }
}

/** Sends back all that streams of ours bring. */
export async function echoOurs(ours: Connection): Promise<void> {
  for await (const { send, recv } of ours.incomingBi())
    recv.readable.pipeTo(send.writable).catch(() => undefined);
}

/** Sends bytes on a new stream; gives back what comes. */
export async function ask(ours: Connection, message: Uint8Array): Promise<Uint8Array> {
  const { send, recv } = await ours.openBi(WAIT);
  const writing = send.write(message).then(() => send.finish());
  const answer = await recv.readToEnd(LIMIT, WAIT);
  await writing;
  return answer;
}

/** A real endpoint sends bytes on a new stream; gives back what comes. */
export async function askUs(theirs: NativeConnection, message: Uint8Array): Promise<Uint8Array> {
  const { send, recv } = await theirs.openBi();
  await send.writeAll(nativeBytes(message));
  await send.finish();
  return Uint8Array.from(await within(recv.readToEnd(LIMIT), 'answer'));
}
