/** How connections end, and what both sides learn about it. */
import { expect, test } from '@jest/globals';
import { utf8 } from '../../src/base/bytes.ts';
import { ALPN, simulated } from '../support/endpoints.ts';

test(
  'I19: closed resolves with the reason on both sides',
  simulated(async (place) => {
    const { ours, theirs } = await place.connect();
    expect(ours.closeReason).toBeUndefined();
    const closed = Promise.all([ours.closed, theirs.closed]);
    theirs.close(7, 'enough');
    const [remote, local] = await closed;
    expect(local).toMatchObject({ code: 'ConnectionError.LocallyClosed' });
    expect(remote).toMatchObject({
      code: 'ConnectionError.ApplicationClosed',
      errorCode: 7,
      rawCode: 7n,
      reason: utf8('enough'),
    });
    expect(ours.closeReason).toBe(remote);
    expect(theirs.closeReason).toBe(local);
    expect(ALPN).toBe(ours.alpnText);
  }),
);
