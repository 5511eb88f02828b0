/**
 * The way from a connection to the handles of its streams.
 *
 * @module
 */
/** What a half of a stream hears. */
export interface StreamListener {
  onReady(): void;
  onStopped?(code: bigint): void;
  onFinished?(): void;
  /** Early data was refused: the stream never existed, and another one may get its number. */
  onZeroRttRejected(): void;
  /** The connection has ended, as its `error` says. */
  onConnectionLost(): void;
}
