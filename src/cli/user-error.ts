/**
 * What went wrong, in words for whoever typed the command.
 *
 * @module
 */

/** Printed without a stack. `DEBUG=iroh:*` shows what led to it. */
export class UserError extends Error {
  override readonly name = 'UserError';

  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
  }
}
