/** Hostile input: nothing of it throws, hurts another connection, or is remembered beyond a stated limit. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toAddr, type Addr } from '../../../src/base/socket-addr.ts';
import { KEPT_DATAGRAM_BYTES } from '../../../src/quic/incoming.ts';
import { MAX_UNDECRYPTABLE } from '../../../src/quic/packet-reader.ts';
import { MAX_STATELESS_TRANSMITS } from '../../../src/quic/stateless.ts';
import { Tamperer } from '../../fuzz/tampering.ts';
import { Pair } from '../../support/pair.ts';
import type { LinkPart } from '../../support/sim-network.ts';

const ATTACKER = toAddr('192.0.2.66', 666);
const seeds = fc.integer({ min: 1, max: 2 ** 31 });

interface Flying {
  readonly from: Addr;
  readonly to: Addr;
  readonly data: Uint8Array;
}

/** What somebody on the way, or elsewhere, makes of a datagram that he saw. */
function mangle(pair: Pair, { data }: Flying): Uint8Array {
  const { rng } = pair;
  const copy = data.slice();
  switch (rng.below(6)) {
    case 0:
      return copy; // replayed
    case 1:
      return copy.subarray(0, rng.below(copy.length)); // truncated
    case 2: {
      for (let flips = rng.between(1, 20); flips > 0; flips--) {
        const at = rng.below(copy.length);
        copy[at] = copy[at]! ^ (1 << rng.below(8));
      }
      return copy; // forged
    }
    case 3: {
      copy.fill(rng.below(256), rng.below(copy.length));
      return copy;
    }
    case 4:
      return Uint8Array.from([...copy, ...copy]); // two in one
    default:
      copy.set(pair.bytes(Math.min(30, copy.length)), 0);
      return copy; // another header
  }
}

describe('packets that are replayed, truncated, forged, merged, from anywhere', () => {
  test('neither side minds, and a second connection does not notice', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const pair = new Pair({ seed });
        const bystander = pair.connect();
        const seen: Flying[] = [];
        const attack = (flying: Flying): void => {
          if (seen.length < 200) seen.push(flying);
          if (!pair.rng.chance(0.5)) return;
          const victim = pair.rng.pick(seen);
          const from = pair.rng.chance(0.5) ? victim.from : ATTACKER;
          const data = mangle(pair, victim);
          // Behind the original: who is faster than the client can keep it from connecting (RFC 9000 §21.1.3.1).
          const copy = { from, to: victim.to, data };
          if (data.length > 0) pair.clock.setTimeout(() => pair.network.route(copy), pair.rng.between(1, 20));
        };
        pair.server.host.down.onPass = attack;
        pair.client.host.down.onPass = attack;
        const client = pair.dial();
        const server = pair.awaitConnected(client);
        pair.transfer(client, server, 30_000);
        pair.transfer(server, client, 30_000);
        pair.server.host.down.onPass = undefined;
        pair.client.host.down.onPass = undefined;
        pair.transfer(bystander.client, bystander.server, 10_000);
        pair.requireOpen(client, server, bystander.client, bystander.server);
        // Attempts that the attacker's copies of Initials started end by themselves.
        pair.end();
      }),
      { numRuns: 15 },
    );
  });

  test('any bytes with the connection id of a live connection', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const pair = new Pair({ seed });
        const { client, server } = pair.connect();
        let header: Uint8Array | undefined;
        pair.server.host.down.onPass = ({ data }) => (header = data.slice(0, 9));
        pair.transfer(client, server, 1_000);
        for (let i = 0; i < 100; i++) {
          const data = pair.bytes(pair.rng.between(21, 1_400));
          data.set(header!, 0);
          data[0] = 0x40 | pair.rng.below(64);
          pair.network.route({ from: pair.client.addr, to: pair.server.addr, data });
        }
        const dropped = server.quic.stats().droppedPackets;
        pair.transfer(client, server, 5_000);
        expect(server.quic.stats().droppedPackets).toBeGreaterThanOrEqual(dropped + 100);
        pair.end();
      }),
      { numRuns: 8 },
    );
  });

  test('packets of one connection with the id of another', () => {
    const pair = new Pair({ seed: 3 });
    const a = pair.connect();
    const b = pair.connect();
    const headers: Uint8Array[] = [];
    pair.server.host.down.onPass = ({ data }) => headers.push(data.slice());
    pair.transfer(a.client, a.server, 500);
    const ofA = headers.splice(0);
    pair.transfer(b.client, b.server, 500);
    const ofB = headers.splice(0);
    for (const one of ofA) {
      for (const two of ofB) {
        const mixed = one.slice();
        mixed.set(two.subarray(1, 9), 1);
        pair.network.route({ from: pair.client.addr, to: pair.server.addr, data: mixed });
      }
    }
    pair.transfer(a.client, a.server, 5_000);
    pair.transfer(b.client, b.server, 5_000);
    pair.end();
  });
});

describe('limits of what is remembered', () => {
  test('undecided attempts, and bytes kept for each and all of them', () => {
    const limits = { maxIncoming: 5, maxIncomingBufferBytes: 6_000, maxIncomingTotalBytes: 16_000 };
    const pair = new Pair({ seed: 4, serverEngine: limits });
    pair.server.onIncoming = 'hold';
    const flights: Flying[] = [];
    pair.server.host.down.onPass = (flying) => flights.push(flying);
    for (let i = 0; i < 20; i++) pair.dial();
    pair.runFor(200);
    expect(pair.server.engine.tableSizes['pendingIncomings']).toBe(5);
    for (let i = 0; i < 50; i++) for (const flight of flights.slice(0, 20)) pair.network.route(flight);
    pair.drive();
    expect(pair.server.engine.tableSizes['pendingIncomings']).toBe(5);
    expect(pair.server.engine.tableSizes['pendingBytes']).toBeLessThanOrEqual(limits.maxIncomingTotalBytes);
    expect(pair.server.engine.tableSizes['pendingBytes']).toBeGreaterThan(5 * (1_200 + KEPT_DATAGRAM_BYTES));
    // Once they are decided, there is room again, and nothing is left of them.
    for (const incoming of pair.server.incomings.splice(0)) pair.server.engine.ignore(incoming);
    expect(pair.server.engine.tableSizes).toMatchObject({ pendingIncomings: 0, pendingBytes: 0 });
    pair.server.onIncoming = 'accept';
    pair.runUntil(() => pair.client.connections.some((each) => each.has('handshakeConfirmed')));
    pair.end();
  });

  test('packets that cannot be opened yet', () => {
    const pair = new Pair({ seed: 5 });
    const client = pair.dial();
    pair.runFor(5);
    const before = client.quic.stats().droppedPackets;
    let local: Uint8Array | undefined;
    pair.server.host.down.onPass = ({ data }) => (local ??= data.slice(7 + 20, 7 + 20 + 8));
    pair.runFor(6);
    for (let i = 0; i < 3 * MAX_UNDECRYPTABLE; i++) {
      const data = pair.bytes(100);
      data[0] = 0x40;
      data.set(local!, 1);
      pair.client.engine.handleDatagrams(
        [{ from: pair.server.addr, local: pair.client.addr, data }],
        pair.now,
      );
    }
    expect(client.quic.stats().droppedPackets - before).toBe(2 * MAX_UNDECRYPTABLE);
    pair.awaitConnected(client);
    pair.end();
  });

  test('answers without a connection', () => {
    const pair = new Pair({ seed: 6 });
    const version = Uint8Array.of(0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8);
    for (let i = 0; i < 2 * MAX_STATELESS_TRANSMITS; i++) {
      const data = pair.bytes(1_200);
      data.set(version, 0);
      data[14] = 8;
      pair.server.engine.handleDatagrams([{ from: ATTACKER, local: pair.server.addr, data }], pair.now);
    }
    const out: Parameters<typeof pair.server.engine.pollTransmits>[0] = [];
    expect(pair.server.engine.pollTransmits(out, 10_000, pair.now)).toBe(MAX_STATELESS_TRANSMITS);
  });

  test('challenges: a flood of them is answered once per address and packet, and keeps nothing', () => {
    const pair = new Pair({ seed: 7 });
    const { client, server } = pair.connect();
    pair.runFor(500);
    // A whole flight of pings from ever new addresses: each looks like a move.
    let port = 1_000;
    pair.client.host.up.dropIf = (datagram) => {
      pair.network.route({ ...datagram, from: toAddr('192.0.2.77', port++ % 60_000) });
      return true;
    };
    for (let i = 0; i < 300; i++) {
      client.quic.pingPath(0);
      pair.runFor(2);
    }
    expect(server.quic.paths().length).toBe(1);
    pair.client.host.up.dropIf = undefined;
    client.quic.pingPath(0);
    pair.transfer(client, server, 5_000);
    pair.end();
  });
});

test('datagrams of every small size leave nothing behind', () => {
  const pair = new Pair({ seed: 9 });
  for (let size = 0; size < 60; size++) {
    pair.server.engine.handleDatagrams(
      [{ from: ATTACKER, local: pair.server.addr, data: pair.bytes(size) }],
      0,
    );
  }
  expect(pair.server.engine.tableSizes).toMatchObject({ connections: 0, cids: 0, pendingIncomings: 0 });
});

describe('frames behind the one that ends the handshake', () => {
  test('a Finished that comes twice in a packet is ignored', () => {
    const tamperer = new Tamperer();
    let repeated = 0;
    const repeat: LinkPart = () => ({
      process(datagram, _now, forward) {
        tamperer.learnInitial(datagram.data);
        const data = tamperer.repeatFrames('client', datagram.data, 'handshake');
        if (data.length > datagram.data.length) repeated++;
        forward({ ...datagram, data: data.length > 0 ? data : datagram.data }, 0);
      },
    });
    const pair = new Pair({
      seed: 1,
      toServer: [repeat],
      clientTls: { suites: ['TLS_AES_128_GCM_SHA256'], keyLog: tamperer.keyLog },
    });
    const { client, server } = pair.connect();
    expect(repeated).toBeGreaterThan(0);
    pair.transfer(client, server, 1_000);
    pair.end();
  });
});
