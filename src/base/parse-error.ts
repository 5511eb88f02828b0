/**
 * The error of everything that a person types or pastes: keys, ids, addresses, relay URLs, tickets.
 *
 * @module
 */

/** What was being parsed, and what was wrong with it. */
export type ParseErrorCode =
  /** Neither 64 hex characters nor 52 base32 characters (z-base-32 and bytes: not 32 bytes). */
  | 'ParseError.EndpointId.Length'
  /** A foreign character, upper-case hex, or bits after the last byte. */
  | 'ParseError.EndpointId.Encoding'
  /** 32 bytes, but no point of the curve has this y coordinate. */
  | 'ParseError.EndpointId.NotAPoint'
  | 'ParseError.SecretKey.Length'
  | 'ParseError.SecretKey.Encoding'
  | 'ParseError.Signature'
  /** Not an absolute URL. */
  | 'ParseError.RelayUrl'
  | 'ParseError.TransportAddr'
  /** JSON of another shape. */
  | 'ParseError.EndpointAddr'
  /** Does not start with `endpoint`. */
  | 'ParseError.Ticket.Prefix'
  /** Longer than the limit. */
  | 'ParseError.Ticket.TooLong'
  /** Not base32. */
  | 'ParseError.Ticket.Encoding'
  /** A ticket format or kind of address that we do not know. */
  | 'ParseError.Ticket.Variant'
  /** Truncated, or a value out of range. */
  | 'ParseError.Ticket.Payload';

/** Text or bytes that are not what they should be. Messages never contain secrets. */
export class ParseError extends Error {
  /** For logs. */
  override readonly name = 'ParseError';
  /** What was being parsed, and what was wrong. Switch on this, never on the message. */
  readonly code: ParseErrorCode;

  constructor(code: ParseErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }

  /** Plain data, for logs. */
  toJSON(): { name: string; code: ParseErrorCode; message: string } {
    return { name: this.name, code: this.code, message: this.message };
  }
}
