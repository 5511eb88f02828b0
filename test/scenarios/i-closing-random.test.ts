/** An endpoint closes at every point of a dial, an accept and a transfer: its invariants (E1 to E6) hold, and nobody hangs. */
import { expect, test } from '@jest/globals';
import type { Connection, Endpoint } from '../../src/index.ts';
import { ALPN, failure, simulated, type Simulated } from '../support/endpoints.ts';

/** Beyond the end of the script, ms. A datagram takes 20 ms one way: 10 on each link. */
const LAST_MS = 260;
const STEP_MS = 10;
const DATA = new Uint8Array(20_000).fill(7);

/** What the two sides have. */
interface Story {
  readonly client: Endpoint;
  readonly server: Endpoint;
  readonly connections: { readonly client: Connection[]; readonly server: Connection[] };
  /** Rounds that the client has had its echo of. */
  rounds: number;
}

async function echo(connection: Connection): Promise<void> {
  for (;;) {
    const { send, recv } = await connection.acceptBi();
    await send.write(await recv.readToEnd(DATA.length));
    send.finish();
  }
}

/** Dials, and sends something to and fro for a while. */
async function begin(place: Simulated): Promise<Story> {
  const server = await place.serve();
  const client = await place.bind();
  const story: Story = { client, server, connections: { client: [], server: [] }, rounds: 0 };
  const serve = async (): Promise<void> => {
    for await (const incoming of server.incoming()) {
      try {
        const connection = await incoming.accept().connected;
        story.connections.server.push(connection);
        place.mustSettle('echo', echo(connection));
      } catch {
        // The client has closed during the handshake.
      }
    }
  };
  const use = async (): Promise<void> => {
    const connection = await client.connect(place.addrOf(server), ALPN, place.wait);
    story.connections.client.push(connection);
    for (;;) {
      const { send, recv } = await connection.openBi();
      await send.write(DATA);
      send.finish();
      expect((await recv.readToEnd(DATA.length)).length).toBe(DATA.length);
      story.rounds++;
    }
  };
  place.mustSettle('server', serve());
  place.mustSettle('client', use());
  return story;
}

async function closeAt(place: Simulated, side: 'client' | 'server', ms: number): Promise<Story> {
  const story = await begin(place);
  await place.sleep(ms);
  const closing = story[side];
  const other = story[side === 'client' ? 'server' : 'client'];
  const ours = [...story.connections[side]];
  const isEstablished = ours.length > 0;
  const start = place.clock.now();
  const order: string[] = [];
  const closes = [1, 2].map((n) => closing.close().then(() => order.push(`close ${n}: ${closing.state}`)));
  // E1: from the call on.
  expect(closing.state).toBe('closing');
  expect(await failure(closing.connect(place.addrOf(other), ALPN))).toMatchObject({
    code: 'ConnectError.EndpointStopping',
  });
  expect(await closing.accept()).toBeUndefined();
  // E3: at once, and so before the end.
  for (const { closeReason } of ours)
    expect(closeReason).toMatchObject({ code: 'ConnectionError.LocallyClosed' });
  // E4: both calls, at the end; a third one after it.
  await Promise.all(closes);
  await closing.close();
  expect(order).toEqual(['close 1: closed', 'close 2: closed']);
  expect(await failure(closing.connect(place.addrOf(other), ALPN))).toMatchObject({
    code: 'ConnectError.EndpointClosed',
  });
  expect(story.connections[side].filter(({ closeReason }) => closeReason === undefined)).toEqual([]);
  // The peer answers, so this is a round trip; in a handshake it may be three PTOs.
  expect(place.clock.now() - start).toBeLessThanOrEqual(isEstablished ? 50 : 3_000);
  // E6: who has a connection hears of its end. Before the handshake is complete on this side, codes of applications are not
  // sent (RFC 9000 §10.2.3).
  const theirs = story.connections[side === 'client' ? 'server' : 'client'];
  for (const connection of theirs) {
    expect(await connection.closed).toMatchObject(
      isEstablished
        ? { code: 'ConnectionError.ApplicationClosed', errorCode: 0 }
        : { code: 'ConnectionError.ConnectionClosed', transportCode: 'APPLICATION_ERROR' },
    );
  }
  if (isEstablished) expect(theirs.length).toBe(1);
  expect(place.clock.now() - start).toBeLessThan(3_100);
  // E5: the place looks for what is left once the other side has closed too.
  return story;
}

test.each(['client', 'server'] as const)(
  'model-6 inv-E1, inv-E3 … inv-E6: the %s closes at every point of a dial and a transfer',
  async (side) => {
    const rounds = new Set<number>();
    const connections = new Set<number>();
    for (let ms = 0; ms <= LAST_MS; ms += STEP_MS) {
      await simulated(async (place) => {
        const story = await closeAt(place, side, ms);
        rounds.add(story.rounds);
        connections.add(story.connections[side].length);
      }, ms + 1)();
    }
    // The points were before, during and after the handshake, and the transfer got somewhere.
    expect([...connections].sort()).toEqual([0, 1]);
    expect(Math.max(...rounds)).toBeGreaterThan(1);
  },
);
