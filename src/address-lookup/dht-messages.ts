/**
 * Messages of BitTorrent's Mainline DHT: queries and replies in one datagram each (BEP 5), with signed values of up to 1,000
 * bytes (BEP 44).
 *
 * Whoever puts a datagram together that we take for a reply decides what our libraries see of it. So a reply is read
 * strictly, and only what was understood is written again for them.
 *
 * @module
 */
import { concatBytes, DecodeError, EMPTY, equalBytes, fromLatin1, toLatin1, utf8 } from '../base/bytes.ts';
import { ENDPOINT_ID_BYTES, type EndpointId } from '../base/endpoint-id.ts';
import { DhtError } from '../base/errors.ts';
import { sharesPrefix, toAddr } from '../base/socket-addr.ts';
import { SIGNATURE_BYTES } from '../crypto/keys.ts';
import { decodeBencode, encodeBencode, type Bencoded, type BencodedMap } from './bencode.ts';
import { SignedPacket } from './signed-packet.ts';

/** Ids of nodes and of values. */
const NODE_ID_BYTES = 20;
/** A node as others are told of it: id, IPv4 address, port. */
const CONTACT_BYTES = NODE_ID_BYTES + 6;
/** Nodes tell of 8 or 20; more are no reply to us. */
const MAX_CONTACTS = 64;
const TRANSACTION_BYTES = 2;
/** As pkarr has it beside the value. */
const TIMESTAMP_BYTES = 8;
/** Others have up to 20. */
const MAX_TOKEN_BYTES = 64;
/** Networks in which no node of the internet is, and that are near to us (RFC 6890 §2.2.2): address, bits. */
const LOCAL_NETWORKS = (
  [
    ['10.0.0.0', 8],
    ['100.64.0.0', 10],
    ['127.0.0.0', 8],
    ['169.254.0.0', 16],
    ['172.16.0.0', 12],
    ['192.0.0.0', 24],
    ['192.168.0.0', 16],
    ['198.18.0.0', 15],
  ] as const
).map(([ip, bits]) => ({ network: toAddr(ip, 0).bytes, bits }));
/** A value, its signature, its key, and 20 nodes are below this. */
const MAX_MESSAGE_BYTES = 4_096;
/** BEP 43: who asks so is not put into tables, and is not asked. */
const READ_ONLY = 'ro';
/** Explanations of errors are read up to here. */
const MAX_EXPLANATION = 128;

/** A query of ours. */
export interface DhtQuery {
  readonly transaction: number;
  /** `ping`, `find_node`, `get`, `put`. */
  readonly kind: string;
  /** 20 bytes: what `find_node` and `get` are after, and where the value of `put` belongs. */
  readonly target: Uint8Array | undefined;
  /** The message, marked as that of somebody who only asks. */
  readonly bytes: Uint8Array;
}

/** A signed value, of whatever key. */
export interface DhtItem {
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
  /** Sequence number; pkarr puts a timestamp there, µs since 1970. */
  readonly seq: number;
  readonly value: Uint8Array;
}

/** What a node answered. */
export type DhtReply =
  | {
      readonly kind: 'response';
      readonly transaction: number;
      /** 20 bytes: who answers. */
      readonly nodeId: Uint8Array;
      /** 26 bytes each. */
      readonly contacts: Uint8Array;
      /** What a `put` to this node has to show. */
      readonly token: Uint8Array | undefined;
      readonly item: DhtItem | undefined;
    }
  | {
      readonly kind: 'error';
      readonly transaction: number;
      readonly code: number;
      readonly explanation: string;
    };

/**
 * Reads what our library wants to send, and marks it. A `put` gets the target that BEP 44 leaves to the reader: nodes of iroh
 * do not read one without (`n0-mainline` `src/common/messages/internal.rs`).
 *
 * @param targetOf - Where the value of a key belongs: its SHA-1.
 * @throws {DhtError} `Malformed`
 */
export function readQuery(bytes: Uint8Array, targetOf: (key: Uint8Array) => Uint8Array): DhtQuery {
  return reading(() => {
    const message = toMap(decodeBencode(bytes));
    const args = toMap(message.get('a'));
    const key = optionalBytes(args, 'k', ENDPOINT_ID_BYTES);
    const target = key === undefined ? optionalBytes(args, 'target', NODE_ID_BYTES) : targetOf(key);
    const allArgs = target === undefined ? args : new Map([...args, ['target', target]]);
    return {
      transaction: transactionOf(message),
      kind: toLatin1(toBytes(message.get('q'))),
      target,
      bytes: encodeBencode(new Map<string, Bencoded>([...message, ['a', allArgs], [READ_ONLY, 1]])),
    };
  });
}

/** Undefined for queries of others: we serve nobody. @throws {DhtError} `Malformed` */
export function readReply(bytes: Uint8Array): DhtReply | undefined {
  return reading(() => {
    if (bytes.length > MAX_MESSAGE_BYTES) throw new DecodeError('too long');
    const message = toMap(decodeBencode(bytes));
    switch (toLatin1(toBytes(message.get('y')))) {
      case 'q':
        return undefined;
      case 'r':
        return readResponse(transactionOf(message), toMap(message.get('r')));
      case 'e':
        return readError(transactionOf(message), message.get('e'));
      default:
        throw new DecodeError('neither query nor reply');
    }
  });
}

function readResponse(transaction: number, values: BencodedMap): DhtReply {
  const contacts = values.has('nodes') ? toBytes(values.get('nodes')) : EMPTY;
  if (contacts.length % CONTACT_BYTES !== 0 || contacts.length > MAX_CONTACTS * CONTACT_BYTES)
    throw new DecodeError('not a list of nodes');
  const token = values.has('token') ? toBytes(values.get('token')) : undefined;
  if (token !== undefined && token.length > MAX_TOKEN_BYTES)
    throw new DecodeError('a token that is too long');
  return {
    kind: 'response',
    transaction,
    nodeId: toBytes(values.get('id'), NODE_ID_BYTES),
    contacts,
    token,
    item: readItem(values),
  };
}

/** Whether an IPv4 address, 4 bytes, is of a network that is not the internet: this host, private, of one link, or for tests. */
export function isLocalIpv4(ip: Uint8Array): boolean {
  return LOCAL_NETWORKS.some(({ network, bits }) => sharesPrefix(network, ip, bits));
}

/**
 * Those of the nodes in a reply that may be asked: whoever answers could have us send to our neighbours, or to everybody at once.
 * @param mayBeLocal - Whether the DHT is one of our own network.
 * @returns `contacts` itself when all of them may be.
 */
export function usableContacts(contacts: Uint8Array, mayBeLocal: boolean): Uint8Array {
  const usable: Uint8Array[] = [];
  for (let at = 0; at < contacts.length; at += CONTACT_BYTES) {
    const contact = contacts.subarray(at, at + CONTACT_BYTES);
    const ip = contact.subarray(NODE_ID_BYTES, NODE_ID_BYTES + 4);
    const port = (contact[CONTACT_BYTES - 2]! << 8) | contact[CONTACT_BYTES - 1]!;
    // Unspecified, multicast, reserved and broadcast.
    const isOne = port !== 0 && ip[0]! > 0 && ip[0]! < 224;
    if (isOne && (mayBeLocal || !isLocalIpv4(ip))) usable.push(contact);
  }
  return usable.length * CONTACT_BYTES === contacts.length ? contacts : concatBytes(...usable);
}

/** Values that nobody signed are none for us. */
function readItem(values: BencodedMap): DhtItem | undefined {
  if (!['v', 'k', 'sig', 'seq'].every((name) => values.has(name))) return undefined;
  const seq = values.get('seq');
  if (typeof seq !== 'number' || seq < 0) throw new DecodeError('not a sequence number');
  return {
    key: toBytes(values.get('k'), ENDPOINT_ID_BYTES),
    signature: toBytes(values.get('sig'), SIGNATURE_BYTES),
    seq,
    value: toBytes(values.get('v')),
  };
}

function readError(transaction: number, error: Bencoded | undefined): DhtReply {
  const [code, explanation] = Array.isArray(error) ? (error as readonly Bencoded[]) : [];
  return {
    kind: 'error',
    transaction,
    code: typeof code === 'number' ? code : 0,
    explanation: explanation instanceof Uint8Array ? toLatin1(explanation.subarray(0, MAX_EXPLANATION)) : '',
  };
}

/** A reply again, with nothing else in it. */
export function encodeReply(reply: DhtReply): Uint8Array {
  const transaction: [string, Bencoded] = [
    't',
    Uint8Array.of(reply.transaction >> 8, reply.transaction & 0xff),
  ];
  if (reply.kind === 'error') {
    const error = [reply.code, fromLatin1(reply.explanation)];
    return encodeBencode(new Map<string, Bencoded>([transaction, ['y', utf8('e')], ['e', error]]));
  }
  const values = new Map<string, Bencoded>([['id', reply.nodeId]]);
  if (reply.contacts.length > 0) values.set('nodes', reply.contacts);
  if (reply.token !== undefined) values.set('token', reply.token);
  if (reply.item !== undefined) {
    const { key, signature, seq, value } = reply.item;
    values.set('k', key).set('sig', signature).set('seq', seq).set('v', value);
  }
  return encodeBencode(new Map<string, Bencoded>([transaction, ['y', utf8('r')], ['r', values]]));
}

/**
 * The packet that a value is.
 * @param id - Who was asked for.
 * @throws {DhtError} `WrongKey`; {@link PkarrError} `TooLong`, `Signature`, `Dns`
 */
export function toSignedPacket(id: EndpointId, { key, signature, seq, value }: DhtItem): SignedPacket {
  if (!equalBytes(id.toBytes(), key))
    throw new DhtError('DhtError.WrongKey', `a value of another key than ${id.short()}`);
  const timestamp = new Uint8Array(TIMESTAMP_BYTES);
  new DataView(timestamp.buffer).setBigUint64(0, BigInt(seq));
  return SignedPacket.verify(id, concatBytes(signature, timestamp, value));
}

/** Whether a value is that packet, which was verified before: finding that out costs much less than verifying it again. */
export function isItemOf(packet: SignedPacket, { key, signature, seq, value }: DhtItem): boolean {
  const item = toItem(packet);
  return (
    item.seq === seq &&
    equalBytes(item.key, key) &&
    equalBytes(item.signature, signature) &&
    equalBytes(item.value, value)
  );
}

/** The value that a packet is. */
export function toItem(packet: SignedPacket): DhtItem {
  const payload = packet.toRelayPayload();
  return {
    key: packet.id.toBytes(),
    signature: payload.subarray(0, SIGNATURE_BYTES),
    seq: Number(packet.timestampMicros),
    value: payload.subarray(SIGNATURE_BYTES + TIMESTAMP_BYTES),
  };
}

function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new DhtError('DhtError.Malformed', `no message of the DHT: ${cause.message}`, cause);
  }
}

function transactionOf(message: BencodedMap): number {
  const bytes = toBytes(message.get('t'));
  // Nodes of iroh make four bytes of the two that they were given (`n0-mainline` `src/common/messages.rs`).
  const isWidened = bytes.length === 2 * TRANSACTION_BYTES && bytes[0] === 0 && bytes[1] === 0;
  const [high, low] = toExactly(isWidened ? bytes.subarray(TRANSACTION_BYTES) : bytes, TRANSACTION_BYTES);
  return (high! << 8) | low!;
}

function toMap(value: Bencoded | undefined): BencodedMap {
  if (!(value instanceof Map)) throw new DecodeError('not a map');
  return value as BencodedMap;
}

function toBytes(value: Bencoded | undefined, length?: number): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new DecodeError('not bytes');
  return length === undefined ? value : toExactly(value, length);
}

function toExactly(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length !== length) throw new DecodeError(`${bytes.length} bytes instead of ${length}`);
  return bytes;
}

function optionalBytes(map: BencodedMap, name: string, length: number): Uint8Array | undefined {
  return map.has(name) ? toBytes(map.get(name), length) : undefined;
}
