import { describe, expect, test } from '@jest/globals';
import { EngineLink, PAIRINGS, ALPN } from './engine-link.ts';
import { SimRng } from '../support/sim-rng.ts';

const bytes = (length: number, seed: number): Uint8Array => new SimRng(seed).bytes(length);
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

describe.each(PAIRINGS)('%s dials %s', (client, server) => {
  test('each knows the other by its key', () => {
    const link = new EngineLink({ client, server });
    const { ours, theirs } = link.connect();
    expect(ours.quic.alpn).toEqual(ALPN);
    expect(theirs.quic.alpn).toEqual(ALPN);
    expect(ours.quic.peerIdentity?.type).toBe('x509');
    expect(theirs.quic.peerIdentity?.type).toBe('x509');
  });

  test('bytes both ways on one bidirectional stream', () => {
    const link = new EngineLink({ client, server });
    const { ours, theirs } = link.connect();
    const [up, down] = [bytes(300_000, 1), bytes(200_000, 2)];
    const id = ours.open('bi');
    ours.send(id, up);
    link.run(() => theirs.isFinished(id), 'up');
    theirs.send(id, down);
    link.run(() => ours.isFinished(id), 'down');
    expect(same(theirs.data(id), up)).toBe(true);
    expect(same(ours.data(id), down)).toBe(true);
  });
});
