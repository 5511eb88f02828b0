/**
 * A progress bar on a terminal, nothing elsewhere; lines that do not tear it; and sizes as people read them.
 *
 * @module
 */
import { MultiBar, Presets } from 'cli-progress';
import type { Connection } from '../index.ts';

/** Counts bytes. */
export interface Progress {
  add(bytes: number): void;
  stop(): void;
}

const MEBIBYTE = 1_024 * 1_024;

/** What a bar is about. */
export interface ProgressOptions {
  /** In front of the bar. */
  readonly label: string;
  /** What the bytes go through. */
  readonly connection: Connection;
  /** Is told of bytes as they come, whether there is a bar or not. */
  readonly onBytes?: (bytes: number) => void;
}

/** The bar that is on the screen. */
let shown: MultiBar | undefined;

/** `12.5 MiB`, `900 bytes`. */
export function formatSize(bytes: number): string {
  if (bytes < 1_024) return `${bytes} bytes`;
  return bytes < MEBIBYTE ? `${(bytes / 1_024).toFixed(1)} KiB` : `${(bytes / MEBIBYTE).toFixed(1)} MiB`;
}

/** How bytes travel: `direct`, `relayed`, or `custom`; `no path` while there is none. */
export function pathWord(connection: Connection): string {
  const type = connection.paths.find(({ isSelected }) => isSelected)?.remoteAddr.type;
  if (type === undefined) return 'no path';
  return type === 'ip' ? 'direct' : type === 'relay' ? 'relayed' : 'custom';
}

/** Prints a line to stdout; above the bar if there is one. */
export function say(line: string): void {
  if (shown !== undefined && process.stdout.isTTY && process.stderr.isTTY) shown.log(`${line}\n`);
  else console.log(line);
}

/** Shows how much of `total` bytes is done, how fast, and how they travel; nothing without options. */
export function progressBar(total: number, options: ProgressOptions | undefined): Progress {
  const { onBytes = () => undefined } = options ?? {};
  if (options === undefined || !process.stderr.isTTY) return { add: onBytes, stop: () => undefined };
  const { label, connection } = options;
  // The only kind of bar that lets others print.
  const bars = new MultiBar(
    {
      format: `${label.padEnd(10)}{bar} {percentage} % of ${formatSize(total)} | {rate} MB/s | {path}`,
      hideCursor: true,
      noTTYOutput: false,
      barsize: 24,
      // Ctrl-C is for the command to handle.
      gracefulExit: false,
    },
    Presets.shades_classic,
  );
  shown = bars;
  // A command that ends in the midst of it gives the cursor back.
  const giveUp = (): void => bars.stop();
  process.once('exit', giveUp);
  const started = performance.now();
  let done = 0;
  const facts = (): { rate: string; path: string } => ({
    rate: (done / Math.max(performance.now() - started, 1) / 1_000).toFixed(1),
    path: pathWord(connection),
  });
  const bar = bars.create(Math.max(total, 1), 0, facts());
  return {
    add: (bytes) => {
      done += bytes;
      onBytes(bytes);
      bar.update(done, facts());
    },
    stop: () => {
      // An empty file is done from the start.
      if (total === 0) bar.update(1);
      // Prints what was said last.
      bars.update();
      bars.stop();
      process.off('exit', giveUp);
      if (shown === bars) shown = undefined;
    },
  };
}
