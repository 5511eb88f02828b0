/**
 * A progress bar on a terminal, nothing elsewhere.
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

/** Shows how much of `total` bytes is done. */
export function progressBar(label: string, total: number): Progress {
  const bar = new SingleBar(
    {
      format: `${label.padEnd(9)} {bar} {percentage} % | {done}/{size} MiB | {duration_formatted}`,
      hideCursor: true,
      noTTYOutput: false,
    },
    Presets.shades_classic,
  );
  const size = (total / MEBIBYTE).toFixed(1);
  let done = 0;
  bar.start(Math.max(total, 1), 0, { done: '0.0', size });
  return {
    add: (bytes) => {
      done += bytes;
      bar.update(done, { done: (done / MEBIBYTE).toFixed(1) });
    },
    stop: () => bar.stop(),
  };
}
