/** The chart of a connection is told what the engine really says, and shows each kind of life. */
import { describe, expect, test } from '@jest/globals';
import { createActor } from 'xstate';
import { connectionMachine, type ConnectionLifeEvent } from '../../../src/machines/connection.ts';
import type { ConnectionEvent } from '../../../src/quic/engine.ts';
import { Pair, type PairOptions } from '../../support/pair.ts';
import type { SimConnection } from '../../support/sim-connection.ts';

/** What a connection's actor says of an engine event; undefined: nothing. */
function told(event: ConnectionEvent, { quic }: SimConnection): ConnectionLifeEvent | undefined {
  switch (event.type) {
    case 'connected':
      return { type: 'connected', side: quic.side };
    case 'closed':
      return { type: 'closed', reason: event.reason.type };
    case 'zeroRttRejected':
    case 'handshakeConfirmed':
    case 'draining':
    case 'drained':
      return { type: event.type };
    default:
      return undefined;
  }
}

/** States that a connection has been in, in order. */
function lifeOf(connection: SimConnection, options: { readonly isEarly?: boolean } = {}): string[] {
  const actor = createActor(connectionMachine).start();
  const stateNow = (): string => {
    const { value } = actor.getSnapshot();
    return typeof value === 'string' ? value : Object.entries(value).flat().join('.');
  };
  const states = [stateNow()];
  let count = 0;
  const tell = (event: ConnectionLifeEvent): void => {
    count++;
    actor.send(event);
    if (states.at(-1) !== stateNow()) states.push(stateNow());
  };
  if (options.isEarly === true) tell({ type: 'earlyDataStarted' });
  for (const event of connection.events) {
    const what = told(event, connection);
    if (what !== undefined) tell(what);
  }
  // Thousands of connections: a handful of events each.
  expect(count).toBeLessThanOrEqual(7);
  expect(actor.getSnapshot().status).toBe('done');
  return states;
}

const SEED = 41;

/** A pair whose client holds a ticket. */
function visited(options: Partial<PairOptions> = {}): Pair {
  const pair = new Pair({ seed: SEED, ...options });
  const { client } = pair.connect();
  pair.runFor(500);
  client.close();
  pair.runUntil(() => pair.client.engine.connectionCount + pair.server.engine.connectionCount === 0);
  return pair;
}

describe('a connection', () => {
  test('that one side closes: the other answers, and both forget', () => {
    const pair = new Pair({ seed: SEED });
    const { client, server } = pair.connect();
    client.close();
    pair.runUntil(() => client.has('drained') && server.has('drained'));
    expect(lifeOf(client)).toEqual([
      'open.handshaking',
      'open.connected',
      'open.confirmed',
      'closedLocally.closing',
      'closedLocally.draining',
      'drained',
    ]);
    expect(lifeOf(server)).toEqual(['open.handshaking', 'open.confirmed', 'closedByPeer', 'drained']);
  });

  test('whose peer does not answer the close: drained after three PTOs', () => {
    const pair = new Pair({ seed: SEED });
    const { client } = pair.connect();
    pair.server.host.isUp = false;
    client.close();
    pair.runUntil(() => client.has('drained'));
    expect(lifeOf(client).slice(3)).toEqual(['closedLocally.closing', 'closedLocally.draining', 'drained']);
  });

  test('of which nothing is heard any more', () => {
    const pair = new Pair({ seed: SEED });
    const { client } = pair.connect();
    pair.server.host.isUp = false;
    pair.runUntil(() => client.has('drained'));
    expect(lifeOf(client).slice(1)).toEqual(['open.connected', 'open.confirmed', 'timedOut', 'drained']);
  });

  test('whose peer has lost all state', () => {
    const pair = new Pair({ seed: SEED, serverEngine: { resetKey: new Uint8Array(32).fill(7) } });
    const { client } = pair.connect();
    pair.runFor(500);
    pair.server.restart();
    client.sendNew(pair.bytes(1_000));
    pair.runUntil(() => client.has('drained'));
    expect(client.closeReason).toEqual({ type: 'reset' });
    expect(lifeOf(client).slice(1)).toEqual(['open.connected', 'open.confirmed', 'lost', 'drained']);
  });

  test('whose handshake is refused', () => {
    const pair = new Pair({ seed: SEED });
    const client = pair.dial({ alpns: [new Uint8Array([1])] });
    pair.runUntil(() => client.has('drained'));
    expect(lifeOf(client)).toEqual(['open.handshaking', 'closedByPeer', 'drained']);
  });

  test('that is given up during the handshake', () => {
    const pair = new Pair({ seed: SEED });
    const client = pair.dial();
    pair.runFor(1);
    client.close();
    pair.runUntil(() => client.has('drained'));
    expect(lifeOf(client).slice(1)).toEqual(['closedLocally.closing', 'closedLocally.draining', 'drained']);
  });

  test('with early data that is taken', () => {
    const pair = visited();
    const { engine } = pair.server;
    const accept = engine.accept.bind(engine);
    let isServerEarly = false;
    engine.accept = (incoming, now) => {
      const quic = accept(incoming, now);
      // What the actor sees when it is made.
      isServerEarly = quic.has0Rtt;
      return quic;
    };
    const client = pair.dial();
    const isEarly = client.quic.has0Rtt;
    client.sendNew(pair.bytes(100));
    const server = pair.awaitConnected(client);
    client.close();
    pair.runUntil(() => client.has('drained') && server.has('drained'));
    expect(lifeOf(server, { isEarly: isServerEarly })).toEqual([
      'open.handshaking',
      'open.early',
      'open.confirmed',
      'closedByPeer',
      'drained',
    ]);
    expect(lifeOf(client, { isEarly }).slice(1)).toEqual([
      'open.early',
      'open.connected',
      'open.confirmed',
      'closedLocally.closing',
      'closedLocally.draining',
      'drained',
    ]);
  });

  test('with early data that is refused', () => {
    const pair = visited();
    pair.server.restart();
    const client = pair.dial();
    const isEarly = client.quic.has0Rtt;
    pair.awaitConnected(client);
    pair.end();
    expect(lifeOf(client, { isEarly }).slice(1, 5)).toEqual([
      'open.early',
      'open.handshaking',
      'open.connected',
      'open.confirmed',
    ]);
  });

  test('whose endpoint ends first: nothing more is heard of it', () => {
    const actor = createActor(connectionMachine).start();
    actor.send({ type: 'connected', side: 'client' });
    actor.send({ type: 'closed', reason: 'locallyClosed' });
    actor.send({ type: 'endpointEnded' });
    expect(actor.getSnapshot()).toMatchObject({ status: 'done', value: 'dropped' });
  });
});
