/** The monitor of a host's network, on a clock and globals of the test's own. */
import { beforeEach, describe, expect, test } from '@jest/globals';
import type { InterfaceState } from '../../../src/base/interface-state.ts';
import { compareNetworks, isNetworkUsable, networkKey } from '../../../src/machines/network-change.ts';
import { browserNetwork, type BrowserGlobals } from '../../../src/transport/browser-network.ts';
import {
  NETWORK_DEBOUNCE_MS,
  NETWORK_LOOK_INTERVAL_MS,
  NetworkMonitor,
  SLEEP_FACTOR,
  WALL_TIME_INTERVAL_MS,
} from '../../../src/transport/network-monitor.ts';
import { SimClock } from '../../support/sim-clock.ts';

/** What was told, with its time. */
let told: { readonly at: number; readonly change: string; readonly route: string | undefined }[];
let clock: SimClock;
/** By how much the time of day is ahead of what it was. */
let sleptMs: number;

beforeEach(() => {
  told = [];
  clock = new SimClock();
  sleptMs = 0;
  const wallNow = clock.wallNow.bind(clock);
  clock.wallNow = () => wallNow() + sleptMs;
});

function run(ms: number): void {
  const end = clock.now() + ms;
  for (let at = clock.nextAt(); at !== undefined && at <= end; at = clock.nextAt()) clock.advanceTo(at);
  clock.advanceTo(end);
}

function watch(look: () => InterfaceState, follow?: (listener: () => void) => () => void): NetworkMonitor {
  return new NetworkMonitor({
    clock,
    look,
    follow,
    keyOf: networkKey,
    onChange: (state, before) =>
      told.push({ at: clock.now(), change: compareNetworks(before, state), route: state.defaultRoute }),
  });
}

describe('a host', () => {
  const state = (defaultRoute: string): InterfaceState => ({
    interfaces: [],
    defaultRoute,
    isExpensive: false,
  });

  test('a change is told after the next look and the debounce, as one however much changes meanwhile', () => {
    let route = 'eth0';
    const monitor = watch(() => state(route));
    run(10_500);
    expect(told).toEqual([]);
    route = 'wlan0';
    run(600);
    route = 'wlan1';
    run(5_000);
    expect(told).toEqual([{ at: 11_000 + NETWORK_DEBOUNCE_MS, change: 'major', route: 'wlan1' }]);
    expect(monitor.state.defaultRoute).toBe('wlan1');
    monitor.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  test('what comes and goes within the debounce is nothing', () => {
    let route = 'eth0';
    const monitor = watch(() => state(route));
    run(900);
    route = 'wlan0';
    run(200);
    route = 'eth0';
    run(5_000);
    expect(told).toEqual([]);
    monitor.stop();
  });

  test('asked to look: after the debounce, not at the next turn', () => {
    let route = 'eth0';
    const monitor = watch(() => state(route));
    run(10);
    route = 'wlan0';
    monitor.lookAgain();
    run(NETWORK_DEBOUNCE_MS);
    expect(told.map(({ at }) => at)).toEqual([10 + NETWORK_DEBOUNCE_MS]);
    monitor.stop();
    monitor.lookAgain();
    expect(clock.pendingTimers).toBe(0);
  });

  test('the time of day jumps while timers stood still: told once, though nothing differs', () => {
    const monitor = watch(() => state('eth0'));
    run(20_000);
    sleptMs = 3_600_000;
    run(60_000);
    expect(told).toEqual([
      { at: 20_000 + NETWORK_LOOK_INTERVAL_MS + NETWORK_DEBOUNCE_MS, change: 'none', route: 'eth0' },
    ]);
    sleptMs += 3_600_000;
    run(60_000);
    expect(told.length).toBe(2);
    monitor.stop();
  });

  test('a clock that is put right by little, or goes back, is no sleep', () => {
    const monitor = watch(() => state('eth0'));
    for (const ms of [-3_600_000, (SLEEP_FACTOR - 1) * WALL_TIME_INTERVAL_MS - NETWORK_LOOK_INTERVAL_MS]) {
      sleptMs += ms;
      run(60_000);
    }
    expect(told).toEqual([]);
    monitor.stop();
  });
});

describe('a browser', () => {
  class Page implements BrowserGlobals {
    navigator: { onLine?: boolean } = { onLine: true };
    readonly listeners = new Map<string, Set<(event: { timeStamp: number }) => void>>([
      ['online', new Set()],
      ['offline', new Set()],
    ]);

    addEventListener(type: 'online' | 'offline', listener: (event: { timeStamp: number }) => void): void {
      this.listeners.get(type)!.add(listener);
    }

    removeEventListener(type: 'online' | 'offline', listener: (event: { timeStamp: number }) => void): void {
      this.listeners.get(type)!.delete(listener);
    }

    go(type: 'online' | 'offline'): void {
      this.navigator.onLine = type === 'online';
      for (const listener of this.listeners.get(type)!) listener({ timeStamp: clock.now() });
    }
  }

  test('offline, then online: each a major change, told within the debounce; usable only with a network', () => {
    const page = new Page();
    const { interfaceState, onNetworkChange } = browserNetwork(page);
    const monitor = watch(interfaceState, onNetworkChange);
    expect(isNetworkUsable(monitor.state)).toBe(true);
    run(10);
    page.go('offline');
    run(NETWORK_DEBOUNCE_MS);
    expect(told).toEqual([{ at: 10 + NETWORK_DEBOUNCE_MS, change: 'major', route: undefined }]);
    expect(isNetworkUsable(monitor.state)).toBe(false);
    run(100);
    page.go('online');
    run(NETWORK_DEBOUNCE_MS);
    expect(told.map(({ at, change }) => [at, change])[1]).toEqual([110 + 2 * NETWORK_DEBOUNCE_MS, 'major']);
    expect(isNetworkUsable(monitor.state)).toBe(true);
    monitor.stop();
    expect([...page.listeners.values()].map(({ size }) => size)).toEqual([0, 0]);
    page.go('offline');
    expect(clock.pendingTimers).toBe(0);
  });

  test('gone and back within a moment: one major change, for each who watches', () => {
    const page = new Page();
    const { interfaceState, onNetworkChange } = browserNetwork(page);
    const monitors = [watch(interfaceState, onNetworkChange), watch(interfaceState, onNetworkChange)];
    run(50);
    page.go('offline');
    run(20);
    page.go('online');
    run(10_000);
    expect(told.map(({ change }) => change)).toEqual(['major', 'major']);
    for (const monitor of monitors) monitor.stop();
  });

  test('where there are neither events nor `navigator`, there is a network that never changes', () => {
    const { interfaceState, onNetworkChange } = browserNetwork({});
    const monitor = watch(interfaceState, onNetworkChange);
    run(60_000);
    expect(told).toEqual([]);
    expect(isNetworkUsable(monitor.state)).toBe(true);
    monitor.stop();
  });
});
