import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DeadlineHeap, type HeapItem } from '../../../src/quic/deadline-heap.ts';

interface Item extends HeapItem {
  readonly name: number;
}

function item(name: number): Item {
  return { name, heapIndex: -1, deadline: 0 };
}

describe('DeadlineHeap', () => {
  test('hands out what is due, earliest first', () => {
    const heap = new DeadlineHeap<Item>();
    const [a, b, c] = [item(0), item(1), item(2)];
    expect([heap.peekDeadline(), heap.popDue(1e9), heap.size]).toEqual([undefined, undefined, 0]);
    heap.set(a, 30);
    heap.set(b, 10);
    heap.set(c, 20);
    expect(heap.peekDeadline()).toBe(10);
    expect(heap.popDue(9.9)).toBeUndefined();
    expect(heap.popDue(10)).toBe(b);
    heap.set(a, 5);
    expect(heap.popDue(50)).toBe(a);
    heap.set(c, undefined);
    heap.set(c, undefined);
    expect([heap.popDue(1e9), heap.size, c.heapIndex]).toEqual([undefined, 0, -1]);
  });

  test('Infinity is no deadline', () => {
    const heap = new DeadlineHeap<Item>();
    const a = item(0);
    heap.set(a, Infinity);
    expect(heap.size).toBe(0);
    heap.set(a, 1);
    heap.set(a, Infinity);
    expect([heap.size, heap.peekDeadline()]).toEqual([0, undefined]);
  });

  const operation = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ do: fc.constant('set' as const), item: fc.nat(19), at: fc.nat(50) }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('remove' as const), item: fc.nat(19) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('pop' as const), now: fc.nat(60) }) },
  );

  test('agrees with sorting', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
        const heap = new DeadlineHeap<Item>();
        const items = Array.from({ length: 20 }, (_, i) => item(i));
        const twin = new Map<Item, number>();
        const earliest = (): number | undefined => [...twin.values()].sort((x, y) => x - y)[0];
        for (const op of operations) {
          if (op.do === 'set') {
            heap.set(items[op.item]!, op.at);
            twin.set(items[op.item]!, op.at);
          } else if (op.do === 'remove') {
            heap.set(items[op.item]!, undefined);
            twin.delete(items[op.item]!);
          } else {
            const popped = heap.popDue(op.now);
            const first = earliest();
            if (first === undefined || first > op.now) expect(popped).toBeUndefined();
            else {
              expect(twin.get(popped!)).toBe(first);
              expect(popped!.heapIndex).toBe(-1);
              twin.delete(popped!);
            }
          }
          expect(heap.size).toBe(twin.size);
          expect(heap.peekDeadline()).toBe(earliest());
          for (const each of items) expect(each.heapIndex >= 0).toBe(twin.has(each));
        }
        const order: number[] = [];
        for (let next = heap.popDue(Infinity); next; next = heap.popDue(Infinity)) order.push(next.deadline);
        expect(order).toEqual([...twin.values()].sort((x, y) => x - y));
      }),
      { numRuns: 200 },
    );
  });
});
