/**
 * The platform that Node offers. The browser twin is `system-platform.browser.ts`.
 *
 * @module
 */
import { networkInterfaces } from 'node:os';
import { systemRng } from '#crypto/random';
import type { Clock, TimerId } from '../base/clock.ts';
import { readHostNetwork } from './host-network.ts';
import { httpFetch } from './http.ts';
import type { InterfaceAddr, Platform } from './platform.ts';
import { bindUdp } from './udp.ts';

const clock: Clock = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  // Not unref'ed: a pending close or retransmission is worth waiting for, and a closed endpoint has no timers.
  setTimeout: (fn, delayMs) => setTimeout(fn, delayMs),
  clearTimeout: (id: TimerId) => clearTimeout(id as NodeJS.Timeout),
  defer: (fn) => void setImmediate(fn),
  // The tick queue runs again once the microtask queue is empty.
  afterMicrotasks: (fn) => queueMicrotask(() => process.nextTick(fn)),
};

function interfaces(): InterfaceAddr[] {
  const list: InterfaceAddr[] = [];
  for (const addresses of Object.values(networkInterfaces())) {
    for (const { address, family, internal } of addresses ?? []) {
      const isV6 = family === 'IPv6';
      const isLinkLocal = isV6 ? /^fe[89ab]/i.test(address) : address.startsWith('169.254.');
      list.push({ ip: address, family: isV6 ? 6 : 4, isLoopback: internal, isLinkLocal });
    }
  }
  return list;
}

/** Node's clock, randomness, sockets and interfaces. */
export const systemPlatform: Platform = {
  clock,
  rng: systemRng,
  bindUdp: (request) => bindUdp(request, clock),
  interfaces,
  interfaceState: readHostNetwork,
  fetch: httpFetch,
};
