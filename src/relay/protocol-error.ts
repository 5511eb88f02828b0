/**
 * What the other end of a relay connection did wrong. Any of it ends that connection, and nothing else.
 *
 * @module
 */

/** Which rule of the relay protocol was broken. */
export type RelayFault =
  /** Ends before it is complete. */
  | 'truncated'
  /** A fixed-size frame of another size. */
  | 'wrongLength'
  /** More than {@link MAX_RELAY_PAYLOAD_BYTES}, or contents that could not be passed on. */
  | 'tooLarge'
  /** A datagram without contents: nothing that could be passed on (the reference relay accepts it and harms its recipient). */
  | 'emptyDatagram'
  /** A type that nobody knows. */
  | 'unknownFrame'
  /** Known, but not from this side, not in this version, or not at this point of the conversation. */
  | 'unexpectedFrame'
  /** Text that is not UTF-8, a signature of another length, a header that is not what it should be. */
  | 'malformed';

/** The other end of a relay connection broke its protocol. */
export class RelayProtocolError extends Error {
  override readonly name = 'RelayProtocolError';
  readonly fault: RelayFault;

  constructor(fault: RelayFault, message: string) {
    super(`relay protocol: ${message}`);
    this.fault = fault;
  }
}
