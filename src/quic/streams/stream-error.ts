/**
 * Why a stream call cannot be done.
 *
 * @module
 */

/** A stream that is gone, or whose other half ended. */
export class StreamError extends Error {
  override readonly name = 'StreamError';
  readonly kind: 'unknownStream' | 'stopped' | 'reset' | 'closed' | 'connectionLost' | 'zeroRttRejected';
  /** Application error code of `stopped` and `reset`. */
  readonly code: bigint | undefined;

  constructor(kind: StreamError['kind'], code?: bigint) {
    super(code === undefined ? `stream: ${kind}` : `stream: ${kind} with code ${code}`);
    this.kind = kind;
    this.code = code;
  }
}
