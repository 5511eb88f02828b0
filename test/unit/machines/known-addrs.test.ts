/** What is known about a peer's addresses, and what is forgotten first. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toAddr, type Addr } from '../../../src/base/socket-addr.ts';
import {
  addrStatusTable,
  KnownAddrs,
  MAX_INACTIVE_NON_RELAY_PATHS,
  MAX_NON_RELAY_PATHS,
  prunable,
  type AddrStatus,
  type KnownAddr,
} from '../../../src/machines/known-addrs.ts';

const addrOf = (n: number): Addr => toAddr(`10.0.${n >> 8}.${n & 255}`, 1_000);

/** So many addresses of each status, those that once worked with rising times. */
function known(counts: Partial<Record<AddrStatus | 'relay', number>>): KnownAddr[] {
  const list: KnownAddr[] = [];
  for (const [what, count] of Object.entries(counts)) {
    for (let i = 0; i < count; i++) {
      const isRelay = what === 'relay';
      const status = isRelay ? 'unknown' : (what as AddrStatus);
      list.push({ addr: addrOf(list.length), isRelay, status, inactiveSince: i, sources: new Map() });
    }
  }
  return list;
}

describe('status of an address', () => {
  test('E17: open, abandon, abandon, open; unknown, abandon, open', () => {
    const addrs = new KnownAddrs();
    const statusOf = (): AddrStatus => [...addrs][0]!.status;
    const seen = (['open', 'abandon', 'abandon', 'open'] as const).map((event, now) => {
      addrs.on(event, addrOf(1), false, now);
      return statusOf();
    });
    expect(seen).toEqual(['open', 'inactive', 'inactive', 'open']);
    expect(addrStatusTable).toMatchInlineSnapshot(`
{
  "inactive": {
    "abandon": "inactive",
    "open": "open",
  },
  "open": {
    "abandon": "inactive",
  },
  "unknown": {
    "abandon": "unusable",
    "open": "open",
  },
  "unusable": {
    "abandon": "unusable",
    "open": "open",
  },
}
`);
  });

  test('who told us first stays known, and an address is noted once', () => {
    const addrs = new KnownAddrs();
    expect(addrs.insert(addrOf(1), false, 'app', 5)).toBe(true);
    expect(addrs.insert(addrOf(1), false, 'memory', 6)).toBe(false);
    expect([...addrs][0]!.sources).toEqual(
      new Map([
        ['app', 5],
        ['memory', 6],
      ]),
    );
  });
});

describe('pruning', () => {
  test.each([
    ['E18: 20 known', { unknown: 20 }, 0],
    ['E19: 30 untried or open', { unknown: 15, open: 15 }, 0],
    ['E20: 20 open, 15 unusable', { open: 20, unusable: 15 }, 15],
    ['E21: 15 open, 20 inactive', { open: 15, inactive: 20 }, 10],
    ['E22: 15 open, 5 unusable, 15 inactive', { open: 15, unusable: 5, inactive: 15 }, 10],
    ['E23: 25 unusable, 10 relays', { unusable: 25, relay: 10 }, 0],
    ['E23: 40 unusable', { unusable: 40 }, 10],
  ])('%s: %#', (_what, counts, gone) => {
    expect(prunable(known(counts))).toHaveLength(gone);
  });

  test('E21: the inactive ones that are kept are the latest', () => {
    const list = known({ open: 15, inactive: 20 });
    const gone = prunable(list);
    const kept = list.filter(({ addr, status }) => status === 'inactive' && !gone.includes(addr));
    expect(kept.map(({ inactiveSince }) => inactiveSince)).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
  });

  test('model-8, inv-R8: open, untried and relay addresses stay; what goes is what the rule names', () => {
    const count = fc.integer({ min: 0, max: 45 });
    const counts = fc.record({ unknown: count, open: count, inactive: count, unusable: count, relay: count });
    fc.assert(
      fc.property(counts, (numbers) => {
        const list = known(numbers);
        const gone = new Set(prunable(list));
        const left = list.filter(({ addr }) => !gone.has(addr));
        const all = list.filter(({ isRelay }) => !isRelay).length;
        expect(
          list.filter(
            ({ addr, status, isRelay }) => gone.has(addr) && (isRelay || /open|unknown/.test(status)),
          ),
        ).toEqual([]);
        if (all < MAX_NON_RELAY_PATHS) expect(gone.size).toBe(0);
        else
          expect(left.filter(({ status }) => status === 'inactive').length).toBeLessThanOrEqual(
            MAX_INACTIVE_NON_RELAY_PATHS,
          );
      }),
    );
  });
});
