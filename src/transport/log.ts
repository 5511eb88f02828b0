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
    const text = line();
    if (debug.enabled) debug('%s', text);
    try {
      this.#logger?.debug(`iroh:${scope} ${text}`);
    } catch {
      // A logger that fails must not take connections with it.
    }
  }
}
