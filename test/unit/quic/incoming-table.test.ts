import { describe, expect, test } from '@jest/globals';
import { Writer } from '../../../src/base/bytes.ts';
import { KEPT_DATAGRAM_BYTES } from '../../../src/quic/incoming.ts';
import {
  MIN_INITIAL_DATAGRAM_BYTES,
  IncomingTable,
  type IncomingLimits,
} from '../../../src/quic/incoming-table.ts';
import type { Datagram } from '../../../src/quic/engine.ts';
import type { PendingIncoming } from '../../../src/quic/incoming.ts';
import { ResetTokens, StatelessAnswers } from '../../../src/quic/stateless.ts';
import { TokenSealer } from '../../../src/quic/tokens.ts';
import { finishLongHeader, writeLongHeader } from '../../../src/quic/wire/packet.ts';
import { PacketKeys } from '../../../src/quic/wire/protection.ts';
import { Pair } from '../../support/pair.ts';
import { sealPacket } from '../../support/sealed-packet.ts';
import { SimRng } from '../../support/sim-rng.ts';

const EACH = MIN_INITIAL_DATAGRAM_BYTES + KEPT_DATAGRAM_BYTES;

/** The first datagrams of real dials. */
function initials(count: number): Datagram[] {
  const pair = new Pair({ seed: 1 });
  const seen = new Map<string, Datagram>();
  pair.client.host.up.dropIf = ({ from, to, data }) => {
    const route = data.subarray(6, 6 + data[5]!).join();
    if (!seen.has(route)) seen.set(route, { from, local: to, data: data.slice() });
    return true;
  };
  for (let i = 0; i < count; i++) pair.dial();
  pair.runFor(1);
  return [...seen.values()];
}

/** A client's first Initial at `dcid` with `token`, as `datagram` came. */
function initialWith(token: Uint8Array, dcid: Uint8Array, { from, local }: Datagram): Datagram {
  const w = new Writer();
  const lengthAt = writeLongHeader(w, 'initial', dcid, new Uint8Array(8), token, 0, 1);
  const header = w.copy();
  const payload = new Uint8Array(MIN_INITIAL_DATAGRAM_BYTES);
  // PING and padding.
  payload[0] = 1;
  finishLongHeader(header, lengthAt, 1 + payload.length + 16);
  return { from, local, data: sealPacket(PacketKeys.initial(dcid, 'client').write, header, payload, 0, 0) };
}

function make(limits: Partial<IncomingLimits> = {}) {
  const rng = new SimRng(1);
  const answers = new StatelessAnswers(new ResetTokens(new Uint8Array(32)), rng);
  const all = { maxIncoming: 10, maxBytesEach: 10 * EACH, maxBytesTotal: 100 * EACH, ...limits };
  const tokens = new TokenSealer(new Uint8Array(32), rng);
  const table = new IncomingTable(answers, tokens, all, rng);
  const first = (datagram: Datagram, route: string, isAccepting = true): PendingIncoming | undefined =>
    table.handleFirst(datagram, route, isAccepting, 0, 0);
  return { table, tokens, first, answered: () => answers.take([], 100) };
}

describe('attempts', () => {
  test('above their number, or their bytes together, get silence', () => {
    const [a, b, c] = initials(3);
    for (const limits of [
      { maxIncoming: 2 },
      { maxBytesTotal: a!.data.length + b!.data.length + 2 * KEPT_DATAGRAM_BYTES },
    ]) {
      const { table, first, answered } = make(limits);
      const kept = [first(a!, 'a'), first(b!, 'b'), first(c!, 'c')];
      expect(kept.map((each) => each !== undefined)).toEqual([true, true, false]);
      expect([table.pendingCount, table.size, answered()]).toEqual([2, 2, 0]);
    }
  });

  test('are decided once; route and bytes are free again', () => {
    const { table, first } = make();
    const pending = first(initials(1)[0]!, 'a')!;
    expect([table.find('a'), table.undecided()]).toEqual([pending, [pending]]);
    expect(table.decide(pending)).toBe(pending);
    expect([table.size, table.pendingCount, table.pendingBytes]).toEqual([0, 0, 0]);
    expect(() => table.decide(pending)).toThrow('decided before');
    expect([table.size, table.pendingCount, table.pendingBytes]).toEqual([0, 0, 0]);
  });

  test('are refused with an answer and no state when nobody accepts, and dropped when they do not authenticate', () => {
    const { table, first, answered } = make();
    const [datagram] = initials(1);
    expect([first(datagram!, 'a', false), answered(), table.size]).toEqual([undefined, 1, 0]);
    const forged = { ...datagram!, data: datagram!.data.slice() };
    forged.data[600]! ^= 1;
    expect([first(forged, 'a'), answered(), table.size]).toEqual([undefined, 0, 0]);
  });
});

test('a Retry token counts for the connection id that the Retry gave, and for no other of the client', () => {
  const { table, tokens, first, answered } = make();
  const [datagram] = initials(1);
  const [original, given, other] = [5, 6, 7].map((byte) => new Uint8Array(8).fill(byte));
  const token = tokens.sealRetry(datagram!.from, original!, given!, 0);
  expect(first(initialWith(token, given!, datagram!), 'a')).toMatchObject({
    remoteValidated: true,
    retry: { originalDcid: original, retryScid: given },
  });
  expect([first(initialWith(token, other!, datagram!), 'b'), answered(), table.size]).toEqual([
    undefined,
    1,
    1,
  ]);
});

describe('what is kept for an undecided attempt', () => {
  test('ends at the bytes of each, and at those of all', () => {
    const [datagram] = initials(1);
    const bytes = datagram!.data.length + KEPT_DATAGRAM_BYTES;
    for (const limits of [{ maxBytesEach: 3 * bytes }, { maxBytesTotal: 3 * bytes }]) {
      const { table, first } = make(limits);
      const pending = first(datagram!, 'a')!;
      for (let i = 0; i < 10; i++) table.keep(pending, datagram!, 1);
      expect([pending.datagrams.length, table.pendingBytes]).toEqual([3, 3 * bytes]);
    }
  });

  test('are Initials of full size and 0-RTT of this version', () => {
    const { table, first } = make();
    const [datagram] = initials(1);
    const pending = first(datagram!, 'a')!;
    const keep = (firstByte: number, size: number, version = 1): boolean => {
      const before = pending.datagrams.length;
      const data = new Uint8Array(size).fill(firstByte, 0, 1);
      table.keep(pending, { ...datagram!, data }, version);
      return pending.datagrams.length > before;
    };
    expect([keep(0xc0, 1_200), keep(0xc0, 1_199), keep(0xd0, 100)]).toEqual([true, false, true]);
    expect([keep(0xe0, 1_200), keep(0xf0, 1_200), keep(0xc0, 1_200, 2)]).toEqual([false, false, false]);
  });
});
