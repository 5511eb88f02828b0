/** Binding, addresses, and the end of an endpoint. */
import { networkInterfaces } from 'node:os';
import { createSocket } from 'node:dgram';
import { describe, expect, test } from '@jest/globals';
import { systemPlatform } from '#transport/system-platform';
import {
  Endpoint,
  isIrohError,
  SecretKey,
  type Addr,
  type EndpointAddr,
  type EndpointOptions,
} from '../../src/index.ts';
import { ALPN, failure, Loopback, onLoopback, simulated, WAIT } from '../support/endpoints.ts';

const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ family }) => family === 'IPv6'),
);

/** An IPv4 loopback port that somebody else holds. */
async function withTakenPort(body: (port: number) => Promise<void>): Promise<void> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) =>
    socket.bind({ port: 0, address: '127.0.0.1', exclusive: true }, resolve),
  );
  try {
    await body(socket.address().port);
  } finally {
    await new Promise<void>((resolve) => socket.close(resolve));
  }
}

const texts = (addrs: readonly Addr[]): string[] => addrs.map((addr) => addr.text);

describe('bind', () => {
  test(
    'A01: an address is there at once, with the own id and without a relay',
    onLoopback(async (place) => {
      const secretKey = SecretKey.generate();
      const endpoint = await place.bind({ secretKey, bind: [] });
      expect(endpoint.id.equals(secretKey.publicKey)).toBe(true);
      expect(endpoint.addr.id.equals(secretKey.publicKey)).toBe(true);
      expect(endpoint.addr.ips.length).toBeGreaterThan(0);
      expect(endpoint.addr.addrs.every(({ type }) => type === 'ip')).toBe(true);
      for (const { port, ip } of endpoint.addr.ips) {
        expect(port).not.toBe(0);
        expect(ip).not.toMatch(/^(0\.0\.0\.0|::)$/);
      }
    }),
  );

  test(
    'A02: addresses of its own are there at once, and stay, with a relay that has no address discovery',
    simulated(async (place) => {
      const site = await place.addRelay({ hasDiscovery: false });
      const endpoint = await place.bind(place.using(site));
      const [{ text: own }] = endpoint.boundSockets as [Addr];
      expect(texts(endpoint.addr.ips)).toEqual([own]);
      await place.online(endpoint);
      expect(texts(endpoint.addr.ips)).toEqual([own]);
      expect(endpoint.addr.relays).toEqual([site.config.url]);
      expect(endpoint.netReport).toMatchObject({ udpV4: false, globalV4: undefined });
    }),
  );

  test.each([
    ['preset', { preset: 'N0' }, /"n0" or "minimal", got "N0"/],
    ['pathPolicy', { pathPolicy: 'direkt' }, /"any" or "direct" or "relay"/],
    ['relay', { relay: 'https://relay.example' }, /an array of URLs/],
    ['relay', { relay: { url: 'https://relay.example' } }, /an array of URLs/],
    ['alpns', { alpns: 'echo' }, /an array/],
    ['bind', { bind: '127.0.0.1:0' }, /an array/],
    ['externalAddrs', { externalAddrs: '192.0.2.1:1' }, /an array/],
    ['transports', { transports: {} }, /an array/],
    ['secretKey', { secretKey: '7'.repeat(64) }, /^secretKey: expected a SecretKey[^7]*$/],
  ])('an option that means nothing is refused by its name: %s, %j', (name, options, message) =>
    onLoopback(async (place) => {
      const error = (await failure(place.bind(options as EndpointOptions))) as Error;
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toMatch(message);
      expect(error.message.startsWith(`${name}: `)).toBe(true);
    })(),
  );

  test(
    'whom to dial must be said: an argument that is missing is told as such',
    onLoopback(async (place) => {
      const endpoint = await place.bind();
      for (const remote of [undefined, null, 42]) {
        const error = await failure(endpoint.connect(remote as unknown as string, ALPN));
        expect(error).toBeInstanceOf(TypeError);
        expect((error as Error).message).toMatch(/^whom to dial: expected .* got /);
      }
    }),
  );

  test(
    'A05: a default address replaces the wildcard of its family only',
    onLoopback(async (place) => {
      const { boundSockets } = await place.bind({ bind: ['127.0.0.1:0'] });
      expect(boundSockets.filter(({ family }) => family === 4)).toMatchObject([{ ip: '127.0.0.1' }]);
      expect(boundSockets.filter(({ family }) => family === 6).map(({ ip }) => ip)).toEqual(
        hasIpv6 ? ['::'] : [],
      );
    }),
  );

  test(
    'A03: an address that wants no wildcards beside it is the only one, however many are asked for',
    onLoopback(async (place) => {
      const alone = await place.bind({ bind: [{ addr: '127.0.0.1:0', prefixLength: 0, exclusive: true }] });
      expect(alone.boundSockets).toMatchObject([{ ip: '127.0.0.1' }]);
      const both = await place.bind({
        bind: [{ addr: '127.0.0.2:0', prefixLength: 8, exclusive: true }, '127.0.0.1:0'],
      });
      expect(both.boundSockets.map(({ ip }) => ip)).toEqual(['127.0.0.2', '127.0.0.1']);
      // It is enough to be found by.
      expect(
        (await place.connect({ server: { bind: [{ addr: '127.0.0.1:0', exclusive: true }] } })).ours.paths,
      ).toHaveLength(1);
    }),
  );

  test(
    'A04: an address that is no default is bound beside the wildcards',
    onLoopback(async (place) => {
      const { boundSockets } = await place.bind({ bind: [{ addr: '127.0.0.2:0', prefixLength: 8 }] });
      expect(
        boundSockets
          .filter(({ family }) => family === 4)
          .map(({ ip }) => ip)
          .sort(),
      ).toEqual(['0.0.0.0', '127.0.0.2']);
    }),
  );

  test(
    'A10: an address of prefix length 0 that is said to be no default is bound beside the wildcards',
    onLoopback(async (place) => {
      const { boundSockets } = await place.bind({
        bind: [{ addr: '127.0.0.1:0', prefixLength: 0, defaultRoute: false }],
      });
      const ipsOf = (wanted: 4 | 6): string[] =>
        boundSockets.filter(({ family }) => family === wanted).map(({ ip }) => ip);
      expect(ipsOf(4).sort()).toEqual(['0.0.0.0', '127.0.0.1']);
      expect(ipsOf(6)).toEqual(hasIpv6 ? ['::'] : []);
    }),
  );

  test('A07: a required port that is taken is a BindError with the system error as cause', () =>
    withTakenPort((port) =>
      onLoopback(async (place) => {
        const bind = ['[::]:0', `127.0.0.1:${port}`];
        await expect(place.bind({ bind })).rejects.toMatchObject({
          name: 'BindError',
          code: 'BindError.Sockets',
          cause: { code: 'EADDRINUSE' },
        });
        // The place counts sockets: the one that could be bound is gone.
      })(),
    ));

  test('A08: an optional port that is taken is left out', () =>
    withTakenPort((port) =>
      onLoopback(async (place) => {
        const taken = { addr: `127.0.0.1:${port}`, required: false };
        const other = { addr: '127.0.0.2:0', prefixLength: 8 };
        // As a default: no IPv4 wildcard comes in its place.
        const first = await place.bind({ bind: [taken, other] });
        expect(first.boundSockets.filter(({ family }) => family === 4)).toMatchObject([{ ip: '127.0.0.2' }]);
        const second = await place.bind({ bind: [{ ...taken, prefixLength: 8 }, other] });
        expect(texts(second.boundSockets)).not.toContain(taken.addr);
        expect(second.boundSockets.some(({ ip }) => ip === '0.0.0.0')).toBe(true);
      })(),
    ));

  test('A09: no socket at all is a BindError', () =>
    withTakenPort(async (port) => {
      const addr = `127.0.0.1:${port}`;
      const platform = {
        ...systemPlatform,
        bindUdp: (request: { ip: string; port: number }) =>
          request.ip.includes(':')
            ? Promise.reject(new Error('no IPv6 here'))
            : systemPlatform.bindUdp!(request),
      };
      await expect(
        Endpoint.bind({ preset: 'minimal', platform, bind: [{ addr, required: false }] }),
      ).rejects.toMatchObject({ code: 'BindError.CreateQuicEndpoint' });
    }));

  test.each([
    { bind: ['127.0.0.1:0', '127.0.0.2:0'], code: 'InvalidSocketAddr.DuplicateDefaultAddr' },
    { bind: ['[::1]:0', '[::]:0'], code: 'InvalidSocketAddr.DuplicateDefaultAddr' },
    { bind: [{ addr: '127.0.0.1:0', prefixLength: 33 }], code: 'InvalidSocketAddr.InvalidPrefixLength' },
    { bind: [{ addr: '[::1]:0', prefixLength: 129 }], code: 'InvalidSocketAddr.InvalidPrefixLength' },
    { bind: [{ addr: '127.0.0.1:0', prefixLength: -1 }], code: 'InvalidSocketAddr.InvalidPrefixLength' },
    { bind: [{ addr: '127.0.0.1:0', prefixLength: 1.5 }], code: 'InvalidSocketAddr.InvalidPrefixLength' },
    { bind: ['localhost:0'], code: 'InvalidSocketAddr.AddrParse' },
    { bind: ['127.0.0.1'], code: 'InvalidSocketAddr.AddrParse' },
    { bind: ['127.0.0.1:65536'], code: 'InvalidSocketAddr.AddrParse' },
  ])('A11: $bind is $code', ({ bind, code }) =>
    onLoopback(async (place) => {
      await expect(place.bind({ bind })).rejects.toMatchObject({ name: 'InvalidSocketAddr', code });
    })(),
  );

  test(
    'A19: external addresses come and go',
    onLoopback(async (place) => {
      const endpoint = await place.bind({ externalAddrs: ['1.2.3.4:12345'] });
      const external = (): string[] => texts(endpoint.addr.ips).filter((text) => /^[15]\./.test(text));
      const seen: EndpointAddr[] = [];
      endpoint.addr$.subscribe((addr) => seen.push(addr));
      expect(external()).toEqual(['1.2.3.4:12345']);
      endpoint.externalAddrs.add('5.6.7.8:54321');
      expect(external()).toEqual(['1.2.3.4:12345', '5.6.7.8:54321']);
      endpoint.externalAddrs.add('5.6.7.8:54321');
      expect([...endpoint.externalAddrs].map(String)).toEqual(['1.2.3.4:12345', '5.6.7.8:54321']);
      expect(endpoint.externalAddrs.delete('5.6.7.8:54321')).toBe(true);
      expect(endpoint.externalAddrs.delete('5.6.7.8:54321')).toBe(false);
      expect(external()).toEqual(['1.2.3.4:12345']);
      // At first, added, removed; the same again is no change.
      expect(seen).toHaveLength(3);
      expect(() => endpoint.externalAddrs.add('nowhere')).toThrow(
        expect.objectContaining({ code: 'InvalidSocketAddr.AddrParse' }),
      );
      await endpoint.close();
      endpoint.externalAddrs.add('5.6.7.8:1');
      expect(external()).toEqual(['1.2.3.4:12345']);
    }),
  );
});

describe('close', () => {
  test(
    'A13: an idle endpoint closes at once',
    onLoopback(async (place) => {
      const endpoint = await place.serve();
      expect([endpoint.state, endpoint.isClosed]).toEqual(['open', false]);
      const { closed } = endpoint;
      place.mustSettle('closed', closed);
      const start = performance.now();
      const closing = endpoint.close();
      expect([endpoint.state, endpoint.isClosed]).toEqual(['closing', false]);
      await closed;
      await closing;
      expect([endpoint.state, endpoint.isClosed]).toEqual(['closed', true]);
      expect(performance.now() - start).toBeLessThan(1_000);
    }),
  );

  test(
    'A14: a closed endpoint answers what it can and does nothing',
    onLoopback(async (place) => {
      const { client: endpoint, server, ours } = await place.connect();
      const other = place.addrOf(server);
      const { addr, boundSockets, id, secretKey } = endpoint;
      await endpoint.close();
      endpoint.setAlpns(['other']);
      endpoint.networkChanged();
      await expect(endpoint.connect(other, ALPN)).rejects.toMatchObject({
        code: 'ConnectError.EndpointClosed',
      });
      expect(await failure(endpoint.dial(other, ALPN).early())).toMatchObject({
        code: 'ConnectError.EndpointClosed',
      });
      expect(await endpoint.accept()).toBeUndefined();
      for await (const incoming of endpoint.incoming())
        throw new Error(`unexpected ${incoming.remoteAddr.type}`);
      expect(endpoint.addr.equals(addr)).toBe(true);
      expect(endpoint.id.equals(id)).toBe(true);
      expect(endpoint.secretKey).toBe(secretKey);
      expect(texts(endpoint.boundSockets)).toEqual(texts(boundSockets));
      const seen: EndpointAddr[] = [];
      endpoint.addr$.subscribe((each) => seen.push(each));
      expect(seen.length).toBeLessThanOrEqual(1);
      expect(ours.closeReason?.code).toBe('ConnectionError.LocallyClosed');
      expect(ours.stats().udpTx.datagrams).toBeGreaterThan(0);
      await endpoint.closed;
      await endpoint.close();
      expect(endpoint.state).toBe('closed');
    }),
  );

  test(
    'A15: an accept that nobody awaited ends without an attempt',
    onLoopback(async (place) => {
      const endpoint = await place.serve();
      const accepted = endpoint.accept();
      await endpoint.close();
      expect(await accepted).toBeUndefined();
    }),
  );

  test(
    'A16: a pending accept ends without an attempt',
    onLoopback(async (place) => {
      const endpoint = await place.serve();
      let result: unknown = 'pending';
      const accepted = endpoint.accept(WAIT).then((incoming) => (result = incoming));
      const iterated = endpoint.incoming().next();
      await new Promise((resolve) => setImmediate(resolve));
      expect(result).toBe('pending');
      await endpoint.close();
      expect(await accepted).toBeUndefined();
      expect(await iterated).toEqual({ done: true, value: undefined });
    }),
  );

  test(
    'A17: two closes at once both resolve, and only when the endpoint is closed',
    simulated(async (place) => {
      const { client, theirs } = await place.connect();
      const start = place.clock.now();
      const states: string[] = [];
      const note = (): void => void states.push(client.state);
      await Promise.all([client.close().then(note), client.close().then(note)]);
      expect(states).toEqual(['closed', 'closed']);
      // One round trip: the peer answers.
      expect(place.clock.now() - start).toBeLessThan(50);
      expect(await theirs.closed).toMatchObject({ code: 'ConnectionError.ApplicationClosed', errorCode: 0 });
    }),
  );

  test(
    'A17: a peer that is gone holds a close up for its limit and no longer',
    simulated(async (place) => {
      const { client, theirs } = await place.connect();
      place.hosts[0]!.isUp = false;
      const start = place.clock.now();
      await client.close({ timeoutMs: 700 });
      expect(place.clock.now() - start).toBeLessThanOrEqual(700);
      expect(client.state).toBe('closed');
      expect(theirs.closeReason).toBeUndefined();
    }),
  );

  test(
    'A18: addresses and reports stop coming',
    simulated(async (place) => {
      const site = await place.addRelay();
      const endpoint = await place.bind(place.using(site));
      await place.online(endpoint);
      const ended: string[] = [];
      endpoint.addr$.subscribe({ complete: () => ended.push('addr$') });
      endpoint.netReport$.subscribe({ complete: () => ended.push('netReport$') });
      const start = place.clock.now();
      await endpoint.close();
      expect(ended.sort()).toEqual(['addr$', 'netReport$']);
      expect(place.clock.now() - start).toBeLessThan(1_000);
    }),
  );

  test('A22: many endpoint pairs leave nothing behind', async () => {
    for (let round = 0; round < 10; round++) {
      const place = new Loopback();
      const { ours, theirs } = await place.connect();
      place.mustSettle('ours', ours.closed);
      place.mustSettle('theirs', theirs.closed);
      await place.end();
      expect(isIrohError(ours.closeReason, 'ConnectionError')).toBe(true);
    }
  });
});
