/**
 * All scenarios, in the order in which they are listed and run.
 *
 * @module
 */
import type { Scenario } from '../scenario.ts';
import * as disorder from './disorder.ts';
import * as handshakes from './handshakes.ts';
import * as load from './load.ts';
import * as loss from './loss.ts';
import * as outages from './outages.ts';
import * as paths from './paths.ts';

export const scenarios: readonly Scenario[] = [loss, disorder, outages, handshakes, load, paths].flatMap(
  (file) => Object.values<Scenario>(file as unknown as Record<string, Scenario>),
);
