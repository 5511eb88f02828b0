/**
 * NAT Port Mapping Protocol (RFC 6886), what a client sends and reads.
 *
 * ```
 *   ask for the address   00 00
 *     answer              00 80 result(2) epoch(4) ip(4)
 *   map UDP               00 01 0000 internal-port(2) suggested-external-port(2) lifetime(4)
 *     answer              00 81 result(2) epoch(4) internal-port(2) external-port(2) lifetime(4)
 * ```
 *
 * @module
 */
import { Reader, Writer } from '../base/bytes.ts';
import { PortMapError } from './fault.ts';

/** What is asked for, s: the recommended value (RFC 6886 §3.3). */
export const NAT_PMP_LIFETIME_S = 7_200;

const VERSION = 0;
const RESPONSE = 0x80;
const HEADER_BYTES = 8;
const ADDRESS_BYTES = 12;
const MAP_BYTES = 16;
/** RFC 6886 §3.5. */
const UNSUPPORTED_VERSION = 1;

const OPCODES = { address: 0, mapUdp: 1 } as const;

/** What is asked for. */
export interface NatPmpMapRequest {
  readonly localPort: number;
  /** 0: any. */
  readonly suggestedPort: number;
  /** 0 deletes; the suggested port is 0 then (RFC 6886 §3.4). */
  readonly lifetimeS: number;
}

/** What a router grants. Nothing of it is checked but its form. */
export interface NatPmpGrant {
  readonly externalPort: number;
  readonly lifetimeS: number;
}

/** RFC 6886 §3.2. */
export function encodeNatPmpAddress(): Uint8Array {
  return new Uint8Array([VERSION, OPCODES.address]);
}

/** RFC 6886 §3.3. */
export function encodeNatPmpMap({ localPort, suggestedPort, lifetimeS }: NatPmpMapRequest): Uint8Array {
  const out = new Writer(new Uint8Array(12));
  out.u8(VERSION);
  out.u8(OPCODES.mapUdp);
  out.u16(0);
  out.u16(localPort);
  out.u16(suggestedPort);
  out.u32(lifetimeS);
  return out.bytes;
}

function readHeader(bytes: Uint8Array, opcode: number, length: number): Reader {
  // A PCP server answers in its own version (RFC 6887 §9).
  if (bytes.length > 0 && bytes[0] !== VERSION)
    throw new PortMapError('wrongVersion', `NAT-PMP version ${bytes[0]}`);
  if (bytes.length < HEADER_BYTES) throw new PortMapError('wrongLength', `NAT-PMP: ${bytes.length} bytes`);
  const reader = new Reader(bytes, 1);
  const kind = reader.u8();
  const result = reader.u16();
  if (kind !== (RESPONSE | opcode)) throw new PortMapError('unasked', `NAT-PMP: opcode ${kind}`);
  if (result === UNSUPPORTED_VERSION)
    throw new PortMapError('wrongVersion', 'NAT-PMP: unsupported version', result);
  // With an error the rest may be left out.
  if (result !== 0) throw new PortMapError('refused', `NAT-PMP: result ${result}`, result);
  if (bytes.length !== length) throw new PortMapError('wrongLength', `NAT-PMP: ${bytes.length} bytes`);
  // Epoch: a router that forgot us is noticed when the lease is renewed.
  reader.u32();
  return reader;
}

/** Reads the answer to {@link encodeNatPmpAddress}: 4 bytes. @throws {PortMapError} */
export function decodeNatPmpAddress(bytes: Uint8Array): Uint8Array {
  return readHeader(bytes, OPCODES.address, ADDRESS_BYTES).take(4);
}

/** Reads the answer to a request. @throws {PortMapError} */
export function decodeNatPmpMap(bytes: Uint8Array, request: NatPmpMapRequest): NatPmpGrant {
  const reader = readHeader(bytes, OPCODES.mapUdp, MAP_BYTES);
  const localPort = reader.u16();
  if (localPort !== request.localPort) throw new PortMapError('unasked', `NAT-PMP: port ${localPort}`);
  return { externalPort: reader.u16(), lifetimeS: reader.u32() };
}
