/**
 * Twin of `debug-output.ts` for browsers, which have neither environment variables nor a file system: give functions as
 * `qlog` and `keylog` instead.
 *
 * @module
 */
import type { QlogFactory } from '../quic/qlog.ts';
import type { KeyLog } from '../tls/session.ts';

/** There is no environment. */
export function keyLogFromEnvironment(): KeyLog | undefined {
  return undefined;
}

/** There is no environment. */
export function qlogFromEnvironment(): QlogFactory | undefined {
  return undefined;
}

/** @throws {TypeError} always. */
export function qlogToFolder(_folder: string): QlogFactory {
  throw new TypeError('there are no folders here: give a function as qlog');
}
