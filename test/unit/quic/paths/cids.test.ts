import { describe, expect, test } from '@jest/globals';
import {
  ACTIVE_CID_LIMIT,
  LocalCids,
  MAX_LOCAL_CIDS,
  MAX_PENDING_RETIREMENTS,
  MAX_SEQUENCE_GAPS,
  MAX_SEQUENCE_SPAN,
  RemoteCids,
  type CidIssuer,
} from '../../../../src/quic/paths/cids.ts';

const cid = (n: number): Uint8Array => new Uint8Array(8).fill(n);
const token = (n: number): Uint8Array => new Uint8Array(16).fill(n);

function issuer(): CidIssuer & { retired: number[] } {
  let next = 1;
  const retired: number[] = [];
  return { retired, issueCid: () => next++, retireCid: (gone) => void retired.push(gone) };
}

function sequences(cids: LocalCids): number[] {
  const list: number[] = [];
  for (let next = cids.takePending(); next; next = cids.takePending()) list.push(next.sequence);
  return list;
}

describe('connection ids that we issue', () => {
  test('fill up to what the peer takes, counting the one of the handshake', () => {
    const cids = new LocalCids();
    const host = issuer();
    cids.addHandshakeCid(host.issueCid(0));
    cids.fill(5, 0, host);
    expect(sequences(cids)).toEqual([1, 2, 3, 4]);
    expect(cids.wantsFrames).toBe(false);
  });

  test('never issue more than the cap, whatever the peer announces', () => {
    const cids = new LocalCids();
    cids.fill(1_000_000, 0, issuer());
    expect(sequences(cids)).toHaveLength(MAX_LOCAL_CIDS);
  });

  test('a retirement frees the id once and makes room for another', () => {
    const cids = new LocalCids();
    const host = issuer();
    cids.fill(2, 0, host);
    sequences(cids);
    expect(cids.handleRetire(0, host)).toBe(true);
    expect(cids.handleRetire(0, host)).toBe(false);
    expect(host.retired).toEqual([1]);
    cids.fill(2, 0, host);
    expect(sequences(cids)).toEqual([2]);
  });

  test('retiring what was never issued is a PROTOCOL_VIOLATION (RFC 9000 §19.16)', () => {
    const cids = new LocalCids();
    expect(() => cids.handleRetire(0, issuer())).toThrow(
      expect.objectContaining({ code: 'PROTOCOL_VIOLATION' }),
    );
  });

  test('a peer that keeps its oldest id and retires all others gets no more, until it lets the oldest go', () => {
    const cids = new LocalCids();
    const host = issuer();
    for (let i = 0; i < 1_000; i++) {
      cids.fill(2, 0, host);
      if (i > 0) cids.handleRetire(cids.nextSequence - 1, host);
    }
    expect(cids.nextSequence).toBe(MAX_SEQUENCE_SPAN);
    cids.fill(2, 0, host);
    expect(sequences(cids)).toEqual([0]);
    expect(cids.handleRetire(0, host)).toBe(true);
    cids.fill(2, 0, host);
    expect(sequences(cids)).toEqual([MAX_SEQUENCE_SPAN, MAX_SEQUENCE_SPAN + 1]);
  });

  test('a lost frame is sent again unless its id was retired meanwhile', () => {
    const cids = new LocalCids();
    const host = issuer();
    cids.fill(2, 0, host);
    sequences(cids);
    cids.handleRetire(0, host);
    cids.onFrameLost(0);
    cids.onFrameLost(1);
    expect(sequences(cids)).toEqual([1]);
  });
});

describe('connection ids of the peer', () => {
  test('are used in order, and what is left behind is retired', () => {
    const cids = new RemoteCids(cid(100));
    cids.handleNew(1, 0, cid(1), token(1));
    expect(cids.active?.sequence).toBe(0);
    expect(cids.switchToNext()?.sequence).toBe(0);
    expect(cids.active?.sequence).toBe(1);
    expect(cids.takeRetirement()).toBe(0);
    expect(cids.switchToNext()).toBeUndefined();
  });

  test('one that arrives late, after a later one is in use, can still be used', () => {
    const cids = new RemoteCids(cid(100));
    cids.handleNew(2, 0, cid(2), token(2));
    cids.switchToNext();
    expect(cids.active?.sequence).toBe(2);
    cids.handleNew(1, 0, cid(1), token(1));
    cids.switchToNext();
    expect(cids.active).toEqual({ sequence: 1, cid: cid(1), resetToken: token(1) });
  });

  test('retire_prior_to takes the active one away and names what comes late', () => {
    const cids = new RemoteCids(cid(100));
    cids.handleNew(3, 2, cid(3), token(3));
    expect(cids.active?.sequence).toBe(3);
    cids.handleNew(1, 0, cid(1), token(1));
    expect([cids.takeRetirement(), cids.takeRetirement(), cids.takeRetirement()]).toEqual([0, 1, undefined]);
  });

  test('an id at retire_prior_to itself may be used (RFC 9000 §19.15)', () => {
    const cids = new RemoteCids(cid(100));
    cids.handleNew(1, 1, cid(1), token(1));
    expect(cids.active?.sequence).toBe(1);
    expect([cids.takeRetirement(), cids.takeRetirement()]).toEqual([0, undefined]);
  });

  test('a repeated frame changes nothing, also after its id was retired', () => {
    const cids = new RemoteCids(cid(100));
    cids.handleNew(1, 0, cid(1), token(1));
    cids.handleNew(1, 0, cid(1), token(1));
    cids.switchToNext();
    cids.takeRetirement();
    cids.handleNew(0, 0, cid(100), token(0));
    expect(cids.wantsFrames).toBe(false);
    expect(cids.active?.sequence).toBe(1);
  });

  test('the same number with another id, or the same id with another number, is a PROTOCOL_VIOLATION (§19.15)', () => {
    const cids = new RemoteCids(cid(100));
    cids.handleNew(1, 0, cid(1), token(1));
    const violation = expect.objectContaining({ code: 'PROTOCOL_VIOLATION' });
    expect(() => cids.handleNew(1, 0, cid(9), token(1))).toThrow(violation);
    expect(() => cids.handleNew(2, 0, cid(1), token(1))).toThrow(violation);
  });

  test('more than our limit is a CONNECTION_ID_LIMIT_ERROR (§5.1.1)', () => {
    const cids = new RemoteCids(cid(100));
    for (let i = 1; i < ACTIVE_CID_LIMIT; i++) cids.handleNew(i, 0, cid(i), token(i));
    expect(() => cids.handleNew(ACTIVE_CID_LIMIT, 0, cid(50), token(50))).toThrow(
      expect.objectContaining({ code: 'CONNECTION_ID_LIMIT_ERROR' }),
    );
  });

  test('one that was lost and comes late does not make those too many that replaced others (§5.1.1 counts ids)', () => {
    const cids = new RemoteCids(cid(100));
    for (const i of [2, 3, 4]) cids.handleNew(i, 0, cid(i), token(i));
    // Each one that is left is replaced by the peer.
    for (const i of [5, 6]) {
      cids.switchToNext();
      cids.handleNew(i, 0, cid(i), token(i));
    }
    cids.handleNew(1, 0, cid(1), token(1));
    cids.switchToNext();
    cids.handleNew(7, 0, cid(7), token(7));
    expect(() => cids.handleNew(8, 0, cid(8), token(8))).toThrow(
      expect.objectContaining({ code: 'CONNECTION_ID_LIMIT_ERROR' }),
    );
  });

  test('a peer that makes us owe too many retirements is cut off', () => {
    const cids = new RemoteCids(cid(100));
    expect(() => {
      for (let i = 1; i < 200; i++) cids.handleNew(i, i, new Uint8Array([i, i]), token(i));
    }).toThrow(expect.objectContaining({ code: 'CONNECTION_ID_LIMIT_ERROR' }));
    let owed = 0;
    while (cids.takeRetirement() !== undefined) owed++;
    expect(owed).toBe(MAX_PENDING_RETIREMENTS);
  });

  test('a peer that skips every other number is cut off, even when we owe no retirement', () => {
    const cids = new RemoteCids(cid(100));
    const skip = (n: number): void => {
      cids.handleNew(2 * n, 2 * n, Uint8Array.of(n, 1), token(n));
      while (cids.takeRetirement() !== undefined);
      expect(cids.active?.sequence).toBe(2 * n);
    };
    for (let n = 1; n <= MAX_SEQUENCE_GAPS; n++) skip(n);
    expect(() => skip(MAX_SEQUENCE_GAPS + 1)).toThrow(
      expect.objectContaining({ code: 'CONNECTION_ID_LIMIT_ERROR' }),
    );
  });
});
