import { expect, test } from '@jest/globals';
import { AddressDiscovery } from '../../../../src/quic/paths/address-discovery.ts';

const ROLES = [undefined, 'send', 'receive', 'both'] as const;
const violation = expect.objectContaining({ code: 'PROTOCOL_VIOLATION' });

test('reports go where one side sends and the other receives, and nowhere else', () => {
  for (const local of ROLES) {
    for (const remote of ROLES) {
      const discovery = new AddressDiscovery(local, remote);
      const sends = (local === 'send' || local === 'both') && (remote === 'receive' || remote === 'both');
      const receives = (local === 'receive' || local === 'both') && (remote === 'send' || remote === 'both');
      discovery.queueReport(0);
      expect([discovery.reports, discovery.isPending(0)]).toEqual([sends, sends]);
      if (receives) expect(discovery.handleReport(0, 0)).toBe(true);
      else expect(() => discovery.handleReport(0, 0)).toThrow(violation);
    }
  }
});

test('one counter for all paths; a report is owed until it is sent', () => {
  const discovery = new AddressDiscovery('both', 'both');
  discovery.queueReport(0);
  discovery.queueReport(3);
  expect([discovery.onSend(0), discovery.onSend(3), discovery.onSend(0)]).toEqual([0, 1, 2]);
  expect(discovery.isPending(0)).toBe(false);
});

test('only the newest report of a path counts; paths do not disturb each other', () => {
  const discovery = new AddressDiscovery('both', 'both');
  expect([5, 5, 4, 6].map((sequence) => discovery.handleReport(0, sequence))).toEqual([
    true,
    false,
    false,
    true,
  ]);
  expect(discovery.handleReport(1, 0)).toBe(true);
});

test('nothing is kept of a discarded path', () => {
  const discovery = new AddressDiscovery('both', 'both');
  discovery.queueReport(1);
  discovery.handleReport(1, 9);
  discovery.onPathDiscarded(1);
  expect(discovery.isPending(1)).toBe(false);
  expect(discovery.handleReport(1, 0)).toBe(true);
});
