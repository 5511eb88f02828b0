/**
 * Counts what a lookup service refused, by reason.
 *
 * @module
 */
import { DhtError, DnsError, PkarrError, type ErrorCode } from '../base/errors.ts';

/** Answers that were refused, by the code of the error that said so. */
export class Refusals {
  readonly counts = new Map<ErrorCode, number>();

  /** Counts an error of ours, and lets it go on. */
  note(error: unknown): unknown {
    if (error instanceof PkarrError || error instanceof DnsError || error instanceof DhtError)
      this.counts.set(error.code, (this.counts.get(error.code) ?? 0) + 1);
    return error;
  }
}
