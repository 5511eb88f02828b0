/**
 * The platform that Node offers. The browser twin is `system-platform.browser.ts`.
 *
 * @module
 */
import { systemRng } from '#crypto/random';
import type { Clock, TimerId } from '../base/clock.ts';
import { resolveHost, resolveTxt } from './dns.ts';
import { readHostNetwork } from './host-network.ts';
import { httpFetch } from './http.ts';
import { bindMulticast } from './multicast.ts';
import type { Platform } from './platform.ts';
import { bindUdp } from './udp.ts';
import { openWebSocket } from './websocket.ts';

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

/** Node's clock, randomness, sockets, interfaces and resolver. */
export const systemPlatform: Platform = {
  clock,
  rng: systemRng,
  bindUdp: (request) => bindUdp(request, clock),
  bindMulticast,
  interfaceState: readHostNetwork,
  fetch: httpFetch,
  openWebSocket: (request) => openWebSocket(request, { clock, resolve: resolveHost }),
  resolveDns: resolveHost,
  resolveTxt,
};
