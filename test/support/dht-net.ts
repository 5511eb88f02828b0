/**
 * A Mainline DHT of its own on loopback: nodes of the package `bittorrent-dht`, which store what is signed, and nodes that lie.
 *
 * @module
 */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
// @ts-expect-error the package has no types
import UntypedNode from 'bittorrent-dht';
import {
  decodeBencode,
  encodeBencode,
  type Bencoded,
  type BencodedMap,
} from '../../src/address-lookup/bencode.ts';
import { toLatin1, utf8 } from '../../src/base/bytes.ts';
import { EndpointId } from '../../src/index.ts';
import { Signature } from '../../src/crypto/keys.ts';

interface Node extends NodeJS.EventEmitter {
  listen(port: number, host: string): void;
  address(): { readonly port: number };
  destroy(done: () => void): void;
}
const Node = UntypedNode as new (options: {
  readonly bootstrap: false | readonly string[];
  readonly verify: (signature: Uint8Array, message: Uint8Array, key: Uint8Array) => boolean;
}) => Node;

const verify = (signature: Uint8Array, message: Uint8Array, key: Uint8Array): boolean =>
  Signature.fromBytes(new Uint8Array(signature)).verify(EndpointId.fromBytes(new Uint8Array(key)), message);

/** Some nodes that know each other. */
export class DhtNet {
  readonly #nodes: readonly Node[];

  private constructor(nodes: readonly Node[]) {
    this.#nodes = nodes;
  }

  /** @param extra - `host:port` of further nodes that all of them know. */
  static async start(count = 5, extra: readonly string[] = []): Promise<DhtNet> {
    const nodes: Node[] = [];
    for (let i = 0; i < count; i++) {
      const bootstrap = [...nodes.map(hostPortOf), ...extra];
      const node = new Node({ bootstrap: bootstrap.length === 0 ? false : bootstrap, verify });
      node.listen(0, '127.0.0.1');
      await once(node, 'ready');
      nodes.push(node);
    }
    return new DhtNet(nodes);
  }

  /** Whom to ask first. */
  get bootstrap(): string[] {
    return this.#nodes.map(hostPortOf);
  }

  /** Calls `listener` when somebody stores a value, for each node. */
  onPut(listener: () => void): void {
    for (const node of this.#nodes) node.on('put', listener);
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => new Promise<void>((resolve) => node.destroy(resolve))));
  }
}

function hostPortOf(node: Node): string {
  return `127.0.0.1:${node.address().port}`;
}

/** What a {@link LyingNode} was asked. */
export interface AskedOf {
  readonly kind: string;
  readonly args: BencodedMap;
  readonly isReadOnly: boolean;
}

/** Values of a response; or the code of an error; or a whole datagram; or nothing. */
type Answer = (asked: AskedOf, node: LyingNode) => BencodedMap | number | Uint8Array | undefined;

/** A node that answers as it is told. */
export class LyingNode {
  readonly asked: AskedOf[] = [];
  readonly id = new Uint8Array(randomBytes(20));
  readonly #socket: Socket;
  readonly #answer: Answer;

  private constructor(socket: Socket, answer: Answer) {
    this.#socket = socket;
    this.#answer = answer;
    socket.on('message', (data, { port, address }) => {
      const message = decodeBencode(new Uint8Array(data)) as BencodedMap;
      if (toLatin1(message.get('y') as Uint8Array) !== 'q') return;
      const asked = {
        kind: toLatin1(message.get('q') as Uint8Array),
        args: message.get('a') as BencodedMap,
        isReadOnly: message.get('ro') === 1,
      };
      this.asked.push(asked);
      const answer = this.#answer(asked, this);
      if (answer === undefined) return;
      const transaction = message.get('t')!;
      const reply = answer instanceof Uint8Array ? answer : this.#reply(transaction, answer);
      socket.send(reply, port, address);
    });
  }

  #reply(transaction: Bencoded, answer: BencodedMap | number): Uint8Array {
    const values: [string, Bencoded][] =
      typeof answer === 'number'
        ? [
            ['y', utf8('e')],
            ['e', [answer, utf8('no')]],
          ]
        : [
            ['y', utf8('r')],
            ['r', new Map<string, Bencoded>([['id', this.id], ['token', utf8('token')], ...answer])],
          ];
    return encodeBencode(new Map<string, Bencoded>([['t', transaction], ...values]));
  }

  static async start(answer: Answer): Promise<LyingNode> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new LyingNode(socket, answer);
  }

  get hostPort(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  /** As others are told of it. */
  contact(id = this.id): Uint8Array {
    const { port } = this.#socket.address();
    return Uint8Array.of(...id, 127, 0, 0, 1, port >> 8, port & 0xff);
  }

  /** Sends something that nobody asked for. */
  send(data: Uint8Array, port: number): void {
    this.#socket.send(data, port, '127.0.0.1');
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }
}

/** Values of a response that bring a signed value. */
export function valueOf(key: EndpointId, payload: Uint8Array): BencodedMap {
  return new Map<string, Bencoded>([
    ['k', key.toBytes()],
    ['sig', payload.subarray(0, 64)],
    ['seq', Number(new DataView(payload.buffer, payload.byteOffset).getBigUint64(64))],
    ['v', payload.subarray(72)],
  ]);
}
