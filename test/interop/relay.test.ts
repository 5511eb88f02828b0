/** Real iroh endpoints and our relay server: what they send, and what they make of what we send. */
import { describe, expect, test } from '@jest/globals';
import { RelayServer, type RelayHubEvent } from '../../src/relay-server.ts';
import {
  acceptNative,
  ALPN,
  eventually,
  NativeAddr,
  nativeBytes,
  type NativeConnection,
  type NativeEndpoint,
} from './native.ts';
import { within, withRelay, type Scene } from './relay-scene.ts';

/** Connects by the relay's URL and the id alone. */
async function meet(
  { relay }: Scene,
  client: NativeEndpoint,
  server: NativeEndpoint,
): Promise<readonly [NativeConnection, NativeConnection]> {
  const accepted = acceptNative(server);
  const addr = new NativeAddr(server.id(), relay.url.href, []);
  const dialled = await within(client.connect(addr, nativeBytes(ALPN)), 'connect');
  return [dialled, await within(accepted, 'accept')];
}

async function echo(a: NativeConnection, b: NativeConnection, bytes: number): Promise<void> {
  const message = Array.from({ length: bytes }, (_, i) => (i * 7) & 0xff);
  const { send, recv } = await a.openBi();
  const answering = (async () => {
    const remote = await b.acceptBi();
    await remote.send.writeAll(await remote.recv.readToEnd(bytes));
    await remote.send.finish();
  })();
  await send.writeAll(message);
  await send.finish();
  expect(await within(recv.readToEnd(bytes), 'echo')).toEqual(message);
  await answering;
}

test('two endpoints meet by the relay alone and echo', () =>
  withRelay(async (scene) => {
    const [server, client] = [await scene.bind(), await scene.bind()];
    await within(Promise.all([server.online(), client.online()]), 'online');
    expect(server.addr().relayUrl()).toBe(scene.relay.url.href);
    expect(scene.relay.clientCount).toBe(2);
    const [ours, theirs] = await meet(scene, client, server);
    expect(scene.relay.metrics().send_packets_sent).toBeGreaterThan(0);
    await echo(ours, theirs, 200_000);
    // The pong that they wait for before they count the relay as connected.
    expect(scene.relay.metrics().sent_pong).toBeGreaterThanOrEqual(2);
    expect(scene.relay.metrics().protocol_errors).toBe(0);
  }));

test('D02: two endpoints meet by the relay, and go on directly', () =>
  withRelay(async (scene) => {
    const [server, client] = [await scene.bind(), await scene.bind()];
    await within(Promise.all([server.online(), client.online()]), 'online');
    const [ours, theirs] = await meet(scene, client, server);
    const isDirect = (connection: NativeConnection): boolean =>
      connection.paths().some(({ isIp, isSelected }) => isIp && isSelected);
    await eventually(() => isDirect(ours) && isDirect(theirs));
    const relayed = scene.relay.metrics().bytes_sent;
    await echo(ours, theirs, 200_000);
    expect(scene.relay.metrics().bytes_sent - relayed).toBeLessThan(100_000);
  }));

test('F07: a wrong token is never online, the right one is', () =>
  withRelay(
    async (scene) => {
      const wrong = await scene.bind({ token: 'wrong' });
      const right = await scene.bind({ token: 'right' });
      await within(right.online(), 'online');
      // It tries again and again, as upstream does.
      await eventually(() => scene.relay.metrics().auth_denied >= 3);
      expect(scene.relay.clientCount).toBe(1);
      expect(scene.events).toContainEqual(
        expect.objectContaining({ reason: 'denied', detail: 'not authorized' }),
      );
      const ids = scene.events
        .filter(({ type }) => type === 'connected')
        .map(({ endpointId }) => endpointId!.toString());
      expect(ids).toEqual([right.id().toString()]);
      expect(wrong.addr().relayUrl()).toBe(scene.relay.url.href);
    },
    { access: { tokens: ['right'] } },
  ));

test('F08: two endpoints with one key: the second is reached', () =>
  withRelay(async (scene) => {
    const first = await scene.bind({ seed: 9 });
    await within(first.online(), 'online');
    const second = await scene.bind({ seed: 9 });
    await within(second.online(), 'online');
    expect(scene.relay.clientCount).toBe(1);
    expect(scene.relay.metrics().clients_inactive_added).toBe(1);
    const client = await scene.bind();
    const [ours, theirs] = await meet(scene, client, second);
    await echo(ours, theirs, 10_000);
  }));

describe('the relay goes away', () => {
  test('and comes back on the same port: both find it again, and new connections are made through it', async () => {
    const events: RelayHubEvent[] = [];
    await withRelay(async (scene) => {
      const [server, client] = [await scene.bind(), await scene.bind()];
      await within(Promise.all([server.online(), client.online()]), 'online');
      const bind = `127.0.0.1:${scene.relay.httpAddr.port}`;
      await scene.relay.close();
      const again = await RelayServer.listen({ bind, onEvent: (event) => void events.push(event) });
      try {
        await eventually(() => again.clientCount === 2);
        const [ours, theirs] = await meet({ ...scene, relay: again }, client, server);
        await echo(ours, theirs, 10_000);
      } finally {
        await Promise.all([server.close(), client.close()]);
        await again.close();
      }
    });
    expect(events.filter(({ type }) => type === 'connected').length).toBeGreaterThanOrEqual(2);
  });
});
