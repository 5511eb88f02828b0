/**
 * Transport parameters (RFC 9000 §18, RFC 9221 §3, draft-ietf-quic-ack-frequency §3, draft-ietf-quic-multipath-21 §2.1,
 * draft-seemann-quic-address-discovery; n0 NAT traversal: noq `noq-proto/src/transport_parameters.rs`).
 *
 * @module
 */
import { DecodeError, Reader, Writer } from '../../base/bytes.ts';
import { randomBelow, randomBytes, type Rng } from '../../base/rng.ts';
import { varintSize } from '../../base/varint.ts';
import type { AddressDiscoveryRole } from '../config.ts';
import type { Side } from '../engine.ts';
import { TransportError } from '../transport-error.ts';

/** All parameters that we know. Absent ones have their default or are undefined. */
export interface TransportParameters {
  originalDestinationConnectionId: Uint8Array | undefined;
  /** ms; 0: none. */
  maxIdleTimeout: number;
  /** 16 bytes. */
  statelessResetToken: Uint8Array | undefined;
  maxUdpPayloadSize: number;
  initialMaxData: number;
  initialMaxStreamDataBidiLocal: number;
  initialMaxStreamDataBidiRemote: number;
  initialMaxStreamDataUni: number;
  initialMaxStreamsBidi: number;
  initialMaxStreamsUni: number;
  ackDelayExponent: number;
  /** ms. */
  maxAckDelay: number;
  disableActiveMigration: boolean;
  /** RFC 9000 §18.2 layout; we never use it. */
  preferredAddress: Uint8Array | undefined;
  activeConnectionIdLimit: number;
  initialSourceConnectionId: Uint8Array | undefined;
  retrySourceConnectionId: Uint8Array | undefined;
  maxDatagramFrameSize: number | undefined;
  initialMaxPathId: number | undefined;
  greaseQuicBit: boolean;
  /** µs. */
  minAckDelay: number | undefined;
  addressDiscovery: AddressDiscoveryRole | undefined;
  /** How many addresses the sender takes, 1 to 255. */
  natTraversal: number | undefined;
}

/** What an absent parameter means (RFC 9000 §18.2). */
export const DEFAULT_TRANSPORT_PARAMETERS: Readonly<TransportParameters> = {
  originalDestinationConnectionId: undefined,
  maxIdleTimeout: 0,
  statelessResetToken: undefined,
  maxUdpPayloadSize: 65_527,
  initialMaxData: 0,
  initialMaxStreamDataBidiLocal: 0,
  initialMaxStreamDataBidiRemote: 0,
  initialMaxStreamDataUni: 0,
  initialMaxStreamsBidi: 0,
  initialMaxStreamsUni: 0,
  ackDelayExponent: 3,
  maxAckDelay: 25,
  disableActiveMigration: false,
  preferredAddress: undefined,
  activeConnectionIdLimit: 2,
  initialSourceConnectionId: undefined,
  retrySourceConnectionId: undefined,
  maxDatagramFrameSize: undefined,
  initialMaxPathId: undefined,
  greaseQuicBit: false,
  minAckDelay: undefined,
  addressDiscovery: undefined,
  natTraversal: undefined,
};

type ParameterName = keyof TransportParameters;
type NumericName = {
  [K in ParameterName]: TransportParameters[K] extends number | undefined ? K : never;
}[ParameterName];
type BytesName = {
  [K in ParameterName]: TransportParameters[K] extends Uint8Array | undefined ? K : never;
}[ParameterName];

interface NumericSpec {
  readonly kind: 'number';
  readonly id: number;
  readonly name: NumericName;
  readonly min?: number;
  readonly max?: number;
}
interface BytesSpec {
  readonly kind: 'bytes';
  readonly id: number;
  readonly name: BytesName;
  readonly minLength: number;
  readonly maxLength: number;
  readonly serverOnly: boolean;
}
interface FlagSpec {
  readonly kind: 'flag';
  readonly id: number;
  readonly name: 'disableActiveMigration' | 'greaseQuicBit';
}
interface RoleSpec {
  readonly kind: 'role';
  readonly id: number;
  readonly name: 'addressDiscovery';
}
interface ByteSpec {
  readonly kind: 'byte';
  readonly id: number;
  readonly name: 'natTraversal';
}
type Spec = NumericSpec | BytesSpec | FlagSpec | RoleSpec | ByteSpec;

const number = (id: number, name: NumericName, limits: { min?: number; max?: number } = {}): NumericSpec => ({
  kind: 'number',
  id,
  name,
  ...limits,
});
const bytes = (
  id: number,
  name: BytesName,
  minLength: number,
  maxLength: number,
  serverOnly: boolean,
): BytesSpec => ({ kind: 'bytes', id, name, minLength, maxLength, serverOnly });

const MAX_CID_BYTES = 20;
/** RFC 9000 figure 22 without its connection id: 4+2 and 16+2 address bytes, cid length, token. */
const PREFERRED_ADDRESS_FIXED_BYTES = 41;

/** Limits: RFC 9000 §18.2 unless noted. */
const SPECS: readonly Spec[] = [
  bytes(0x00, 'originalDestinationConnectionId', 0, MAX_CID_BYTES, true),
  number(0x01, 'maxIdleTimeout'),
  bytes(0x02, 'statelessResetToken', 16, 16, true),
  number(0x03, 'maxUdpPayloadSize', { min: 1200 }),
  number(0x04, 'initialMaxData'),
  number(0x05, 'initialMaxStreamDataBidiLocal'),
  number(0x06, 'initialMaxStreamDataBidiRemote'),
  number(0x07, 'initialMaxStreamDataUni'),
  number(0x08, 'initialMaxStreamsBidi', { max: 2 ** 60 }),
  number(0x09, 'initialMaxStreamsUni', { max: 2 ** 60 }),
  number(0x0a, 'ackDelayExponent', { max: 20 }),
  number(0x0b, 'maxAckDelay', { max: 2 ** 14 - 1 }),
  { kind: 'flag', id: 0x0c, name: 'disableActiveMigration' },
  // The connection id must not be empty.
  bytes(
    0x0d,
    'preferredAddress',
    PREFERRED_ADDRESS_FIXED_BYTES + 1,
    PREFERRED_ADDRESS_FIXED_BYTES + MAX_CID_BYTES,
    true,
  ),
  number(0x0e, 'activeConnectionIdLimit', { min: 2 }),
  bytes(0x0f, 'initialSourceConnectionId', 0, MAX_CID_BYTES, false),
  bytes(0x10, 'retrySourceConnectionId', 0, MAX_CID_BYTES, true),
  number(0x20, 'maxDatagramFrameSize'), // RFC 9221 §3
  number(0x3e, 'initialMaxPathId', { max: 2 ** 32 - 1 }), // draft-ietf-quic-multipath-21 §2.1
  { kind: 'flag', id: 0x2ab2, name: 'greaseQuicBit' }, // RFC 9287 §3
  number(0xff04_de1b, 'minAckDelay'), // draft-ietf-quic-ack-frequency §3
  { kind: 'role', id: 0x9f81_a176, name: 'addressDiscovery' },
  { kind: 'byte', id: 0x3d7f_9112_0401, name: 'natTraversal' }, // one raw byte, not a varint
];
/** Places in {@link SPECS}. */
const BY_ID = new Map(SPECS.map((spec, index) => [spec.id, index]));
const ROLES: readonly AddressDiscoveryRole[] = ['send', 'receive', 'both'];

/**
 * Encodes parameters in random order with one reserved parameter, as upstream does, so that nobody relies on either
 * (RFC 9000 §18.1). Undefined ones and those at their default are left out.
 */
export function encodeTransportParameters(parameters: Partial<TransportParameters>, rng: Rng): Uint8Array {
  // Undefined stands for the reserved one.
  const order: (Spec | undefined)[] = [undefined];
  for (const spec of SPECS) {
    const value = parameters[spec.name];
    if (value !== undefined && value !== DEFAULT_TRANSPORT_PARAMETERS[spec.name]) order.push(spec);
  }
  // Fisher–Yates.
  for (let i = order.length - 1; i > 0; i--) {
    const j = randomBelow(rng, i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  const w = new Writer();
  for (const spec of order) {
    if (spec === undefined) writeGrease(w, rng);
    else writeParameter(w, spec, parameters[spec.name]!);
  }
  return w.copy();
}

function writeParameter(w: Writer, spec: Spec, value: NonNullable<TransportParameters[ParameterName]>): void {
  w.varint(spec.id);
  switch (spec.kind) {
    case 'number': {
      // What cannot be written exactly is more than anybody needs.
      const whole = Math.min(Math.floor(value as number), Number.MAX_SAFE_INTEGER);
      w.varint(varintSize(whole));
      w.varint(whole);
      return;
    }
    case 'bytes':
      w.varint((value as Uint8Array).length);
      w.put(value as Uint8Array);
      return;
    case 'role':
      w.varint(1);
      w.varint(ROLES.indexOf(value as AddressDiscoveryRole));
      return;
    case 'byte':
      w.varint(1);
      w.u8(value as number);
      return;
    case 'flag':
      w.varint(0);
      return;
  }
}

/** RFC 9000 §18.1: ids of the form 31 · N + 27 exist to be ignored. */
function writeGrease(w: Writer, rng: Rng): void {
  // N below 2^57 keeps the id below 2^62.
  const n = BigInt(randomBelow(rng, 2 ** 25)) * 2n ** 32n + BigInt(randomBelow(rng, 2 ** 32));
  w.varintBig(31n * n + 27n);
  const value = randomBytes(rng, randomBelow(rng, 16));
  w.varint(value.length);
  w.put(value);
}

/**
 * Decodes and checks parameters. Byte values are copies.
 * @param sender - Whose parameters these are: a client must not send some.
 * @throws {TransportError} TRANSPORT_PARAMETER_ERROR (RFC 9000 §7.4, §18.2).
 */
export function decodeTransportParameters(data: Uint8Array, sender: Side): TransportParameters {
  const parameters: TransportParameters = { ...DEFAULT_TRANSPORT_PARAMETERS };
  /** One bit for each of {@link SPECS}, fewer than 32. */
  let seen = 0;
  try {
    const r = new Reader(data);
    while (r.remaining > 0) {
      // Reserved ids have up to 62 bits (RFC 9000 §18.1). Those that are clamped are none of ours, and need not be exact.
      const index = BY_ID.get(r.varintClamped());
      const body = r.nested(r.varint());
      if (index === undefined) continue;
      const spec = SPECS[index]!;
      if ((seen & (1 << index)) !== 0) throw invalid('a parameter appears twice');
      seen |= 1 << index;
      readValue(body, spec, parameters, sender);
      if (body.remaining > 0) throw invalid(`${spec.name}: value does not fill its length`);
    }
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new TransportError('TRANSPORT_PARAMETER_ERROR', `malformed: ${error.message}`, { cause: error });
  }
  // draft-ietf-quic-ack-frequency §3.
  if (parameters.minAckDelay !== undefined && parameters.minAckDelay > parameters.maxAckDelay * 1_000) {
    throw invalid('min_ack_delay above max_ack_delay');
  }
  return parameters;
}

function readValue(r: Reader, spec: Spec, parameters: TransportParameters, sender: Side): void {
  switch (spec.kind) {
    case 'number': {
      const start = r.pos;
      const value = r.varintClamped();
      const { min = 0, max = Infinity } = spec;
      if (value < min || value > max || (value === CLAMPED && isAbove(r, start, max))) {
        throw invalid(`${spec.name}: illegal value ${value}${value === CLAMPED ? ' or more' : ''}`);
      }
      parameters[spec.name] = value;
      return;
    }
    case 'bytes': {
      if (spec.serverOnly && sender === 'client') throw invalid(`${spec.name} from a client`);
      const value = r.rest();
      if (value.length < spec.minLength || value.length > spec.maxLength) {
        throw invalid(`${spec.name}: ${value.length} bytes`);
      }
      if (spec.name === 'preferredAddress' && value.length !== PREFERRED_ADDRESS_FIXED_BYTES + value[24]!) {
        throw invalid('preferredAddress: lengths do not add up');
      }
      parameters[spec.name] = new Uint8Array(value);
      return;
    }
    case 'flag':
      parameters[spec.name] = true;
      return;
    case 'role': {
      const role = ROLES[r.varintClamped()];
      if (role === undefined) throw invalid('address discovery: unknown role');
      parameters.addressDiscovery = role;
      return;
    }
    case 'byte': {
      const value = r.u8();
      if (value === 0) throw invalid('NAT traversal: zero addresses');
      parameters.natTraversal = value;
      return;
    }
  }
}

/** What `varintClamped` gives for all that is larger. */
const CLAMPED = Number.MAX_SAFE_INTEGER;

/** Compares the varint at `start` exactly. @param max - `Infinity`, or an integer that a number holds exactly. */
function isAbove(r: Reader, start: number, max: number): boolean {
  if (max === Infinity) return false;
  r.pos = start;
  return r.varintBig() > BigInt(max);
}

function invalid(message: string): TransportError {
  return new TransportError('TRANSPORT_PARAMETER_ERROR', message);
}

/** Not remembered with a ticket (RFC 9000 §7.4.1; the multipath draft adds its own, §2.1). */
const FORGOTTEN: readonly ParameterName[] = [
  'originalDestinationConnectionId',
  'statelessResetToken',
  'preferredAddress',
  'initialSourceConnectionId',
  'retrySourceConnectionId',
  'ackDelayExponent',
  'maxAckDelay',
  'minAckDelay',
  'initialMaxPathId',
];

/** What a client may assume about a server in 0-RTT: the remembered parameters without those of one connection. */
export function forZeroRtt(remembered: TransportParameters): TransportParameters {
  const parameters: Record<string, unknown> = { ...remembered };
  for (const name of FORGOTTEN) parameters[name] = DEFAULT_TRANSPORT_PARAMETERS[name];
  return parameters as unknown as TransportParameters;
}

/** Limits that a server must not lower when it accepts early data (RFC 9000 §7.4.1, RFC 9221 §3). */
const NOT_LOWER: readonly NumericName[] = [
  'activeConnectionIdLimit',
  'initialMaxData',
  'initialMaxStreamDataBidiLocal',
  'initialMaxStreamDataBidiRemote',
  'initialMaxStreamDataUni',
  'initialMaxStreamsBidi',
  'initialMaxStreamsUni',
  'maxDatagramFrameSize',
];

/**
 * Checks the parameters of a server that accepted early data against the ones that the client assumed.
 * @throws {TransportError} PROTOCOL_VIOLATION (RFC 9000 §7.4.1).
 */
export function checkZeroRttAccepted(remembered: TransportParameters, fresh: TransportParameters): void {
  const lowered =
    NOT_LOWER.some((name) => (fresh[name] ?? 0) < (remembered[name] ?? 0)) ||
    (remembered.greaseQuicBit && !fresh.greaseQuicBit) ||
    // These two must not change at all: frames were sent under them (noq `validate_resumption_from`).
    remembered.addressDiscovery !== fresh.addressDiscovery ||
    remembered.natTraversal !== fresh.natTraversal;
  if (lowered) {
    throw new TransportError('PROTOCOL_VIOLATION', '0-RTT accepted with incompatible transport parameters');
  }
}
