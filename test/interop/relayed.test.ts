/** Ours and real iroh, in both roles, on our relay server: by the relay alone, from there to a direct path, and at the door. */
import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../src/base/bytes.ts';
import type { Connection } from '../../src/index.ts';
import { Router } from '../../src/index.ts';
import {
  acceptNative,
  ALPN,
  DIALLERS,
  eventually,
  nativeBytes,
  nativeMessage,
  type NativeConnection,
  WAIT,
} from './native.ts';
import {
  addrAt,
  ask,
  askUs,
  echoNative,
  echoOurs,
  meet,
  nativeAddrAt,
  online,
  within,
  withRelay,
} from './relay-scene.ts';
import { sourceBytes } from './source-bytes.ts';

const refused = {
  code: 'ConnectError.Connection',
  cause: { cause: { code: 'ConnectionError.ConnectionClosed', transportCode: 'CONNECTION_REFUSED' } },
};

/** What kinds of paths we have open, the selected one first. */
function kinds(ours: Connection): string[] {
  return ours.paths
    .toSorted((a, b) => Number(b.isSelected) - Number(a.isSelected))
    .map(
      ({ remoteAddr, status, isSelected }) => `${remoteAddr.type}${isSelected ? ' selected' : ''} ${status}`,
    );
}

/** The same of a real connection, without the status. */
function nativeKinds(theirs: NativeConnection): string[] {
  return theirs
    .paths()
    .toSorted((a, b) => Number(b.isSelected) - Number(a.isSelected))
    .map(({ isIp, isSelected }) => `${isIp ? 'ip' : 'relay'}${isSelected ? ' selected' : ''}`);
}

/** Bytes there and back, dialled by either side. */
async function roundTrips(
  ours: Connection,
  theirs: NativeConnection,
  sizes: readonly number[],
): Promise<void> {
  void echoNative(theirs);
  void echoOurs(ours);
  for (const [seed, size] of sizes.entries()) {
    const message = sourceBytes(seed + 1, size);
    expect(Buffer.compare(await ask(ours, message), message)).toBe(0);
    expect(Buffer.compare(await askUs(theirs, message), message)).toBe(0);
  }
}

describe.each(DIALLERS)('%s', (dialler) => {
  test('F02: by the relay alone; D02: a direct path appears, and both sides select it', () =>
    withRelay(async ({ relay, bind, bindOurs }) => {
      const [our, their] = [await bindOurs(), await bind()];
      await online(our, their);
      const { ours, theirs } = await meet(dialler, our, their, relay);
      const events: string[] = [];
      ours.pathEvents$.subscribe((event) => {
        if (event.type === 'opened' || event.type === 'selected')
          events.push(`${event.type} ${event.remoteAddr.type}`);
      });
      await roundTrips(ours, theirs, [10]);
      await eventually(() => kinds(ours)[0] === 'ip selected available');
      await eventually(() => nativeKinds(theirs)[0] === 'ip selected');
      // It started at the relay, whatever has happened until somebody looked.
      expect(relay.metrics().send_packets_sent).toBeGreaterThan(0);
      expect(events).toEqual(expect.arrayContaining(['opened ip', 'selected ip']));
      await eventually(() => kinds(ours).includes('relay backup'));
      expect(nativeKinds(theirs)).toContain('relay');
      await roundTrips(ours, theirs, [10]);
    }));

  test('D03: relays only on our side: it stays there, on one path', () =>
    withRelay(async ({ relay, bind, bindOurs }) => {
      const [our, their] = [await bindOurs({ pathPolicy: 'relay' }), await bind()];
      await online(our, their);
      expect(our.addr.addrs).toEqual([{ type: 'relay', url: relay.url }]);
      const { ours, theirs } = await meet(dialler, our, their, relay);
      await roundTrips(ours, theirs, [100_000]);
      expect(kinds(ours)).toEqual(['relay selected available']);
      expect(nativeKinds(theirs)).toEqual(['relay selected']);
    }));

  test('D04: both addresses: directly first, the relay as backup on both sides', () =>
    withRelay(async ({ relay, bind, bindOurs }) => {
      const [our, their] = [await bindOurs(), await bind()];
      await online(our, their);
      const { ours, theirs } = await meet(dialler, our, their, relay, true);
      await eventually(() => kinds(ours).length === 2 && nativeKinds(theirs).length === 2);
      await eventually(() => kinds(ours)[0] === 'ip selected available');
      expect(kinds(ours)).toEqual(['ip selected available', 'relay backup']);
      expect(nativeKinds(theirs)).toEqual(['ip selected', 'relay']);
      await roundTrips(ours, theirs, [10]);
    }));

  test('F07: a relay that demands a token', () =>
    withRelay(
      async ({ relay, bind, bindOurs }) => {
        const withToken = (authToken: string): object => ({
          relay: [{ url: relay.url, quicPort: false, authToken }],
        });
        const wrong = await bindOurs(withToken('wrong'));
        const [our, their] = [await bindOurs(withToken('right')), await bind({ token: 'right' })];
        await online(our, their);
        const { ours, theirs } = await meet(dialler, our, their, relay);
        await roundTrips(ours, theirs, [10]);
        await eventually(() => wrong.homeRelay?.lastError !== undefined);
        expect(String(wrong.homeRelay!.lastError)).toContain('not authorized');
        expect(wrong.homeRelay!.state).not.toBe('connected');
      },
      { access: { tokens: ['right'] } },
    ));

  test('F16: each on a relay of its own', () =>
    withRelay(async ({ relay, bind, bindOurs, listen }) => {
      const other = await listen();
      const [our, their] = [await bindOurs(), await bind({ relay: other })];
      await online(our, their);
      const { ours, theirs } = await meet(dialler, our, their, dialler === 'we dial' ? other : relay);
      await roundTrips(ours, theirs, [10, 10_000]);
      const used = dialler === 'we dial' ? other : relay;
      expect(used.metrics().send_packets_sent).toBeGreaterThan(0);
    }));

  test('H01: small and large data both ways', () =>
    withRelay(async ({ relay, bind, bindOurs }) => {
      const [our, their] = [await bindOurs(), await bind()];
      await online(our, their);
      const { ours, theirs } = await meet(dialler, our, their, relay);
      await roundTrips(ours, theirs, [10, 1_000, 1_000_000]);
    }));

  test('H01: small and large data both ways, all of it relayed', () =>
    withRelay(async ({ relay, bind, bindOurs }) => {
      const [our, their] = [await bindOurs({ pathPolicy: 'relay' }), await bind()];
      await online(our, their);
      const { ours, theirs } = await meet(dialler, our, their, relay);
      await roundTrips(ours, theirs, [10, 1_000, 1_000_000]);
      expect(relay.metrics().bytes_sent).toBeGreaterThan(4_000_000);
    }));
});

describe('attempts that come by the relay', () => {
  const message = utf8('hello');

  test('G06: our router rejects one id, and serves another', () =>
    withRelay(async ({ relay, bind, bindOurs }) => {
      const [our, bad, good] = [await bindOurs(), await bind(), await bind()];
      await our.online(WAIT);
      const router = Router.builder(our)
        .incomingFilter(({ remoteAddr }) =>
          remoteAddr.type === 'relay' && remoteAddr.endpointId.toString() === bad.id().toString()
            ? 'reject'
            : 'accept',
        )
        .accept(ALPN, echoOurs)
        .spawn();
      const addr = nativeAddrAt(our, relay);
      const refusal = bad.connect(addr, nativeBytes(ALPN)).then(() => 'connected', nativeMessage);
      expect(await within(refusal, 'refusal')).toContain('the server refused to accept a new connection');
      const theirs = await within(good.connect(addr, nativeBytes(ALPN)), 'connect');
      expect(await askUs(theirs, message)).toEqual(message);
      await router.shutdown();
    }));

  test('G06: our router ignores one id', () =>
    withRelay(async ({ relay, bind, bindOurs }) => {
      const [our, their] = [await bindOurs(), await bind()];
      await our.online(WAIT);
      let ignored = 0;
      const router = Router.builder(our)
        .incomingFilter(() => {
          ignored++;
          return 'ignore';
        })
        .accept(ALPN, echoOurs)
        .spawn();
      let outcome: string | undefined;
      void their.connect(nativeAddrAt(our, relay), nativeBytes(ALPN)).then(
        () => (outcome = 'connected'),
        (error: unknown) => (outcome = nativeMessage(error)),
      );
      // Unanswered, it tries again.
      await eventually(() => ignored >= 2);
      expect(outcome).toBeUndefined();
      await router.shutdown();
    }));

  test('G06: a real endpoint refuses, ignores, accepts us', () =>
    withRelay(async ({ relay, bind, bindOurs }) => {
      const [our, their] = [await bindOurs(), await bind()];
      await online(our, their);
      const first = our.connect(addrAt(their, relay), ALPN, WAIT).catch((error: unknown) => error);
      const attempt = (await within(their.acceptNext(), 'attempt'))!;
      expect(await attempt.remoteAddr()).toMatchObject({
        kind: 'relay',
        addr: relay.url.href,
        endpointId: our.id.toString(),
      });
      await attempt.refuse();
      expect(await first).toMatchObject(refused);
      const second = our.connect(addrAt(their, relay), ALPN, WAIT);
      await (await within(their.acceptNext(), 'attempt'))!.ignore();
      // Our next flight is another attempt for it.
      const accepted = within(acceptNative(their), 'accept');
      void echoNative(await accepted);
      expect(await ask(await second, message)).toEqual(message);
    }));

  test('G07: our router retries once, then it sees a validated attempt', () =>
    withRelay(async ({ relay, bind, bindOurs }) => {
      const [our, their] = [await bindOurs(), await bind()];
      await our.online(WAIT);
      const seen: [string, boolean][] = [];
      const router = Router.builder(our)
        .incomingFilter(({ remoteAddr, remoteAddrValidated }) => {
          seen.push([remoteAddr.type, remoteAddrValidated]);
          return remoteAddrValidated ? 'accept' : 'retry';
        })
        .accept(ALPN, echoOurs)
        .spawn();
      const theirs = await within(their.connect(nativeAddrAt(our, relay), nativeBytes(ALPN)), 'connect');
      expect(await askUs(theirs, message)).toEqual(message);
      expect(seen).toEqual([
        ['relay', false],
        ['relay', true],
      ]);
      await router.shutdown();
    }));

  test('G07: a real endpoint retries us', () =>
    withRelay(async ({ relay, bind, bindOurs }) => {
      const [our, their] = [await bindOurs(), await bind()];
      await online(our, their);
      const dialled = our.connect(addrAt(their, relay), ALPN, WAIT);
      const unproven = (await within(their.acceptNext(), 'attempt'))!;
      expect(await unproven.remoteAddrValidated()).toBe(false);
      await unproven.retry();
      const proven = (await within(their.acceptNext(), 'attempt'))!;
      expect(await proven.remoteAddrValidated()).toBe(true);
      void echoNative(await (await proven.accept()).connect());
      expect(await ask(await dialled, message)).toEqual(message);
    }));
});
