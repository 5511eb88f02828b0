/**
 * Files for debugging, where Node has files. The browser twin is `debug-output.browser.ts`.
 *
 * Written synchronously: a log whose last lines are missing because the process died is of little use.
 *
 * @module
 */
import { appendFileSync, closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { QlogFactory } from '../quic/qlog.ts';
import type { KeyLog } from '../tls/session.ts';

/** Readable by its owner only: whoever has the secrets of a connection reads its traffic. */
const SECRET_FILE_MODE = 0o600;

/** Appends to the file that `SSLKEYLOGFILE` names; undefined when the variable is not set. */
export function keyLogFromEnvironment(): KeyLog | undefined {
  const path = process.env['SSLKEYLOGFILE'];
  if (path === undefined || path === '') return undefined;
  return (line) => appendFileSync(path, `${line}\n`, { mode: SECRET_FILE_MODE });
}

/** Logs every connection into a file of its own in the folder that `QLOGDIR` names; undefined when it is not set. */
export function qlogFromEnvironment(): QlogFactory | undefined {
  const folder = process.env['QLOGDIR'];
  return folder === undefined || folder === '' ? undefined : qlogToFolder(folder);
}

/**
 * Logs every connection into `<folder>/<hex connection id>-<side>.sqlog`; makes the folder.
 * @throws the system's error when the folder cannot be made.
 */
export function qlogToFolder(folder: string): QlogFactory {
  mkdirSync(folder, { recursive: true });
  return (name) => {
    const file = openSync(join(folder, `${name}.sqlog`), 'w');
    let isOpen = true;
    const close = (): void => {
      if (isOpen) closeSync(file);
      isOpen = false;
    };
    return {
      write: (text) => {
        try {
          if (isOpen) writeSync(file, text);
        } catch {
          // A full disk ends the log, not the connection.
          close();
        }
      },
      close,
    };
  };
}
