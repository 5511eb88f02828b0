import { expect, test } from '@jest/globals';
import { MAX_RELAY_ROUTES, RouteTable } from '../../../src/relay/route-table.ts';

const id = (number: number): Uint8Array => {
  const bytes = new Uint8Array(32);
  new DataView(bytes.buffer).setUint32(28, number);
  return bytes;
};

test('an id that was heard of is known, as one array, until it is gone', () => {
  const routes = new RouteTable();
  const borrowed = id(1);
  const kept = routes.add(borrowed);
  borrowed.fill(9);
  expect(kept).toEqual(id(1));
  expect(routes.add(id(1))).toBe(kept);
  routes.add(id(2));
  expect(routes.add(id(1))).toBe(kept);
  expect([routes.has(id(1)), routes.has(id(3)), routes.size]).toEqual([true, false, 2]);
  routes.delete(id(1));
  expect(routes.has(id(1))).toBe(false);
  expect(routes.add(id(1))).not.toBe(kept);
  routes.clear();
  expect([routes.has(id(2)), routes.size]).toEqual([false, 0]);
  expect(routes.add(id(1))).not.toBe(kept);
});

test('a relay that names more and more senders fills no memory: the first goes', () => {
  const routes = new RouteTable();
  for (let i = 0; i <= MAX_RELAY_ROUTES; i++) routes.add(id(i));
  expect(routes.size).toBe(MAX_RELAY_ROUTES);
  expect([routes.has(id(0)), routes.has(id(1)), routes.has(id(MAX_RELAY_ROUTES))]).toEqual([
    false,
    true,
    true,
  ]);
});
