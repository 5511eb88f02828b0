/**
 * What an application can catch: one class per family, `code` = family and leaf, the cause kept
 * (families as upstream's error enums, behaviour of iroh 1.0.x).
 *
 * @module
 */

/** Every code with what it means; docs/errors.md is generated from it. */
export const ERROR_CODES = {
  'BindError.Sockets': 'A required socket could not be bound; `cause` is the system error.',
  'BindError.CreateQuicEndpoint': 'No socket at all could be bound.',
  'BindError.AddressLookup': 'A lookup service could not be made; see `cause`.',
  'BindError.Engine': 'The QUIC engine does not run on this platform, or failed to load; see `cause`.',
  'InvalidSocketAddr.AddrParse': 'A bind address is not `ip:port`.',
  'InvalidSocketAddr.InvalidPrefixLength': 'A prefix length is above 32 (IPv4) or 128 (IPv6).',
  'InvalidSocketAddr.DuplicateDefaultAddr': 'Two default addresses of one family.',
  'ConnectError.EndpointClosed': 'The endpoint is closed.',
  'ConnectError.EndpointStopping': 'The endpoint is closing.',
  'ConnectError.SelfConnect': 'The address is that of this very endpoint.',
  'ConnectError.InvalidAlpn': 'The protocol name is empty or longer than 255 bytes.',
  'ConnectError.NoAddress.NoServiceConfigured':
    'No address is known, and nothing is configured to look one up.',
  'ConnectError.NoAddress.NoResults': 'No address is known, and no service found one; see `cause`.',
  'ConnectError.LocallyRejected': 'A hook of this endpoint refused to connect, or the connection.',
  'ConnectError.AuthenticationError': 'Who answered is not who was dialled; see `cause`.',
  'ConnectError.CertificateType':
    'The two take no common proof of a key: one has raw public keys only, as iroh has, the other X.509 only.',
  'ConnectError.Connection': 'The connection ended before it was established; `cause` is a ConnectionError.',
  'ConnectWithOptsError.EndpointClosed': 'Cause of ConnectError.EndpointClosed.',
  'ConnectWithOptsError.EndpointStopping': 'Cause of ConnectError.EndpointStopping.',
  'ConnectWithOptsError.SelfConnect': 'Cause of ConnectError.SelfConnect.',
  'ConnectWithOptsError.InvalidAlpn': 'Cause of ConnectError.InvalidAlpn.',
  'ConnectWithOptsError.NoAddress': 'Cause of ConnectError.NoAddress.*.',
  'ConnectWithOptsError.LocallyRejected': 'A `beforeConnect` hook refused to dial.',
  'AddressLookupFailed.NoServiceConfigured': 'There is no address lookup service.',
  'AddressLookupFailed.NoResults': 'No service found an address; `errors` has one LookupError per failure.',
  'LookupError.Failed': 'The service that `provenance` names failed; see `cause`.',
  'LookupError.TimedOut': 'The service that `provenance` names took too long.',
  'PkarrError.Status': 'The pkarr server answered with `status`.',
  'PkarrError.TooShort': 'A signed packet that ends early.',
  'PkarrError.TooLong': 'A signed packet with more than 1,000 bytes of DNS message, received or to be sent.',
  'PkarrError.Signature': 'A signed packet that its key has not signed.',
  'PkarrError.Dns': 'A signed packet with something else in it than a DNS message; see `cause`.',
  'PkarrError.Stale': 'A signed packet that is older than one seen before.',
  'PkarrError.Future': 'A signed packet with a timestamp more than a day ahead.',
  'DnsError.Name': 'A name that DNS cannot hold.',
  'DnsError.TooLong': 'A DNS message, record or string that is longer than it may be.',
  'DnsError.Malformed': 'A DNS message that breaks the rules: ends early, or has names that lead nowhere.',
  'DnsError.Mismatch': 'A DNS message that is no answer to what was asked.',
  'DnsError.Truncated': 'The DNS server cut its answer off.',
  'DnsError.Refused': 'The DNS server answered with the error `responseCode`.',
  'DnsError.Status': 'The DNS server answered the HTTP request with `status`.',
  'DnsError.NoResolver':
    'There is no system resolver here (browsers), and no server for DNS over HTTPS was given.',
  'DhtError.Unavailable':
    'The DHT cannot be used here: the package `pkarr`, its native part, or UDP is missing; see `cause`.',
  'DhtError.NoNodes': 'No node of the DHT answered.',
  'DhtError.Refused': 'Nodes of the DHT answered, but none stored the packet; see `cause`.',
  'DhtError.TimedOut': 'Looking through the DHT took too long.',
  'DhtError.Busy': 'Too many keys are being looked for in the DHT.',
  'DhtError.Closed': 'The DHT client was closed.',
  'DhtError.Malformed': 'A message of a DHT node that cannot be read.',
  'DhtError.Unexpected': 'An answer of a DHT node to nothing that it was asked, or too late.',
  'DhtError.Contact': 'A DHT node told of nodes at addresses that no node of the internet can have.',
  'DhtError.WrongKey': 'A DHT node answered with the packet of another key.',
  'MdnsError.NoSocket':
    'Multicast can be used with neither IPv4 nor IPv6: the host is in no network, or the port is taken; see `cause`.',
  'ConnectingError.ConnectionError': 'The handshake failed; `cause` is a ConnectionError.',
  'ConnectingError.HandshakeFailure':
    'The peer could not be authenticated; `cause` is an AuthenticationError.',
  'ConnectingError.LocallyRejected': 'An `afterHandshake` hook refused the connection.',
  'AuthenticationError.RemoteId': 'The peer did not prove the expected endpoint id.',
  'AuthenticationError.NoAlpn': 'The handshake negotiated no protocol.',
  'ConnectionError.VersionMismatch': 'The peer speaks no version of QUIC that we do.',
  'ConnectionError.TransportError': 'The peer broke a rule of the protocol; `transportCode` names it.',
  'ConnectionError.ConnectionClosed': 'The peer closed because of a protocol error.',
  'ConnectionError.ApplicationClosed': 'The peer closed with `errorCode` and `reason`.',
  'ConnectionError.Reset': 'The peer lost all state of the connection.',
  'ConnectionError.TimedOut': 'Nothing was heard from the peer for the idle time-out.',
  'ConnectionError.LocallyClosed': 'Closed by this side.',
  'ConnectionError.CidsExhausted': 'No connection ids are left.',
  'WriteError.Stopped': 'The peer stopped reading, with `errorCode`.',
  'WriteError.ConnectionLost': 'The connection ended; `cause` is a ConnectionError.',
  'WriteError.ClosedStream': 'The stream was finished or reset before.',
  'WriteError.ZeroRttRejected': 'The stream was opened for early data that the server refused.',
  'ReadError.Reset': 'The peer abandoned the stream, with `errorCode`.',
  'ReadError.ConnectionLost': 'The connection ended; `cause` is a ConnectionError.',
  'ReadError.ClosedStream': 'The stream was stopped or read to its end before.',
  'ReadError.ZeroRttRejected': 'The stream was opened for early data that the server refused.',
  'ReadExactError.FinishedEarly': 'The stream ended after `bytesRead` bytes.',
  'ReadToEndError.TooLong': 'The stream is longer than the limit.',
  'StoppedError.ConnectionLost': 'The connection ended before the stream was done.',
  'StoppedError.ZeroRttRejected': 'The stream was opened for early data that the server refused.',
  'ResetError.ConnectionLost': 'The connection ended before the stream was done.',
  'ResetError.ZeroRttRejected': 'The stream was opened for early data that the server refused.',
  'SendDatagramError.UnsupportedByPeer': 'The peer does not take datagrams.',
  'SendDatagramError.Disabled': 'Datagrams are switched off on this side.',
  'SendDatagramError.TooLarge': 'The datagram is larger than `maxDatagramSize`.',
  'SendDatagramError.ConnectionLost': 'The connection ended; `cause` is a ConnectionError.',
  'RetryError.AlreadyValidated': 'The address of this attempt is validated already.',
  'IncomingError.AlreadyDecided': 'The attempt was accepted, refused, retried or ignored before.',
  'EndpointError.Closed': 'The endpoint is closed.',
  'RelayError.Dial.Timeout': 'No connection that the relay has confirmed within 10 s.',
  'RelayError.Dial.Connect.Dial': 'The relay is not reached: name, TCP or proxy; see `cause`.',
  'RelayError.Dial.Connect.Tls': 'The relay could not prove its name, or TLS failed; see `cause`.',
  'RelayError.Dial.Connect.UnexpectedUpgradeStatus': 'The server refused the upgrade with `status`.',
  'RelayError.Dial.Connect.Upgrade': 'The server did not answer the upgrade as it should.',
  'RelayError.Dial.Connect.BadVersionHeader':
    'The server speaks no version of the relay protocol that we do.',
  'RelayError.Dial.Connect.Websocket': 'The connection ended before the relay confirmed who we are.',
  'RelayError.Dial.Connect.Handshake': 'The relay broke the rules of the handshake; see `cause`.',
  'RelayError.Dial.Connect.Denied': 'The relay does not let us in; `reason` has its words.',
  'RelayError.Handshake.SendTimeout': 'As Established.SendTimeout, before the first pong.',
  'RelayError.Handshake.PingTimeout': 'The relay never answered a ping.',
  'RelayError.Handshake.LocalIpInvalid': 'As Established.LocalIpInvalid, before the first pong.',
  'RelayError.Handshake.LocalAddrMissing': 'As Established.LocalAddrMissing, before the first pong.',
  'RelayError.Handshake.StreamClosedServer': 'As Established.StreamClosedServer, before the first pong.',
  'RelayError.Handshake.ClientStreamRead': 'As Established.ClientStreamRead, before the first pong.',
  'RelayError.Established.SendTimeout': 'The relay took nothing for 15 s.',
  'RelayError.Established.PingTimeout': 'The relay did not answer a ping in time.',
  'RelayError.Established.LocalIpInvalid':
    'The network changed: the address that the connection went out from is gone.',
  'RelayError.Established.LocalAddrMissing':
    'The network changed, and which address the connection went out from is not known.',
  'RelayError.Established.StreamClosedServer': 'The relay closed the connection.',
  'RelayError.Established.ClientStreamRead':
    'The connection broke, or the relay broke the protocol; see `cause`.',
  'RelayServerError.InvalidOptions':
    'Options of a relay server that contradict each other or cannot be read.',
  'RelayServerError.Certificate': 'A certificate or key that cannot be read or used.',
  'RelayServerError.Bind': 'A socket could not be bound; `cause` is the system error.',
  'DnsServerError.InvalidOptions': 'Options of a lookup server that contradict each other or cannot be read.',
  'DnsServerError.Certificate': 'A certificate or key that cannot be read or used.',
  'DnsServerError.Bind': 'A socket could not be bound; `cause` is the system error.',
  'DnsServerError.Dht': 'The DHT was asked for and cannot be used; `cause` is a DhtError.',
  'DnsServerError.Busy': 'Too many wait for the database of records: the same may go well in a second.',
  'DnsServerError.Store': 'The database of records cannot be opened, or has failed; see `cause`.',
  'TimeoutError.Elapsed': 'The `timeoutMs` of a call elapsed.',
} as const;

/** Every code of every error: family, dot, leaf. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** Base of all errors that this library raises on purpose. */
export class IrohError extends Error {
  /** Family and leaf, e.g. `ConnectionError.TimedOut`. Switch on this, never on the message. */
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.name = code.slice(0, code.indexOf('.'));
  }

  /** Plain data: name, code, message, typed fields, and the cause if it can say something. */
  toJSON(): Record<string, unknown> {
    const json: Record<string, unknown> = { name: this.name, code: this.code, message: this.message };
    for (const [key, value] of Object.entries(this)) {
      if (key === 'name' || key === 'code') continue;
      json[key] =
        typeof value === 'bigint' ? value.toString() : value instanceof Uint8Array ? [...value] : value;
    }
    if (this.cause instanceof IrohError) json['cause'] = this.cause.toJSON();
    else if (isErrorLike(this.cause)) {
      const { name, message, code } = this.cause;
      json['cause'] = typeof code === 'string' ? { name, code, message } : { name, message };
    }
    return json;
  }
}

/** Errors of other realms (a frame, a VM context) are no instances of our `Error`. */
function isErrorLike(value: unknown): value is { name: string; message: string; code?: unknown } {
  return typeof value === 'object' && value !== null && 'name' in value && 'message' in value;
}

/** True for errors of this library; with `code`, for those of this code or family (`'ConnectError'`). */
export function isIrohError(error: unknown, code?: ErrorCode | (string & {})): error is IrohError {
  if (!(error instanceof IrohError)) return false;
  return code === undefined || error.code === code || error.code.startsWith(`${code}.`);
}

/** The codes of one family. */
export type CodeOf<Family extends string> = Extract<ErrorCode, `${Family}.${string}`>;

/** Why there is no connection to a relay; in the status of a relay, never thrown. */
export class RelayError extends IrohError {
  declare readonly code: CodeOf<'RelayError'>;
  /** Denied: the relay's words; not to be trusted. */
  readonly reason: string | undefined;
  /** UnexpectedUpgradeStatus: the status of the HTTP response. */
  readonly status: number | undefined;

  constructor(
    code: CodeOf<'RelayError'>,
    message: string,
    fields: {
      readonly reason?: string | undefined;
      readonly status?: number | undefined;
      readonly cause?: unknown;
    } = {},
  ) {
    super(code, message, fields.cause);
    this.reason = fields.reason;
    this.status = fields.status;
  }
}

/** A relay server could not be started, or its certificate not be replaced. */
export class RelayServerError extends IrohError {
  declare readonly code: CodeOf<'RelayServerError'>;
}

/** A lookup server cannot be started, or cannot read its certificates again, or its store does not answer. */
export class DnsServerError extends IrohError {
  declare readonly code: CodeOf<'DnsServerError'>;
}

/** `Endpoint.bind` failed. */
export class BindError extends IrohError {
  declare readonly code: CodeOf<'BindError'>;
}

/** A bind address that cannot be used. */
export class InvalidSocketAddrError extends IrohError {
  declare readonly code: CodeOf<'InvalidSocketAddr'>;
}

/** `connect` failed. */
export class ConnectError extends IrohError {
  declare readonly code: CodeOf<'ConnectError'>;
}

/** Why dialling did not even start; cause of a {@link ConnectError}. */
export class ConnectWithOptsError extends IrohError {
  declare readonly code: CodeOf<'ConnectWithOptsError'>;
}

/** One address lookup service failed. */
export class LookupError extends IrohError {
  declare readonly code: CodeOf<'LookupError'>;
  /** Name of the service. */
  readonly provenance: string;

  constructor(code: CodeOf<'LookupError'>, provenance: string, message: string, cause?: unknown) {
    super(code, `${provenance}: ${message}`, cause);
    this.provenance = provenance;
  }
}

/** No service found an address. */
export class AddressLookupFailed extends IrohError {
  declare readonly code: CodeOf<'AddressLookupFailed'>;
  /** What went wrong, one for each service that failed. */
  readonly errors: readonly LookupError[];

  constructor(code: CodeOf<'AddressLookupFailed'>, message: string, errors: readonly LookupError[] = []) {
    super(code, message);
    this.errors = errors;
  }
}

/** Publishing to a pkarr server or asking it failed; cause of a {@link LookupError}. */
export class PkarrError extends IrohError {
  declare readonly code: CodeOf<'PkarrError'>;
  /** Status: of the HTTP response. */
  readonly status: number | undefined;

  constructor(
    code: CodeOf<'PkarrError'>,
    message: string,
    fields: { readonly status?: number | undefined; readonly cause?: unknown } = {},
  ) {
    super(code, message, fields.cause);
    this.status = fields.status;
  }
}

/** Asking DNS failed; cause of a {@link LookupError}. */
export class DnsError extends IrohError {
  declare readonly code: CodeOf<'DnsError'>;
  /** Refused: RFC 1035 §4.1.1, such as 2 for a failure of the server. */
  readonly responseCode: number | undefined;
  /** Status: of the HTTP response. */
  readonly status: number | undefined;

  constructor(
    code: CodeOf<'DnsError'>,
    message: string,
    fields: {
      readonly responseCode?: number | undefined;
      readonly status?: number | undefined;
      readonly cause?: unknown;
    } = {},
  ) {
    super(code, message, fields.cause);
    this.responseCode = fields.responseCode;
    this.status = fields.status;
  }
}

/** The DHT failed, or a node of it said what is refused; cause of a {@link LookupError}. */
export class DhtError extends IrohError {
  declare readonly code: CodeOf<'DhtError'>;
}

/** Nobody can be found in the local network; cause of a {@link LookupError}. */
export class MdnsError extends IrohError {
  declare readonly code: CodeOf<'MdnsError'>;
}

/** Why the handshake failed; cause of a {@link ConnectError}. */
export class ConnectingError extends IrohError {
  declare readonly code: CodeOf<'ConnectingError'>;
}

/** The peer is not who it should be. */
export class AuthenticationError extends IrohError {
  declare readonly code: CodeOf<'AuthenticationError'>;
}

/** Why a connection ended. */
export class ConnectionError extends IrohError {
  declare readonly code: CodeOf<'ConnectionError'>;
  /** ApplicationClosed, ConnectionClosed: the code of the peer; above 2^53 − 1 it is clamped, see {@link rawCode}. */
  readonly errorCode: number | undefined;
  /** The code as it was on the wire, 0 to 2^62 − 1. */
  readonly rawCode: bigint | undefined;
  /** TransportError, ConnectionClosed: the code's name, e.g. `PROTOCOL_VIOLATION`. */
  readonly transportCode: string | undefined;
  /** The peer's words; not to be trusted. */
  readonly reason: Uint8Array | undefined;

  constructor(
    code: CodeOf<'ConnectionError'>,
    message: string,
    fields: {
      readonly rawCode?: bigint | undefined;
      readonly transportCode?: string | undefined;
      readonly reason?: Uint8Array | undefined;
      readonly cause?: unknown;
    } = {},
  ) {
    super(code, message, fields.cause);
    this.rawCode = fields.rawCode;
    this.errorCode = fields.rawCode === undefined ? undefined : clampCode(fields.rawCode);
    this.transportCode = fields.transportCode;
    this.reason = fields.reason;
  }
}

/** An error with the peer's application code. */
class CodedError extends IrohError {
  /** Stopped, Reset: the peer's code; above 2^53 − 1 it is clamped, see {@link rawCode}. */
  readonly errorCode: number | undefined;
  /** The code as it was on the wire, 0 to 2^62 − 1. */
  readonly rawCode: bigint | undefined;

  constructor(code: ErrorCode, message: string, rawCode?: bigint, cause?: unknown) {
    super(code, message, cause);
    this.rawCode = rawCode;
    this.errorCode = rawCode === undefined ? undefined : clampCode(rawCode);
  }
}

/** Writing to a stream failed. */
export class WriteError extends CodedError {
  declare readonly code: CodeOf<'WriteError'>;
}

/** Reading from a stream failed. */
export class ReadError extends CodedError {
  declare readonly code: CodeOf<'ReadError'>;
}

/** `readExact` failed because the stream ended. */
export class ReadExactError extends IrohError {
  declare readonly code: CodeOf<'ReadExactError'>;
  /** Bytes that came before the end. */
  readonly bytesRead: number;

  constructor(bytesRead: number) {
    super('ReadExactError.FinishedEarly', `the stream ended after ${bytesRead} bytes`);
    this.bytesRead = bytesRead;
  }
}

/** `readToEnd` failed because the stream is too long. */
export class ReadToEndError extends IrohError {
  declare readonly code: CodeOf<'ReadToEndError'>;
}

/** `stopped` cannot tell any more. */
export class StoppedError extends IrohError {
  declare readonly code: CodeOf<'StoppedError'>;
}

/** `resetReceived` cannot tell any more. */
export class ResetError extends IrohError {
  declare readonly code: CodeOf<'ResetError'>;
}

/** `sendDatagram` failed. */
export class SendDatagramError extends IrohError {
  declare readonly code: CodeOf<'SendDatagramError'>;
}

/** `incoming.retry()` cannot be done. */
export class RetryError extends IrohError {
  declare readonly code: CodeOf<'RetryError'>;
}

/** A connection attempt was decided twice. */
export class IncomingError extends IrohError {
  declare readonly code: CodeOf<'IncomingError'>;
}

/** The endpoint cannot do this any more. */
export class EndpointError extends IrohError {
  declare readonly code: CodeOf<'EndpointError'>;
}

/** A call's `timeoutMs` elapsed. */
export class TimeoutError extends IrohError {
  declare readonly code: CodeOf<'TimeoutError'>;

  constructor(timeoutMs: number) {
    super('TimeoutError.Elapsed', `timed out after ${timeoutMs} ms`);
  }
}

/** A wire code as a number: exact up to 2^53 − 1, clamped above. */
export function clampCode(code: bigint): number {
  return code > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(code);
}

/** An application's code for the wire. @throws {RangeError} unless it is an integer from 0 to 2^53 − 1. */
export function toWireCode(code: number): bigint {
  if (!Number.isSafeInteger(code) || code < 0) {
    throw new RangeError(`application error code: expected an integer from 0 to 2^53 - 1, got ${code}`);
  }
  return BigInt(code);
}
