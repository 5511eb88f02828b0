/**
 * The platform that browsers offer: no UDP, no interfaces, but events when the network comes and goes. Twin of `system-platform.ts`.
 *
 * @module
 */
import { systemRng } from '#crypto/random';
import type { Clock, TimerId } from '../base/clock.ts';
import { browserNetwork } from './browser-network.ts';
import { httpFetch } from './http.browser.ts';
import type { Platform } from './platform.ts';
import { openWebSocket } from './websocket.browser.ts';

const clock: Clock = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  setTimeout: (fn, delayMs) => setTimeout(fn, delayMs),
  clearTimeout: (id: TimerId) => clearTimeout(id as ReturnType<typeof setTimeout>),
  // A task of its own: after the events of this burst, and after the promise reactions that they caused.
  defer: (fn) => void setTimeout(fn, 0),
  afterMicrotasks: (fn) => void setTimeout(fn, 0),
};

/** The browser's clock, randomness, requests and WebSockets. */
export const systemPlatform: Platform = {
  clock,
  rng: systemRng,
  bindUdp: undefined,
  ...browserNetwork(globalThis),
  fetch: httpFetch,
  openWebSocket: (request) => openWebSocket(request, { clock }),
  resolveDns: undefined,
  resolveTxt: undefined,
};
