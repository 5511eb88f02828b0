/**
 * A peer per test file, endpoints per test: closed in order whatever happens.
 *
 * @module
 */
import { afterAll, afterEach, beforeAll } from '@jest/globals';
import type { ConnectionActor } from '../../../src/actors/connection-actor.ts';
import { actorOf } from '../../../src/actors/internals.ts';
import type { Connection, Endpoint, EndpointOptions, Path } from '../../../src/index.ts';
import type { TransportConfig } from '../../../src/quic/config.ts';
import { RawEndpoint, type RawConnection } from './raw-rig.ts';
import {
  ALPN,
  bindOurs,
  RustPeer,
  WAIT,
  type Fields,
  type RustConnection,
  type RustEndpoint,
} from './rust-peer.ts';

export type Dialler = 'we dial' | 'iroh dials';
export const DIALLERS: readonly Dialler[] = ['we dial', 'iroh dials'];

/** A connection between one of ours and one of the peer's. */
export interface Pair {
  readonly our: Endpoint;
  readonly their: RustEndpoint;
  readonly ours: Connection;
  readonly theirs: RustConnection;
}

/** The same, with an endpoint of ours whose paths are opened and closed by hand. */
export interface RawPair {
  readonly our: RawEndpoint;
  readonly their: RustEndpoint;
  readonly ours: RawConnection;
  readonly theirs: RustConnection;
}

/** What {@link Fixture.rawPair} may be told. */
export interface RawPairOptions {
  readonly transport?: Partial<TransportConfig>;
  /** Sockets of our endpoint. */
  readonly sockets?: 1 | 2;
  /** Fields of the peer's `bind`. `layer: 'noq'` gives what iroh's API hides. */
  readonly their?: Fields;
}

/** What {@link Fixture.pair} may be told. */
export interface PairOptions {
  readonly our?: EndpointOptions;
  /** Fields of the peer's `bind`. `layer: 'noq'` gives what iroh's API hides. */
  readonly their?: Fields;
}

/** Makes endpoints and remembers to close them. */
export interface Fixture {
  readonly peer: RustPeer;
  our(options?: EndpointOptions): Promise<Endpoint>;
  their(fields?: Fields): Promise<RustEndpoint>;
  pair(dialler: Dialler, options?: PairOptions): Promise<Pair>;
  raw(transport?: Partial<TransportConfig>, sockets?: 1 | 2): Promise<RawEndpoint>;
  rawPair(dialler: Dialler, options?: RawPairOptions): Promise<RawPair>;
}

/** To be called once at the top of a test file. */
export function useRustPeer(): Fixture {
  let peer: RustPeer | undefined;
  const closers: (() => Promise<unknown>)[] = [];
  beforeAll(() => {
    peer = new RustPeer();
  });
  afterEach(async () => {
    await Promise.all(closers.splice(0).map((close) => close()));
  });
  afterAll(() => peer?.stop());

  const fixture: Fixture = {
    get peer() {
      return peer!;
    },
    our: async (options) => {
      const our = await bindOurs(options);
      closers.push(() => our.close());
      return our;
    },
    their: async (fields) => {
      const their = await peer!.bind(fields);
      closers.push(() => their.call('closeEndpoint').catch(() => undefined));
      return their;
    },
    pair: async (dialler, options = {}) => {
      const our = await fixture.our(options.our);
      const their = await fixture.their(options.their);
      return { our, their, ...(await connect(dialler, our, their)) };
    },
    raw: async (transport, sockets) => {
      const our = await RawEndpoint.bind(transport, sockets);
      closers.push(() => our.close());
      return our;
    },
    rawPair: async (dialler, options = {}) => {
      const our = await fixture.raw(options.transport, options.sockets);
      const their = await fixture.their(options.their);
      const [theirs, ours] = await Promise.all(
        dialler === 'we dial' ? [their.accept(), our.dial(their)] : [their.dial(our), our.accept()],
      );
      return { our, their, ours, theirs };
    },
  };
  return fixture;
}

/** Connects two endpoints. */
export async function connect(
  dialler: Dialler,
  our: Endpoint,
  their: RustEndpoint,
): Promise<{ ours: Connection; theirs: RustConnection }> {
  if (dialler === 'we dial') {
    const [theirs, ours] = await Promise.all([their.accept(), our.connect(their.addr, ALPN, WAIT)]);
    return { ours, theirs };
  }
  const dialled = their.dial(our);
  const incoming = await our.accept(WAIT);
  const [ours, theirs] = await Promise.all([incoming!.accept().connected, dialled]);
  return { ours, theirs };
}

/** What drives one of our connections: its engine has calls that have no public handle yet. */
export function actorFor(connection: Connection): ConnectionActor {
  return actorOf.get(connection)!;
}

/** Longer than any transfer that is waited for with {@link eventually}. */
const EVENTUALLY_MS = 45_000;

/** Waits until `condition` holds, looking again after every few ms of real time. @throws {Error} when it does not. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + EVENTUALLY_MS;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`still not true: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Sends text on a new bidirectional stream and gives back what the peer answers. */
export async function ask(ours: Connection, message: string): Promise<string> {
  const { send, recv } = await ours.openBi(WAIT);
  const writing = send.write(Buffer.from(message)).then(() => send.finish());
  // Read meanwhile: who echoes takes no more than it can send back.
  const answer = await recv.readToEnd(16 << 20, WAIT);
  await writing;
  return Buffer.from(answer).toString();
}

/** Sends back all that the peer's streams bring, until the connection ends. */
export async function echoAll(ours: Connection): Promise<void> {
  for await (const { send, recv } of ours.incomingBi()) {
    recv.readable.pipeTo(send.writable).catch(() => undefined);
  }
}

/** The peer sends text on a new bidirectional stream; gives back what we answer. */
export async function askUs(theirs: RustConnection, message: string): Promise<string> {
  const stream = await theirs.stream('openBi');
  const writing = stream.write(message).then(() => stream.finish());
  const answer = await stream.readToEnd();
  await writing;
  return answer;
}

/** `ip:port` of where a direct path leads. */
export function ipOf({ remoteAddr }: Path): string | undefined {
  return remoteAddr.type === 'ip' ? remoteAddr.addr.text : undefined;
}
