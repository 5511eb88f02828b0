/**
 * Port Control Protocol (RFC 6887), the part that a client needs to map one UDP port of its own: ANNOUNCE and MAP without
 * options.
 *
 * ```
 *   request   version R|opcode reserved(2)        lifetime(4) client-ip(16)          | opcode's data
 *   response  version R|opcode reserved result(1) lifetime(4) epoch(4) reserved(12)  | opcode's data
 *   MAP       nonce(12) protocol reserved(3) internal-port(2) external-port(2) external-ip(16)
 * ```
 *
 * @module
 */
import { Reader, Writer, equalBytes } from '../base/bytes.ts';
import { toAddr, type Addr } from '../base/socket-addr.ts';
import { PortMapError } from './fault.ts';

/** Where routers listen, for NAT-PMP too (RFC 6887 §19.1, RFC 6886 §4). */
export const GATEWAY_PORT = 5_351;
/** What is asked for, s; net-tools `portmapper/src/pcp.rs`. */
export const PCP_LIFETIME_S = 3_600;
/** RFC 6887 §11.1. */
export const PCP_NONCE_BYTES = 12;

/** RFC 6887 §7: no message is longer. */
const MAX_MESSAGE_BYTES = 1_100;
const VERSION = 2;
const RESPONSE = 0x80;
const HEADER_BYTES = 24;
const MAP_BYTES = 36;
/** IANA's number of UDP. */
const UDP = 17;
/** `::ffff:` before an IPv4 address (RFC 4291 §2.5.5.2). */
const MAPPED_PREFIX_BYTES = 12;
/** RFC 6887 §7.4. */
const UNSUPPORTED_VERSION = 1;

const OPCODES = { announce: 0, map: 1 } as const;

/** What is asked for. */
export interface PcpMapRequest {
  /** IPv4; must be the one that the router sees. */
  readonly clientIp: string;
  readonly nonce: Uint8Array;
  readonly localPort: number;
  /** What would be nice, or the same as before. */
  readonly suggested: Addr | undefined;
  /** 0 deletes. */
  readonly lifetimeS: number;
}

/** What a router grants. Nothing of it is checked but its form. */
export interface PcpGrant {
  /** 16 bytes. */
  readonly externalIp: Uint8Array;
  readonly externalPort: number;
  readonly lifetimeS: number;
}

function writeHeader(out: Writer, opcode: number, lifetimeS: number, clientIp: string): void {
  out.u8(VERSION);
  out.u8(opcode);
  out.u16(0);
  out.u32(lifetimeS);
  writeIp(out, toAddr(clientIp, 0).bytes);
}

/** RFC 6887 §5: IPv4 as IPv4-mapped IPv6. */
function writeIp(out: Writer, ip: Uint8Array): void {
  if (ip.length === 4) {
    out.zeros(MAPPED_PREFIX_BYTES - 2);
    out.u16(0xffff);
  }
  out.put(ip);
}

/** Asks whether there is a PCP server (RFC 6887 §14.1). */
export function encodePcpAnnounce(clientIp: string): Uint8Array {
  const out = new Writer(new Uint8Array(HEADER_BYTES));
  writeHeader(out, OPCODES.announce, 0, clientIp);
  return out.bytes;
}

/** RFC 6887 §11.1, Figure 9. */
export function encodePcpMap(request: PcpMapRequest): Uint8Array {
  const { clientIp, nonce, localPort, suggested, lifetimeS } = request;
  const out = new Writer(new Uint8Array(HEADER_BYTES + MAP_BYTES));
  writeHeader(out, OPCODES.map, lifetimeS, clientIp);
  out.put(nonce);
  out.u8(UDP);
  out.u24(0);
  out.u16(localPort);
  out.u16(suggested?.port ?? 0);
  writeIp(out, suggested?.bytes ?? new Uint8Array(4));
  return out.bytes;
}

interface PcpResponse {
  readonly result: number;
  readonly lifetimeS: number;
  readonly data: Reader;
}

/** RFC 6887 §8.3: what is checked first, in its order. */
function readHeader(bytes: Uint8Array, opcode: number): PcpResponse {
  // A NAT-PMP server answers in its own version and in fewer bytes (RFC 6887 §9).
  if (bytes.length > 0 && bytes[0] !== VERSION)
    throw new PortMapError('wrongVersion', `PCP version ${bytes[0]}`);
  if (bytes.length > MAX_MESSAGE_BYTES) throw new PortMapError('tooLarge', `PCP: ${bytes.length} bytes`);
  if (bytes.length < HEADER_BYTES || bytes.length % 4 !== 0)
    throw new PortMapError('wrongLength', `PCP: ${bytes.length} bytes`);
  const data = new Reader(bytes, 1);
  const kind = data.u8();
  if (kind !== (RESPONSE | opcode)) throw new PortMapError('unasked', `PCP: opcode ${kind}`);
  data.u8();
  const result = data.u8();
  const lifetimeS = data.u32();
  // Epoch and reserved: a router that forgot us is noticed when the lease is renewed.
  data.take(16);
  return { result, lifetimeS, data };
}

function checkResult({ result }: PcpResponse): void {
  if (result === UNSUPPORTED_VERSION)
    throw new PortMapError('wrongVersion', 'PCP: unsupported version', result);
  if (result !== 0) throw new PortMapError('refused', `PCP: result ${result}`, result);
}

/** Checks an answer to {@link encodePcpAnnounce}. @throws {PortMapError} */
export function checkPcpAnnounce(bytes: Uint8Array): void {
  checkResult(readHeader(bytes, OPCODES.announce));
}

/** Reads the answer to a request. @throws {PortMapError} */
export function decodePcpMap(bytes: Uint8Array, request: PcpMapRequest): PcpGrant {
  const response = readHeader(bytes, OPCODES.map);
  const { data, lifetimeS } = response;
  if (data.remaining < MAP_BYTES) {
    // A server that could not read the request may leave its data out.
    checkResult(response);
    throw new PortMapError('wrongLength', `PCP: MAP of ${data.remaining} bytes`);
  }
  // Before the result: who does not know the nonce has nothing to say (RFC 6887 §11.4).
  const nonce = data.take(PCP_NONCE_BYTES);
  const protocol = data.u8();
  data.u24();
  const localPort = data.u16();
  if (!equalBytes(nonce, request.nonce) || protocol !== UDP || localPort !== request.localPort)
    throw new PortMapError('unasked', `PCP: protocol ${protocol}, port ${localPort}, or another nonce`);
  checkResult(response);
  const externalPort = data.u16();
  return { externalIp: data.take(16), externalPort, lifetimeS };
}
