/**
 * What an endpoint says about itself: lifecycle facts, never packets (those are in qlog).
 *
 * Goes to the `logger` of the endpoint, and to stderr for namespaces that `DEBUG` names (browsers: `localStorage.debug`):
 * `iroh:endpoint`, `iroh:connection`, `iroh:path`, `iroh:router`, `iroh:lookup`, `iroh:hooks`.
 *
 * @module
 */
import { createDebug } from 'obug';

/** Takes what an endpoint says about itself. `console` is one. */
export interface Logger {
  /**
   * Takes a line. What it throws is ignored.
   * @param message - Starts with its namespace, such as `iroh:connection`.
   */
  debug(message: string): void;
}

/** Namespaces of `DEBUG`. */
export type LogScope = 'endpoint' | 'connection' | 'path' | 'router' | 'lookup' | 'hooks';

const debuggers = {
  endpoint: createDebug('iroh:endpoint'),
  connection: createDebug('iroh:connection'),
  path: createDebug('iroh:path'),
  router: createDebug('iroh:router'),
  lookup: createDebug('iroh:lookup'),
  hooks: createDebug('iroh:hooks'),
} as const satisfies Record<LogScope, unknown>;

/** Longest line, UTF-16 units; what is longer is cut. A relay may say up to 64 KiB. */
const MAX_LINE_LENGTH = 4_096;

/**
 * One line, as a terminal may be shown it: reasons of peers and relays are in it, and their control characters (ECMA-48 C0,
 * DEL, C1) could forge lines or move the cursor.
 */
function printable(text: string): string {
  const line = text.length > MAX_LINE_LENGTH ? `${text.slice(0, MAX_LINE_LENGTH)}…` : text;
  return line.replace(/\p{Cc}/gu, (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** Distributes lines; builds them only if somebody reads. */
export class Log {
  readonly #logger: Logger | undefined;

  constructor(logger?: Logger) {
    this.#logger = logger;
  }

  /** @param line - Called when somebody reads the scope. */
  write(scope: LogScope, line: () => string): void {
    const debug = debuggers[scope];
    if (this.#logger === undefined && !debug.enabled) return;
    const text = printable(line());
    if (debug.enabled) debug('%s', text);
    try {
      this.#logger?.debug(`iroh:${scope} ${text}`);
    } catch {
      // A logger that fails must not take connections with it.
    }
  }
}
