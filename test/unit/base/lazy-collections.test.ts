import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { LazyMap, LazySet } from '../../../src/base/lazy-collections.ts';

const small = fc.nat(5);
const operation = fc.oneof(
  fc.record({ type: fc.constant('set' as const), key: small, value: fc.nat() }),
  fc.record({ type: fc.constant('delete' as const), key: small }),
  fc.record({ type: fc.constant('clear' as const) }),
);

test('behave as Set and Map through any operations', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
      const set = new Set<number>();
      const map = new Map<number, number>();
      const lazySet = new LazySet<number>();
      const lazyMap = new LazyMap<number, number>();
      for (const each of operations) {
        if (each.type === 'set') {
          set.add(each.key);
          map.set(each.key, each.value);
          lazySet.add(each.key);
          lazyMap.set(each.key, each.value);
        } else if (each.type === 'delete') {
          expect(lazySet.delete(each.key)).toBe(set.delete(each.key));
          expect(lazyMap.delete(each.key)).toBe(map.delete(each.key));
        } else {
          for (const both of [set, map, lazySet, lazyMap]) both.clear();
        }
        expect([...lazySet]).toEqual([...set]);
        expect([...lazyMap]).toEqual([...map]);
        expect([...lazyMap.keys()]).toEqual([...map.keys()]);
        expect([...lazyMap.values()]).toEqual([...map.values()]);
        expect([lazySet.size, lazyMap.size]).toEqual([set.size, map.size]);
        for (let key = 0; key < 6; key++) {
          expect([lazySet.has(key), lazyMap.has(key), lazyMap.get(key)]).toEqual([
            set.has(key),
            map.has(key),
            map.get(key),
          ]);
        }
      }
    }),
  );
});

test('what is visited may be deleted', () => {
  const set = new LazySet<number>();
  for (const value of [1, 2, 3]) set.add(value);
  const seen: number[] = [];
  for (const value of set) {
    seen.push(value);
    set.delete(value);
  }
  expect(seen).toEqual([1, 2, 3]);
  expect(set.size).toBe(0);
});
