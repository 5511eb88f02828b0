/** Scenarios F on whole endpoints: being online, the home relay, and relays that come and go. */
import { describe, expect, test } from '@jest/globals';
import { fromUtf8 } from '../../src/base/bytes.ts';
import { EndpointAddr, RelayUrl, SecretKey, type Endpoint, type RelayStatus } from '../../src/index.ts';
import { requireToken } from '../../src/relay/server/access.ts';
import { ALPN, echo, failure, simulated } from '../support/endpoints.ts';
import { SIM_TRUST } from '../support/relay-site.ts';

/** What is told of the home relay from now on: `relay1.example connected`. */
function homesOf(endpoint: Endpoint): string[] {
  const story: string[] = [];
  endpoint.homeRelay$.subscribe({
    next: (status) => story.push(told(status)),
    complete: () => story.push('end'),
  });
  return story;
}

function told(status: RelayStatus | undefined): string {
  if (status === undefined) return 'none';
  const { url, state, problem } = status;
  return [url.toUrl().host.replace(/\.$/, ''), state, ...(problem === undefined ? [] : [problem])].join(' ');
}

function urlsOf({ addr }: Endpoint): string[] {
  return addr.addrs.flatMap((each) => (each.type === 'relay' ? [each.url.href] : []));
}

describe('being online', () => {
  test(
    'F01: with one relay an endpoint comes online, and its address names the relay',
    simulated(async (place) => {
      const site = await place.addRelay();
      const endpoint = await place.bind(place.using(site));
      expect([endpoint.homeRelay, urlsOf(endpoint)]).toEqual([undefined, []]);
      const story = homesOf(endpoint);
      const addrs: string[][] = [];
      endpoint.addr$.subscribe(() => addrs.push(urlsOf(endpoint)));
      await endpoint.online(place.wait);
      expect(place.clock.now()).toBeLessThan(5_000);
      expect(endpoint.homeRelay).toEqual({ url: site.relay.url, state: 'connected' });
      expect(urlsOf(endpoint)).toEqual([site.relay.url.href]);
      expect(story).toEqual(['none', 'relay1.example connecting', 'relay1.example connected']);
      // Chosen is told, connected or not.
      expect(addrs.findIndex((urls) => urls.length > 0)).toBeGreaterThan(-1);
      // It is so at once who asks again.
      const askedAt = place.clock.now();
      await endpoint.online();
      expect(place.clock.now()).toBe(askedAt);
      expect(endpoint.netReport?.preferredRelay?.href).toBe(site.relay.url.href);
    }),
  );

  test(
    'F02: dialled by relay alone, an endpoint answers',
    simulated(async (place) => {
      const site = await place.addRelay();
      const { client, server } = await place.relayedPair([site]);
      const { ours, theirs } = await place.dial(client, server, place.relayAddrOf(server));
      expect(ours.paths[0]?.remoteAddr).toEqual({
        type: 'relay',
        url: site.relay.url,
        endpointId: server.id,
      });
      expect(theirs.paths[0]?.remoteAddr).toMatchObject({ type: 'relay', endpointId: client.id });
      void echo(theirs);
      expect(fromUtf8((await place.ask(ours)).answer)).toBe('ping');
    }),
  );

  test(
    'F03: without a relay nobody is online; a relay that is added changes that within a second',
    simulated(async (place) => {
      const site = await place.addRelay();
      const endpoint = await place.bind({ relay: [], tls: SIM_TRUST });
      expect((await failure(endpoint.online({ timeoutMs: 500 }))).name).toBe('TimeoutError');
      expect(endpoint.relays.set(site.config)).toBeUndefined();
      await endpoint.online({ timeoutMs: 1_000 });
      expect([endpoint.relays.size, [...endpoint.relays]]).toEqual([1, [site.config]]);
    }),
  );

  test(
    'F04: who was online is so after the end; who waits while it ends, too',
    simulated(async (place) => {
      const site = await place.addRelay();
      const endpoint = await place.bind(place.using(site));
      await endpoint.online(place.wait);
      const story = homesOf(endpoint);
      const closing = endpoint.close();
      await endpoint.online({ timeoutMs: 100 });
      await closing;
      await endpoint.online({ timeoutMs: 100 });
      expect(story).toEqual(['relay1.example connected', 'relay1.example disconnected', 'end']);
      expect(urlsOf(endpoint)).toEqual([site.relay.url.href]);
    }),
  );

  test(
    'F05: who never was online is not so by closing; a caller with a limit sees it',
    simulated(async (place) => {
      const site = await place.addRelay();
      site.goDown();
      const endpoint = await place.bind(place.using(site));
      let isOnline = false;
      void endpoint.online().then(() => (isOnline = true));
      const limited = endpoint.online({ timeoutMs: 20_000 });
      place.mustSettle('online with a limit', limited);
      await place.sleep(10_000);
      await endpoint.close();
      await place.sleep(20_000);
      expect(isOnline).toBe(false);
      expect((await failure(limited)).name).toBe('TimeoutError');
      const disabled = await place.bind();
      expect((await failure(disabled.online({ timeoutMs: 100 }))).name).toBe('TimeoutError');
      const giveUp = new AbortController();
      const aborted = disabled.online({ signal: giveUp.signal });
      giveUp.abort(new Error('enough'));
      expect((await failure(aborted)).message).toBe('enough');
    }),
  );
});

describe('relays that come and go', () => {
  test(
    'F06: a relay that is added takes over from the one that is taken away, and is dialled through',
    simulated(async (place) => {
      const [old, next] = [await place.addRelay(), await place.addRelay()];
      const { client, server } = await place.relayedPair([old]);
      const story = homesOf(server);
      expect(server.relays.set(next.config)).toBeUndefined();
      expect(server.relays.delete(old.relay.url.href)).toEqual(old.config);
      expect(server.relays.delete(old.relay.url)).toBeUndefined();
      const startedAt = place.clock.now();
      while (urlsOf(server).join() !== next.relay.url.href) await place.sleep(100);
      expect(place.clock.now() - startedAt).toBeLessThan(10_000);
      await server.online(place.wait);
      expect(story.filter((line) => line.startsWith('relay2'))).toEqual([
        'relay2.example connecting',
        'relay2.example connected',
      ]);
      // F13: nothing of the old home is told once there is another one.
      expect(story.findLastIndex((line) => line.startsWith('relay1'))).toBeLessThan(
        story.findIndex((line) => line.startsWith('relay2')),
      );
      const { ours, theirs } = await place.dial(client, server, place.relayAddrOf(server));
      void echo(theirs);
      expect(fromUtf8((await place.ask(ours)).answer)).toBe('ping');
      expect(ours.paths[0]?.remoteAddr).toMatchObject({ type: 'relay', url: next.relay.url });
    }),
  );

  test(
    'F06: what is known of relays: options in all their forms, replaced, and of no use after the end',
    simulated(async (place) => {
      const endpoint = await place.bind({
        relay: ['https://b.example', { url: 'https://a.example', quicPort: 9, authToken: 'secret' }],
        netReport: false,
      });
      const [a, b] = ['https://a.example/', 'https://b.example/'].map((url) => RelayUrl.parse(url));
      expect([...endpoint.relays]).toEqual([
        { url: a, quicPort: 9, authToken: 'secret' },
        { url: b, quicPort: 7842 },
      ]);
      expect(endpoint.relays.set({ url: a!, quicPort: false })).toEqual({
        url: a,
        quicPort: 9,
        authToken: 'secret',
      });
      expect([...endpoint.relays][0]).toEqual({ url: a, quicPort: false });
      expect(() => endpoint.relays.set('no url')).toThrow();
      await endpoint.close();
      expect([endpoint.relays.set('https://c.example'), endpoint.relays.delete(b!)]).toEqual([
        undefined,
        undefined,
      ]);
      expect(endpoint.relays.size).toBe(2);
    }),
  );

  test(
    'F07: with a wrong token an endpoint hears that it is not authorized; with the right one it comes online',
    simulated(async (place) => {
      const site = await place.addRelay({ access: requireToken(['right']) });
      const endpoint = await place.bind({
        relay: [{ ...site.config, authToken: 'wrong' }],
        tls: SIM_TRUST,
      });
      const states: string[] = [];
      endpoint.homeRelay$.subscribe((status) => status && states.push(status.state));
      await place.sleep(20_000);
      expect(endpoint.homeRelay?.lastError?.message).toContain('not authorized');
      expect(states).not.toContain('connected');
      endpoint.relays.set({ ...site.config, authToken: 'right' });
      await endpoint.online({ timeoutMs: 5_000 });
      expect(endpoint.homeRelay).toEqual({ url: site.relay.url, state: 'connected' });
    }),
  );

  test(
    'F08: of two endpoints with one key the later one is reached, and the earlier one is told once',
    simulated(async (place) => {
      const site = await place.addRelay();
      const secretKey = SecretKey.generate();
      const first = await place.serve({ ...place.using(site), secretKey });
      await first.online(place.wait);
      const second = await place.serve({ ...place.using(site), secretKey });
      const story = [homesOf(first), homesOf(second)];
      await second.online(place.wait);
      const client = await place.bind(place.using(site));
      let isFirstReached = false;
      void first.accept().then((incoming) => (isFirstReached = incoming !== undefined));
      const { ours, theirs } = await place.dial(client, second, place.relayAddrOf(second));
      void echo(theirs);
      expect(fromUtf8((await place.ask(ours)).answer)).toBe('ping');
      await place.sleep(5_000);
      expect(isFirstReached).toBe(false);
      const problems = story.map((lines) => lines.filter((line) => line.endsWith('sameEndpointId')).length);
      expect(problems).toEqual([1, 0]);
    }),
  );

  test(
    'F13: when the nearest relay goes, another one becomes home, and only that one is told of from then on',
    simulated(async (place) => {
      const [near, far] = [await place.addRelay({ delayMs: 5 }), await place.addRelay({ delayMs: 60 })];
      const { client, server } = await place.relayedPair([near, far]);
      const story = homesOf(server);
      near.goDown();
      while (urlsOf(server).join() !== far.relay.url.href) await place.sleep(1_000);
      await server.online(place.wait);
      near.comeUp();
      await place.sleep(1_000);
      const first = story.findIndex((line) => line.startsWith('relay2'));
      expect(story.slice(first).every((line) => line.startsWith('relay2'))).toBe(true);
      await client.online(place.wait);
      const { ours } = await place.dial(client, server, place.relayAddrOf(server));
      expect(ours.paths[0]?.remoteAddr).toMatchObject({ url: far.relay.url });
    }),
  );

  test(
    'F16: at home at different relays: who dials goes to the relay of the other one',
    simulated(async (place) => {
      const [one, two] = [await place.addRelay(), await place.addRelay()];
      const relayed = { pathPolicy: 'relay' } as const;
      const server = await place.serve({ ...place.using(one), ...relayed });
      const client = await place.bind({ ...place.using(two), ...relayed });
      await place.online(server, client);
      expect([urlsOf(server), urlsOf(client)]).toEqual([[one.relay.url.href], [two.relay.url.href]]);
      const { ours, theirs } = await place.dial(client, server, server.addr);
      void echo(theirs);
      const bytes = new Uint8Array(100_000).fill(1);
      expect((await place.ask(ours, bytes)).answer).toEqual(bytes);
      const back = await theirs.openUni();
      await back.write(bytes);
      back.finish();
      expect(await (await ours.acceptUni(place.wait)).readToEnd(200_000)).toEqual(bytes);
      // Home stays where it was.
      await place.sleep(5_000);
      expect([urlsOf(server), urlsOf(client)]).toEqual([[one.relay.url.href], [two.relay.url.href]]);
      expect(ours.paths.map(({ remoteAddr }) => remoteAddr)).toEqual([
        { type: 'relay', url: one.relay.url, endpointId: server.id },
      ]);
    }),
  );

  test(
    'a relay that restarts under a relayed connection: data goes on',
    simulated(async (place) => {
      const site = await place.addRelay();
      const relayed = { pathPolicy: 'relay' } as const;
      const { client, server } = await place.relayedPair([site], { client: relayed, server: relayed });
      const { ours, theirs } = await place.dial(client, server, server.addr);
      void echo(theirs);
      site.relay.restart();
      expect((await place.ask(ours)).tookMs).toBeLessThan(5_000);
      site.goDown();
      await place.sleep(10_000);
      site.comeUp();
      expect((await place.ask(ours, new Uint8Array(50_000))).answer.length).toBe(50_000);
      expect(ours.closeReason).toBeUndefined();
    }),
  );

  test(
    'an endpoint that closes tells its peer over the relay, and leaves the relay in order',
    simulated(async (place) => {
      const site = await place.addRelay();
      const relayed = { pathPolicy: 'relay' } as const;
      const { client, server } = await place.relayedPair([site], { client: relayed, server: relayed });
      const { theirs } = await place.dial(client, server, server.addr);
      const startedAt = place.clock.now();
      await client.close();
      expect(await theirs.closed).toMatchObject({ code: 'ConnectionError.ApplicationClosed', errorCode: 0 });
      expect(place.clock.now() - startedAt).toBeLessThan(1_000);
      expect((await failure(client.connect(server.addr, ALPN))).code).toBe('ConnectError.EndpointClosed');
      const dialled = server.connect(new EndpointAddr(client.id, client.addr.addrs), ALPN, {
        timeoutMs: 3_000,
      });
      expect((await failure(dialled)).name).toBe('TimeoutError');
    }),
  );
});
