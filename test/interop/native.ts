/**
 * Real iroh in this process (`@number0/iroh`, the Rust implementation behind a binding), in either role.
 *
 * Its bytes are arrays of numbers and its errors are texts; this module is where both are turned into what tests compare.
 *
 * @module
 */
import {
  Endpoint as NativeEndpoint,
  EndpointAddr as NativeAddr,
  EndpointId as NativeId,
  type Connection as NativeConnection,
  type RecvStream as NativeRecvStream,
} from '@number0/iroh';
import { utf8 } from '../../src/base/bytes.ts';
import {
  Endpoint,
  EndpointAddr,
  EndpointId,
  parseAddr,
  type Connection,
  type EndpointOptions,
} from '../../src/index.ts';

export { NativeAddr, NativeEndpoint, NativeId };
export type { NativeConnection };

/** The protocol of tests that do not care. */
export const ALPN = 'iroh-ts/interop/0';
/** Upper bound of every wait: generous, because the machine may be busy. */
export const WAIT = { timeoutMs: 15_000 };
const LOOPBACK = '127.0.0.1:0';

/** Text or bytes as the binding takes them. */
export function nativeBytes(bytes: Uint8Array | string): number[] {
  return Array.from(typeof bytes === 'string' ? utf8(bytes) : bytes);
}

/** Binds a real iroh endpoint on loopback. */
export async function bindNative(alpns: readonly string[] = [ALPN]): Promise<NativeEndpoint> {
  const builder = NativeEndpoint.builder();
  builder.applyMinimal();
  builder.bindAddr(LOOPBACK);
  builder.alpns(alpns.map(nativeBytes));
  return builder.bind();
}

/** Binds one of ours on loopback. */
export function bindOurs(options: EndpointOptions = {}): Promise<Endpoint> {
  return Endpoint.bind({ preset: 'minimal', alpns: [ALPN], bind: [LOOPBACK], ...options });
}

/** Where a real endpoint is, for our `connect`. */
export function addrOf(endpoint: NativeEndpoint): EndpointAddr {
  const addr = endpoint.addr();
  return new EndpointAddr(
    EndpointId.parse(addr.id().toString()),
    addr.directAddresses().map((text) => ({ type: 'ip', addr: parseAddr(text) })),
  );
}

/** Where one of ours is, for a real `connect`. */
export function nativeAddrOf(endpoint: Endpoint): NativeAddr {
  const loopback = endpoint.boundSockets.filter((addr) => addr.family === 4).map(String);
  return new NativeAddr(NativeId.fromString(endpoint.id.toString()), null, loopback);
}

/** The message of a binding's error without its stack trace. */
export function nativeMessage(error: unknown): string {
  return (error as Error).message.split('\n\nStack backtrace')[0]!;
}

/** Who dialled in a {@link Pair}. */
export type Dialler = 'we dial' | 'iroh dials';
export const DIALLERS: readonly Dialler[] = ['we dial', 'iroh dials'];

/** A connection between one of ours and a real one. */
export interface Pair {
  readonly our: Endpoint;
  readonly their: NativeEndpoint;
  readonly ours: Connection;
  readonly theirs: NativeConnection;
}

/** What {@link withPair} may be told. */
export interface PairOptions {
  readonly alpn?: string;
  readonly our?: EndpointOptions;
  readonly theirAlpns?: readonly string[];
}

/** Connects the two endpoints. */
export async function connect(
  dialler: Dialler,
  our: Endpoint,
  their: NativeEndpoint,
  alpn: string = ALPN,
): Promise<{ ours: Connection; theirs: NativeConnection }> {
  if (dialler === 'we dial') {
    const accepted = acceptNative(their);
    const ours = await our.connect(addrOf(their), alpn, WAIT);
    return { ours, theirs: await accepted };
  }
  const dialled = their.connect(nativeAddrOf(our), nativeBytes(alpn));
  const incoming = await our.accept(WAIT);
  const [ours, theirs] = await Promise.all([incoming!.accept().connected, dialled]);
  return { ours, theirs };
}

/** The next connection of a real endpoint. */
export async function acceptNative(endpoint: NativeEndpoint): Promise<NativeConnection> {
  const incoming = await endpoint.acceptNext();
  return (await incoming!.accept()).connect();
}

/** Runs `body` on a fresh pair of endpoints and closes both. */
export async function withEndpoints(
  body: (our: Endpoint, their: NativeEndpoint) => Promise<void>,
  options: PairOptions = {},
): Promise<void> {
  const their = await bindNative(options.theirAlpns);
  const our = await bindOurs(options.our);
  try {
    await body(our, their);
  } finally {
    await Promise.all([our.close(), their.close()]);
  }
}

/** Runs `body` on a fresh connection and closes both endpoints. */
export function withPair(
  dialler: Dialler,
  body: (pair: Pair) => Promise<void>,
  options: PairOptions = {},
): Promise<void> {
  return withEndpoints(async (our, their) => {
    await body({ our, their, ...(await connect(dialler, our, their, options.alpn)) });
  }, options);
}

/** Waits until `condition` holds, looking again after every few ms of real time. @throws {Error} after {@link WAIT}. */
export async function eventually(condition: () => boolean): Promise<void> {
  const end = performance.now() + WAIT.timeoutMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`still not true: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Everything up to the end of a real stream. */
export async function readNative(recv: NativeRecvStream, limit = 64 << 20): Promise<Uint8Array> {
  return Uint8Array.from(await recv.readToEnd(limit));
}
