/**
 * A progress bar on a terminal, nothing elsewhere; and sizes as people read them.
 *
 * @module
 */
import { Presets, SingleBar } from 'cli-progress';

/** Counts bytes. */
export interface Progress {
  add(bytes: number): void;
  stop(): void;
}

const MEBIBYTE = 1_024 * 1_024;

/** `12.5 MiB`, `900 bytes`. */
export function formatSize(bytes: number): string {
  if (bytes < 1_024) return `${bytes} bytes`;
  return bytes < MEBIBYTE ? `${(bytes / 1_024).toFixed(1)} KiB` : `${(bytes / MEBIBYTE).toFixed(1)} MiB`;
}

/** Shows how much of `total` bytes is done, and how fast. Without a label nothing is shown. */
export function progressBar(label: string | undefined, total: number): Progress {
  if (label === undefined) return { add: () => undefined, stop: () => undefined };
  const bar = new SingleBar(
    {
      format: `${label.padEnd(10)}{bar} {percentage} % of ${formatSize(total)} | {rate} MB/s`,
      hideCursor: true,
      noTTYOutput: false,
      barsize: 30,
    },
    Presets.shades_classic,
  );
  const started = performance.now();
  let done = 0;
  bar.start(Math.max(total, 1), 0, { rate: '0' });
  return {
    add: (bytes) => {
      done += bytes;
      const rate = done / Math.max(performance.now() - started, 1) / 1_000;
      bar.update(done, { rate: rate.toFixed(1) });
    },
    stop: () => {
      // An empty file is done from the start.
      if (total === 0) bar.update(1);
      bar.stop();
    },
  };
}
