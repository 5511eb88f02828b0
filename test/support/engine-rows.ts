/**
 * Scenarios over every pair of engines: rows of one table, the pair is the parameter. Rows that a pair cannot do are listed with
 * what it lacks.
 *
 * @module
 */
import { describe, expect, test } from '@jest/globals';
import { capabilitiesOf, ENGINE_PAIRS, Lan, type PairCapabilities } from './lan.ts';

/** What a row may need beyond what all engines do. */
export type Need = 'multipath' | 'natTraversal' | 'exporter' | 'movesClients';

/** One scenario. */
export interface Row {
  readonly name: string;
  readonly needs?: readonly Need[];
  readonly run: (place: Lan) => Promise<void>;
}

/** Undefined when a pair can do it, else what it lacks. */
const LACKS: Record<Need, (pair: PairCapabilities) => string | undefined> = {
  multipath: (pair) => missing(pair, 'multipath'),
  natTraversal: (pair) => missing(pair, 'natTraversal'),
  exporter: (pair) => missing(pair, 'exporter'),
  // Who has several paths opens others only where the server has several as well.
  movesClients: ({ client, server }) =>
    client.multipath
      ? missing({ client, server }, 'multipath')
      : client.migration
        ? undefined
        : 'the client has no migration',
};

function missing(
  { client, server }: PairCapabilities,
  name: Exclude<Need, 'movesClients'>,
): string | undefined {
  const sides = [client[name] ? [] : ['client'], server[name] ? [] : ['server']].flat();
  return sides.length === 0 ? undefined : `no ${name} (${sides.join(', ')})`;
}

/** Makes a test of each row for each pair. */
export async function describeRows(rows: readonly Row[]): Promise<void> {
  const pairs = await Promise.all(
    ENGINE_PAIRS.map(async (pair) => ({ pair, can: await capabilitiesOf(pair) })),
  );
  describe.each(pairs)('$pair.name', ({ pair, can }) => {
    const lackOf = ({ needs = [] }: Row): string | undefined =>
      needs.map((need) => LACKS[need](can)).find((lack) => lack !== undefined);
    const possible = rows.filter((row) => lackOf(row) === undefined);
    const others = rows.filter((row) => lackOf(row) !== undefined);
    test.each(possible)('$name', async ({ run }) => {
      const place = new Lan(pair);
      try {
        await run(place);
      } catch (error) {
        await place.giveUp();
        throw error;
      }
      await place.end();
    });
    if (others.length === 0) return;
    test(`${others.length} rows are left out, for what is missing`, () => {
      const list = others.map((row) => `\n  ${row.name}: ${lackOf(row)}`);
      console.log(`left out over ${pair.name}:${list.join('')}`);
      // Where everything is there, every row runs.
      expect(can.client.multipath && can.server.multipath && can.client.exporter && can.server.exporter).toBe(
        false,
      );
    });
  });
}
