/** What an endpoint knows of its network where there is no UDP, as in browsers; in virtual time. */
import { expect, test } from '@jest/globals';
import type { Platform } from '../../src/index.ts';
import { browserNetwork, type BrowserGlobals } from '../../src/transport/browser-network.ts';
import { simulated } from '../support/endpoints.ts';

/** A page whose network the test takes away and gives back. */
class Page implements BrowserGlobals {
  readonly navigator = { onLine: true };
  readonly #listeners = new Set<[string, (event: { timeStamp: number }) => void]>();

  addEventListener(type: 'online' | 'offline', listener: (event: { timeStamp: number }) => void): void {
    this.#listeners.add([type, listener]);
  }

  removeEventListener(type: 'online' | 'offline', listener: (event: { timeStamp: number }) => void): void {
    for (const entry of this.#listeners)
      if (entry[0] === type && entry[1] === listener) this.#listeners.delete(entry);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  go(type: 'online' | 'offline', timeStamp: number): void {
    this.navigator.onLine = type === 'online';
    for (const [each, listener] of [...this.#listeners]) if (each === type) listener({ timeStamp });
  }
}

test(
  'reports measure by HTTPS alone; going offline and coming back brings a full report and the home relay',
  simulated(async (place) => {
    const site = await place.addRelay();
    const asked: string[] = [];
    const host = place.world.addHost('browser', '10.1.1.1');
    const page = new Page();
    const inside = place.world.platformOf(host);
    const platform: Platform = {
      ...inside,
      bindUdp: undefined,
      resolveDns: undefined,
      resolveTxt: undefined,
      ...browserNetwork(page),
      fetch: (request) => {
        asked.push(request.url);
        return inside.fetch(request);
      },
    };
    const endpoint = await place.bind({ ...place.using(site), platform });
    await place.online(endpoint);
    const { netReport } = endpoint;
    expect(netReport).toMatchObject({
      udpV4: false,
      udpV6: false,
      globalV4: undefined,
      captivePortal: undefined,
    });
    expect(netReport!.latencies.map(({ kind }) => kind)).toEqual(['https']);
    // No plain HTTP from a page that came by HTTPS.
    expect(new Set(asked)).toEqual(new Set(['https://relay1.example./ping']));
    expect(endpoint.addr.addrs.map(({ type }) => type)).toEqual(['relay']);
    const full = (): number => endpoint.metrics().value('reports_full');
    const before = full();
    page.go('offline', 1);
    site.relay.restart();
    await place.sleep(1_000);
    expect(full()).toBe(before + 1);
    page.go('online', 2);
    await place.sleep(5_000);
    expect(full()).toBe(before + 2);
    expect(endpoint.homeRelay!.state).toBe('connected');
    await endpoint.close();
    expect(page.listeners).toBe(0);
  }),
);
