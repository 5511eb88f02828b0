/**
 * What is told of measured times.
 *
 * @module
 */
import type { Pairing } from './pairs.ts';

/** The smallest value that at least `share` of all values do not exceed. */
export function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(share * values.length) - 1]!;
}

/** The middle one. */
export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Prints median, p95 and all of them, ms. */
export function tell(what: string, { client, server }: Pairing, values: readonly number[]): void {
  const all = values.map(Math.round).toSorted((a, b) => a - b);
  console.log(
    `${what}, ${client} dials ${server}: median ${median(all)} ms, p95 ${quantile(all, 0.95)} ms (${all.join(' ')})`,
  );
}
