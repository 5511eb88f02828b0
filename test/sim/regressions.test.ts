/**
 * Seeds that once failed, each with the fault that it found.
 */
import { describe, test } from '@jest/globals';
import { scenarios } from './scenarios/index.ts';

const regressions: readonly (readonly [scenario: string, seed: number, fault: string])[] = [
  ['mtu-drop', 2, 'probe time-outs sent datagrams too large for the path, so that the connection timed out'],
  [
    'nat-traversal',
    1,
    'a client held its own new path to the amplification limit and never sent a challenge',
  ],
  ['dying-path', 4, 'an ACK due without any path to carry it kept its deadline in the past'],
  ['dying-path', 7, 'acknowledgments of the working path were sent on the dead one, and both were given up'],
  ['network-change', 4, 'PATH_ABANDON left on the path that it ended and was not sent again on the new one'],
  ['tail-loss', 383, 'read keys were dropped three PTOs after an update of which the peer knew nothing yet'],
  ['quiet-side', 271, 'a side without anything of its own to send acknowledged on a path that was dead'],
  [
    'key-update-storm',
    27,
    'an update could not be followed by the next one while nothing had been received in its phase',
  ],
];

describe('seeds that once failed', () => {
  for (const [name, seed, fault] of regressions) {
    test(`${name} ${seed}: ${fault}`, () => {
      scenarios.find((scenario) => scenario.name === name)!.run(seed);
    });
  }
});
