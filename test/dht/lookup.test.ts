/** Endpoints that find each other through a DHT of loopback, by id alone. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, describe, expect, test } from '@jest/globals';
import { PacketPublisher } from '../../src/actors/packet-publisher.ts';
import type { SignedPacket } from '../../src/address-lookup/signed-packet.ts';
import type { TransportAddr } from '../../src/base/transport-addr.ts';
import { utf8 } from '../../src/base/bytes.ts';
import { EndpointAddr, RelayUrl, SecretKey, toAddr } from '../../src/index.ts';
import { DhtLookup, type DhtLookupOptions } from '../../src/lookup/dht.ts';
import { systemPlatform } from '../../src/transport/system-platform.ts';
import { DhtNet, LyingNode } from '../support/dht-net.ts';
import { ALPN, echo, failure, onLoopback } from '../support/endpoints.ts';
import { endPrograms, runNode } from '../support/program.ts';
import { SimClock } from '../support/sim-clock.ts';

const KEY = SecretKey.fromBytes(new Uint8Array(32).fill(0x2a));
const ID = KEY.publicKey;
const relay: TransportAddr = { type: 'relay', url: RelayUrl.parse('https://relay.example.com/') };
const direct: TransportAddr = { type: 'ip', addr: toAddr('192.0.2.7', 4_433) };
const everything: DhtLookupOptions['filter'] = (addrs) => addrs;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  await endPrograms();
  for (const close of closers.splice(0).reverse()) await close();
});
const closing = <T extends { close(): Promise<void> }>(each: T): T => {
  closers.push(() => each.close());
  return each;
};
const startNet = async (): Promise<DhtNet> => closing(await DhtNet.start());

/** A promise and what resolves it. */
function announcement(): { readonly published: Promise<void>; readonly onPublish: () => void } {
  let onPublish!: () => void;
  const published = new Promise<void>((resolve) => (onPublish = resolve));
  return { published, onPublish };
}

describe('endpoints', () => {
  test(
    'one publishes, the other finds it by id alone, and they connect',
    onLoopback(async (place) => {
      const { bootstrap } = await startNet();
      const { published, onPublish } = announcement();
      const server = await place.serve({
        lookup: (endpoint) => new DhtLookup({ ...endpoint, bootstrap, filter: everything, onPublish }),
      });
      await published;
      const client = await place.bind({
        lookup: (endpoint) => new DhtLookup({ ...endpoint, bootstrap, publish: false }),
      });
      const accepted = place.acceptOn(server).then(echo);
      const connection = await client.connect(server.id, ALPN, place.wait);
      expect((await place.ask(connection)).answer).toEqual(utf8('ping'));
      connection.close(0, '');
      await accepted;
    }),
  );

  test(
    'an id that nobody published is not found',
    onLoopback(async (place) => {
      const { bootstrap } = await startNet();
      const client = await place.bind({ lookup: (endpoint) => new DhtLookup({ ...endpoint, bootstrap }) });
      expect(await failure(client.connect(ID, ALPN, place.wait))).toMatchObject({
        code: 'ConnectError.NoAddress.NoResults',
      });
    }),
  );

  test(
    'an endpoint that closes gives up its question in that turn; no socket and no timer stays',
    onLoopback(async (place) => {
      const silent = closing(await LyingNode.start(() => undefined));
      const client = await place.bind({
        lookup: (endpoint) => new DhtLookup({ ...endpoint, bootstrap: [silent.hostPort] }),
      });
      const dialled = client.connect(ID, ALPN);
      place.mustSettle('the dial', dialled);
      while (silent.asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
      const closed = client.close();
      const code = failure(dialled).then((error) => (error as { code?: string }).code);
      expect(await Promise.race([code, new Promise((resolve) => setImmediate(resolve))])).toMatch(
        /^ConnectError\./,
      );
      await closed;
    }),
  );
});

describe('what is published', () => {
  test.each<[string, DhtLookupOptions['filter'], readonly TransportAddr[]]>([
    ['relays only, unless told otherwise', undefined, [relay]],
    ['all addresses with a filter', everything, [relay, direct]],
  ])('%s', async (_what, filter, addrs) => {
    const { bootstrap } = await startNet();
    const { published, onPublish } = announcement();
    const ours = closing(new DhtLookup({ secretKey: KEY, bootstrap, filter, onPublish }));
    ours.publish({ addr: new EndpointAddr(ID, [direct, relay]), userData: 'text' });
    await published;
    const { signal } = new AbortController();
    const answers = closing(new DhtLookup({ bootstrap })).resolve(ID, { signal });
    const { value } = await answers.next();
    expect(value).toEqual({ addr: new EndpointAddr(ID, addrs), userData: 'text' });
    await answers.return();
  });

  test('nothing without an address, without a key, or when told so', async () => {
    const clock = new SimClock();
    const options = { bootstrap: ['127.0.0.1:1'], platform: { ...systemPlatform, clock } };
    const services = [
      new DhtLookup({ ...options, secretKey: KEY }),
      new DhtLookup({ ...options }),
      new DhtLookup({ ...options, secretKey: KEY, publish: false }),
    ].map(closing);
    services[0]!.publish({ addr: new EndpointAddr(ID, [direct]), userData: 'alone' });
    services[1]!.publish({ addr: new EndpointAddr(ID, [relay]) });
    services[2]!.publish({ addr: new EndpointAddr(ID, [relay]) });
    // What is published is gathered first, for which there would be a timer.
    expect(clock.nextAt()).toBeUndefined();
    services[0]!.publish({ addr: new EndpointAddr(ID, [relay]) });
    expect(clock.nextAt()).toBeDefined();
  });

  test('changes within 50 ms are one; again after an hour with a newer timestamp; failures are tried again', async () => {
    const clock = new SimClock();
    const puts: { readonly at: number; readonly packet: SignedPacket }[] = [];
    let works = true;
    const publisher = new PacketPublisher({
      platform: { ...systemPlatform, clock },
      secretKey: KEY,
      place: 'DHT',
      republishIntervalMs: 3_600_000,
      debounceMs: 50,
      timeLimitMs: 30_000,
      maxDnsBytes: 999,
      put: (packet) => {
        puts.push({ at: clock.now() - startedAt, packet });
        return works ? Promise.resolve() : Promise.reject(new Error('no node'));
      },
    });
    const startedAt = clock.now();
    const run = async (ms: number): Promise<void> => {
      for (const end = clock.now() + ms; ;) {
        await new Promise((resolve) => setImmediate(resolve));
        const at = clock.nextAt();
        if (at === undefined || at > end) return clock.advanceTo(end);
        clock.advanceTo(at);
      }
    };
    const other = (n: number): TransportAddr => ({
      type: 'relay',
      url: RelayUrl.parse(`https://${n}.example/`),
    });
    for (const n of [1, 2, 3]) {
      publisher.publish({ addr: new EndpointAddr(ID, [other(n)]) });
      await run(20);
    }
    await run(3_600_000);
    works = false;
    publisher.publish({ addr: new EndpointAddr(ID, [other(4)]) });
    await run(5_000);
    expect(puts.map(({ at }) => at)).toEqual([50, 3_600_050, 3_600_110, 3_601_110, 3_603_110]);
    expect(puts.map(({ packet }) => packet.txtStrings()[0])).toEqual(
      [3, 3, 4, 4, 4].map((n) => `relay=https://${n}.example/`),
    );
    for (const [i, { packet }] of puts.entries())
      if (i > 0) expect(packet.isNewerThan(puts[i - 1]!.packet)).toBe(true);
    publisher.close();
    await run(10_000);
    expect(puts).toHaveLength(5);
  });

  test('the addresses of somebody else are refused', () => {
    const ours = closing(new DhtLookup({ secretKey: KEY }));
    const other = SecretKey.fromBytes(new Uint8Array(32).fill(1)).publicKey;
    expect(() => ours.publish({ addr: new EndpointAddr(other, [relay]) })).toThrow(RangeError);
  });
});

describe('a process', () => {
  const entry = pathToFileURL(join(import.meta.dirname, '..', '..', 'dist', 'lookup', 'dht.js')).href;
  const main = pathToFileURL(join(import.meta.dirname, '..', '..', 'dist', 'index.js')).href;

  test('with a DHT lookup that is closed ends by itself, with nothing on disk and no handler of signals', async () => {
    const { bootstrap } = await startNet();
    const home = mkdtempSync(join(tmpdir(), 'iroh-ts-home-'));
    closers.push(() => rmSync(home, { recursive: true, force: true }));
    const program = `
      import { DhtLookup } from '${entry}';
      import { SecretKey } from '${main}';
      const lookup = new DhtLookup({ bootstrap: ${JSON.stringify(bootstrap)} });
      const signal = new AbortController().signal;
      for await (const answer of lookup.resolve(SecretKey.generate().publicKey, { signal })) console.log(answer);
      const events = ['SIGINT', 'SIGTERM', 'SIGHUP', 'beforeExit'];
      console.log(events.map((event) => process.listenerCount(event)).join());
      await lookup.close();`;
    const child = runNode(['--input-type=module', '-e', program], { env: { HOME: home, USERPROFILE: home } });
    expect(await child.ended()).toMatchObject({ code: 0, stdout: '0,0,0,0\n', stderr: '' });
    expect(readdirSync(home)).toEqual([]);
  });

  test('where the native part is missing is told what is', async () => {
    const hooks = `export async function resolve(specifier, context, next) {
      if (specifier === 'sodium-universal') throw new Error('no prebuilt addon');
      return next(specifier, context);
    }`;
    const program = `
      import { register } from 'node:module';
      register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hooks)}));
      const { DhtLookup } = await import('${entry}');
      const { SecretKey } = await import('${main}');
      const lookup = new DhtLookup({ bootstrap: ['127.0.0.1:1'] });
      const answers = lookup.resolve(SecretKey.generate().publicKey, { signal: new AbortController().signal });
      await answers.next().catch((error) => console.log(error.code, error.message));
      await lookup.close();`;
    const { code, stdout } = await runNode(['--input-type=module', '-e', program]).ended();
    expect(code).toBe(0);
    expect(stdout).toMatch(/^DhtError\.Unavailable .*npm install pkarr/);
  });
});
