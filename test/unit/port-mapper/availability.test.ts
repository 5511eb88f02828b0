import { expect, test } from '@jest/globals';
import {
  Availability,
  AVAILABILITY_TRUST_MS,
  UNAVAILABILITY_TRUST_MS,
} from '../../../src/port-mapper/availability.ts';

test('who answered is trusted for ten minutes, best first', () => {
  const services = new Availability();
  services.probeStarted('a', 0);
  services.seen('upnp', 10);
  services.seen('pcp', 20);
  expect(services.usable('a', 100)).toEqual(['pcp', 'upnp']);
  expect(services.usable('a', 10 + AVAILABILITY_TRUST_MS)).toEqual(['pcp']);
  services.failed('pcp');
  expect(services.usable('a', 100)).toEqual(['upnp']);
  expect(services.usable('b', 100)).toEqual([]);
});

test('one probe in five seconds for each gateway', () => {
  const services = new Availability();
  expect(services.mayProbe('a', 0)).toBe(true);
  services.probeStarted('a', 0);
  expect(services.mayProbe('a', UNAVAILABILITY_TRUST_MS - 1)).toBe(false);
  expect(services.mayProbe('b', 1)).toBe(true);
  expect(services.mayProbe('a', UNAVAILABILITY_TRUST_MS)).toBe(true);
});

test('another gateway starts from nothing', () => {
  const services = new Availability();
  services.probeStarted('a', 0);
  services.seen('pcp', 0);
  services.probeStarted('b', 1);
  expect(services.usable('b', 1)).toEqual([]);
  services.probeStarted('a', 2);
  expect(services.usable('a', 2)).toEqual([]);
});
