/**
 * Operations of an application and of the network on a pair, with a model of what has to arrive.
 *
 * @module
 */
import type { Direction, PathStatus, StreamId } from '../../src/quic/engine.ts';
import { PathError } from '../../src/quic/paths/path-table.ts';
import { StreamError } from '../../src/quic/streams/stream-error.ts';
import { Pair, type Connected } from '../support/pair.ts';
import type { SimConnection } from '../support/sim-connection.ts';
import { delay, loss, reorder, type SimDatagram } from '../support/sim-network.ts';

type SideName = 'client' | 'server';

/** One step of a random run. `pick` chooses among what exists at that moment. */
export type Operation =
  | { readonly type: 'open'; readonly side: SideName; readonly dir: Direction }
  | { readonly type: 'write'; readonly side: SideName; readonly pick: number; readonly bytes: number }
  | { readonly type: 'finish'; readonly side: SideName; readonly pick: number }
  | { readonly type: 'reset' | 'stop'; readonly side: SideName; readonly pick: number; readonly code: number }
  | { readonly type: 'reading'; readonly side: SideName; readonly isOn: boolean }
  | { readonly type: 'datagram'; readonly side: SideName; readonly bytes: number }
  | { readonly type: 'priority'; readonly side: SideName; readonly pick: number; readonly priority: number }
  | { readonly type: 'updateKeys'; readonly side: SideName }
  | { readonly type: 'openPath'; readonly isBackup: boolean }
  | { readonly type: 'closePath'; readonly side: SideName; readonly pick: number }
  | {
      readonly type: 'pathStatus';
      readonly side: SideName;
      readonly pick: number;
      readonly isBackup: boolean;
    }
  | { readonly type: 'rebind' | 'networkChange' }
  | { readonly type: 'mtu'; readonly bytes: number }
  | { readonly type: 'drop'; readonly gate: 'up' | 'down'; readonly count: number }
  | { readonly type: 'hold'; readonly gate: 'up' | 'down'; readonly count: number; readonly ms: number }
  | { readonly type: 'run'; readonly ms: number }
  | { readonly type: 'close'; readonly side: SideName; readonly code: number };

/** What one side has sent on a stream. */
interface Sent {
  readonly id: StreamId;
  readonly from: SideName;
  readonly chunks: Uint8Array[];
  /** `cut`: reset or stopped, so that any beginning of it may have arrived. */
  end: 'open' | 'finished' | 'cut';
}

const other = (side: SideName): SideName => (side === 'client' ? 'server' : 'client');

/** One random run. */
export class Interactions {
  readonly #pair: Pair;
  readonly #both: Connected;
  readonly #sent: Sent[] = [];
  readonly #datagrams = { client: new Set<string>(), server: new Set<string>() };
  #isClosed = false;

  constructor(seed: number) {
    this.#pair = new Pair({
      seed,
      links: [delay(15, 3), loss(0.02), reorder(0.05, 30)],
      clientNat: 'moderate',
      transport: { maxConcurrentUniStreams: 12, maxConcurrentBidiStreams: 12, receiveWindow: 100_000 },
    });
    this.#both = this.#pair.connect();
    this.#pair.runFor(300);
  }

  perform(operation: Operation): void {
    try {
      this.#perform(operation);
    } catch (error) {
      // The documented answers to a call that is not possible now.
      if (!(error instanceof StreamError) && !(error instanceof PathError)) throw error;
    }
    this.#pair.drive();
    if (!this.#isClosed) this.#pair.requireOpen(this.#both.client, this.#both.server);
  }

  #perform(operation: Operation): void {
    const pair = this.#pair;
    const { client } = this.#both;
    switch (operation.type) {
      case 'open': {
        const { side } = operation;
        this.#both[side].openSoon(operation.dir, (id) => this.#add(id, side));
        return;
      }
      case 'write': {
        const stream = this.#pick(operation.side, operation.pick);
        if (stream === undefined) return;
        const data = pair.bytes(operation.bytes);
        stream.chunks.push(data);
        this.#both[stream.from].send(stream.id, data, { fin: false });
        return;
      }
      case 'finish': {
        const stream = this.#pick(operation.side, operation.pick);
        if (stream === undefined) return;
        stream.end = 'finished';
        this.#both[stream.from].send(stream.id, new Uint8Array(0));
        return;
      }
      case 'reset': {
        const stream = this.#pick(operation.side, operation.pick);
        if (stream === undefined) return;
        stream.end = 'cut';
        this.#both[stream.from].quic.resetStream(stream.id, BigInt(operation.code));
        return;
      }
      case 'stop': {
        // By the receiver.
        const stream = this.#pick(other(operation.side), operation.pick);
        const receiver = this.#both[operation.side];
        if (stream === undefined || receiver.received(stream.id) === 0) return;
        stream.end = 'cut';
        receiver.quic.stopStream(stream.id, BigInt(operation.code));
        return;
      }
      case 'reading':
        if (operation.isOn) this.#both[operation.side].readAll();
        else this.#both[operation.side].isReading = false;
        return;
      case 'datagram': {
        const { quic } = this.#both[operation.side];
        const size = Math.min(operation.bytes + 8, quic.maxDatagramSize ?? 0);
        if (size < 8) return;
        const data = pair.bytes(size);
        this.#datagrams[operation.side].add(Buffer.from(data).toString('latin1'));
        quic.sendDatagram(data, true);
        return;
      }
      case 'priority': {
        const stream = this.#pick(operation.side, operation.pick);
        if (stream !== undefined)
          this.#both[stream.from].quic.setStreamPriority(stream.id, operation.priority);
        return;
      }
      case 'updateKeys':
        this.#both[operation.side].quic.forceKeyUpdate();
        return;
      case 'openPath': {
        const tuple = { local: pair.client.bind(), remote: pair.server.addr };
        client.quic.openPathEnsure(tuple, status(operation.isBackup), pair.now);
        return;
      }
      case 'closePath': {
        const { quic } = this.#both[operation.side];
        const validated = quic.paths().filter((path) => path.validated);
        // Both sides could close the last two against each other; the peer of an application that keeps one does not.
        if (validated.length < 3) return;
        quic.closePath(validated[operation.pick % validated.length]!.id, 0, pair.now);
        return;
      }
      case 'pathStatus': {
        const { quic } = this.#both[operation.side];
        const paths = quic.paths();
        if (paths.length > 0)
          quic.setPathStatus(paths[operation.pick % paths.length]!.id, status(operation.isBackup));
        return;
      }
      case 'rebind':
        pair.rebindClient();
        return;
      case 'networkChange':
        pair.client.engine.handleNetworkChange(undefined, pair.now);
        return;
      case 'mtu':
        pair.client.host.mtu = operation.bytes;
        return;
      case 'drop':
        pair.client.host[operation.gate].dropNext += operation.count;
        return;
      case 'hold':
        this.#hold(operation.gate, operation.count, operation.ms);
        return;
      case 'run':
        pair.runFor(operation.ms);
        return;
      case 'close':
        this.#isClosed = true;
        this.#both[operation.side].close(BigInt(operation.code));
        return;
    }
  }

  /** The next datagrams come later than what follows them. */
  #hold(name: 'up' | 'down', count: number, ms: number): void {
    const pair = this.#pair;
    const gate = pair.client.host[name];
    let left = count;
    const held: SimDatagram[] = [];
    gate.dropIf = (datagram) => {
      if (left-- <= 0) return false;
      held.push(datagram);
      return true;
    };
    pair.clock.setTimeout(() => {
      gate.dropIf = undefined;
      // From where they were taken, past the gate: to the core, or to the host's socket.
      for (const datagram of held) {
        const { host } = name === 'up' ? pair.client : pair.server;
        if (name === 'up')
          pair.network.route(host.nat === undefined ? datagram : host.nat.outbound(datagram));
        else pair.client.host.deliver(datagram);
      }
    }, ms);
  }

  #add(id: StreamId, from: SideName): void {
    this.#sent.push({ id, from, chunks: [], end: 'open' });
  }

  /** A stream on which `side` may send: its own ones, and bidirectional ones of the peer that it has accepted. */
  #pick(side: SideName, pick: number): Sent | undefined {
    for (const id of this.#both[side].accepted) {
      const isBidirectional = (id & 2) === 0;
      if (isBidirectional && !this.#sent.some((each) => each.id === id && each.from === side))
        this.#add(id, side);
    }
    const open = this.#sent.filter((each) => each.from === side && each.end === 'open');
    return open.length === 0 ? undefined : open[pick % open.length];
  }

  /** Lets everything arrive that must, compares, closes, and checks that nothing is left. */
  settle(): void {
    const pair = this.#pair;
    if (!this.#isClosed) {
      for (const side of ['client', 'server'] as const) this.#both[side].readAll();
      pair.runUntil(
        () => {
          pair.requireOpen(this.#both.client, this.#both.server);
          return this.#sent.every((stream) => this.#isThere(stream));
        },
        { withinMs: 120_000, what: 'everything written has arrived' },
      );
    }
    for (const stream of this.#sent) this.#compare(stream);
    for (const side of ['client', 'server'] as const) {
      const received = this.#both[other(side)].datagrams.map((data) => Buffer.from(data).toString('latin1'));
      pair.require(new Set(received).size === received.length, 'a datagram arrived twice');
      pair.require(
        received.every((data) => this.#datagrams[side].has(data)),
        'a datagram arrived that nobody sent',
      );
    }
    pair.end();
  }

  #isThere(stream: Sent): boolean {
    const receiver = this.#both[other(stream.from)];
    if (stream.end === 'cut') return true;
    if (stream.end === 'finished') return receiver.isFinished(stream.id);
    return receiver.received(stream.id) === total(stream);
  }

  #compare(stream: Sent): void {
    const receiver: SimConnection = this.#both[other(stream.from)];
    const sent = Buffer.concat(stream.chunks);
    const received = receiver.data(stream.id);
    const isWhole = stream.end === 'finished' && !this.#isClosed;
    const expected = isWhole ? sent : sent.subarray(0, received.length);
    this.#pair.requireEqual(received, expected, `stream ${stream.id} from the ${stream.from}`);
  }
}

function status(isBackup: boolean): PathStatus {
  return isBackup ? 'backup' : 'available';
}

function total({ chunks }: Sent): number {
  return chunks.reduce((sum, { length }) => sum + length, 0);
}
