import { describe, expect, test } from '@jest/globals';
import type { Direction, Side } from '../../../../src/quic/engine.ts';
import { directionOf, indexOf, isOpenedBy, streamIdOf } from '../../../../src/quic/streams/stream-ids.ts';

describe('stream ids (RFC 9000 §2.1)', () => {
  /** The rows of table 1, and some of later streams. */
  test.each<[Side, Direction, number, number]>([
    ['client', 'bi', 0, 0],
    ['server', 'bi', 0, 1],
    ['client', 'uni', 0, 2],
    ['server', 'uni', 0, 3],
    ['client', 'bi', 5, 20],
    ['server', 'uni', 5, 23],
    // Beyond what operators of 32 bits keep.
    ['server', 'uni', 2 ** 40, 2 ** 42 + 3],
  ])('a %s opens %s stream number %d as %d', (opener, dir, index, id) => {
    expect(streamIdOf(opener, dir, index)).toBe(id);
    expect([directionOf(id), indexOf(id)]).toEqual([dir, index]);
    expect([isOpenedBy('client', id), isOpenedBy('server', id)]).toEqual([
      opener === 'client',
      opener === 'server',
    ]);
  });
});
