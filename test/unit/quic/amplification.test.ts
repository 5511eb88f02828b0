/** A server answers an address that nobody has proven with at most three times what came from there (RFC 9000 §8.1). */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toAddr, type Addr } from '../../../src/base/socket-addr.ts';
import { ANTI_AMPLIFICATION_FACTOR } from '../../../src/quic/paths/path.ts';
import { Pair, type PairOptions } from '../../support/pair.ts';

/** Counts what a pair's server receives from, and sends to, each address. */
class Ledger {
  readonly #received = new Map<Addr, number>();
  readonly #sent = new Map<Addr, number>();

  constructor(pair: Pair) {
    pair.server.host.down.onPass = ({ from, data }) => this.#add(this.#received, from, data.length);
    pair.server.host.up.onPass = ({ to, data }) => this.#add(this.#sent, to, data.length);
  }

  #add(book: Map<Addr, number>, addr: Addr, bytes: number): void {
    book.set(addr, (book.get(addr) ?? 0) + bytes);
  }

  received(addr: Addr): number {
    return this.#received.get(addr) ?? 0;
  }

  sent(addr: Addr): number {
    return this.#sent.get(addr) ?? 0;
  }

  /** Addresses that got more than they may. */
  violations(): string[] {
    return [...this.#sent]
      .filter(([addr, bytes]) => bytes > this.received(addr) * ANTI_AMPLIFICATION_FACTOR)
      .map(([addr, bytes]) => `${addr.text}: ${bytes} for ${this.received(addr)}`);
  }
}

const seeds = fc.integer({ min: 1, max: 2 ** 31 });

/** A pair whose client hears nothing, and whose first flights arrive with trailing bytes and now and then not at all. */
function deafClient(seed: number, options: Partial<PairOptions> = {}): { pair: Pair; ledger: Ledger } {
  const resize = () => ({
    process(
      datagram: { from: Addr; to: Addr; data: Uint8Array },
      _now: number,
      forward: (datagram: { from: Addr; to: Addr; data: Uint8Array }, delayMs: number) => void,
    ): void {
      if (pair.rng.chance(0.2)) return;
      const longer = new Uint8Array(datagram.data.length + pair.rng.below(300));
      longer.set(datagram.data);
      forward({ ...datagram, data: longer }, 0);
    },
  });
  const pair: Pair = new Pair({ seed, toServer: [resize], ...options });
  pair.client.host.down.isUp = false;
  return { pair, ledger: new Ledger(pair) };
}

describe('before the handshake proves the address', () => {
  test.each(['accept', 'retry', 'refuse', 'ignore'] as const)('policy %s', (policy) => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const { pair, ledger } = deafClient(seed);
        pair.server.onIncoming = policy;
        pair.dial();
        pair.runFor(25_000);
        expect(ledger.violations()).toEqual([]);
        expect(ledger.received(pair.client.addr)).toBeGreaterThan(0);
      }),
      { numRuns: 25 },
    );
  });

  test('a server that writes before the handshake is over is bound too', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const { pair, ledger } = deafClient(seed);
        pair.dial();
        pair.runUntil(() => pair.server.connections.length === 1 || pair.now > 20_000);
        const server = pair.server.connections[0];
        server?.openSoon('uni', (id) => server.send(id, pair.bytes(200_000)));
        pair.runFor(10_000);
        server?.close(1n, pair.bytes(800));
        pair.runFor(10_000);
        expect(ledger.violations()).toEqual([]);
      }),
      { numRuns: 20 },
    );
  });

  test('junk of any size and shape from any address', () => {
    fc.assert(
      fc.property(
        seeds,
        fc.array(fc.tuple(fc.integer({ min: 0, max: 1_500 }), fc.integer({ min: 0, max: 255 }), fc.nat(3)), {
          maxLength: 60,
        }),
        (seed, datagrams) => {
          const pair = new Pair({ seed });
          const ledger = new Ledger(pair);
          for (const [size, first, port] of datagrams) {
            const data = pair.bytes(size);
            if (size > 0) data[0] = first;
            // Half of them speak version 1, with connection ids of legal lengths.
            if (size > 40 && pair.rng.chance(0.5)) data.set([0, 0, 0, 1, 8], 1);
            pair.network.route({ from: toAddr('192.0.2.5', 1_000 + port), to: pair.server.addr, data });
            pair.runFor(pair.rng.below(30));
          }
          expect(ledger.violations()).toEqual([]);
          expect(pair.server.engine.connectionCount).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('after a move', () => {
  test('data to the new address waits for its proof', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 200_000 }), (seed, bytes) => {
        const pair = new Pair({ seed, clientNat: 'moderate' });
        const { client, server } = pair.connect();
        pair.runFor(500);
        const before = server.quic.paths()[0]!.remote;
        const ledger = new Ledger(pair);
        pair.rebindClient();
        // The client hears nothing from now on, so it proves nothing; its own packets say that it moved.
        pair.client.host.down.isUp = false;
        client.sendNew(pair.bytes(pair.rng.below(300)));
        server.sendNew(pair.bytes(bytes));
        pair.runFor(8_000);
        const moved = server.all('pathMigrated').at(-1)!.to.remote;
        expect(moved).not.toBe(before);
        expect(ledger.received(moved)).toBeGreaterThan(0);
        expect(ledger.sent(moved)).toBeLessThanOrEqual(ledger.received(moved) * ANTI_AMPLIFICATION_FACTOR);
      }),
      { numRuns: 20 },
    );
  });

  test('a small first packet from the new address is enough to prove it', () => {
    const pair = new Pair({ seed: 7, clientNat: 'moderate' });
    const both = pair.connect();
    pair.runFor(500);
    pair.rebindClient();
    const data = pair.bytes(100_000);
    const id = both.server.sendNew(data);
    both.client.quic.pingPath(0);
    pair.runUntil(
      () => both.server.quic.paths()[0]!.remote !== pair.client.addr && both.server.has('pathMigrated'),
    );
    pair.awaitStream(both.server, both.client, id, data, 5_000);
    pair.end();
  });
});

test('answers off the path are bound by the challenges that they answer', () => {
  const pair = new Pair({ seed: 8 });
  const { client, server } = pair.connect();
  pair.runFor(500);
  server.quic.addNatAddress(pair.server.addr);
  pair.runUntil(() => client.quic.remoteNatAddresses().length === 1);
  const ledger = new Ledger(pair);
  const other = toAddr('192.0.2.9', 99);
  client.quic.addNatAddress(pair.client.addr);
  pair.client.host.up.dropIf = (datagram) => {
    // As an attacker on the way would do it: same packet, another source.
    if (datagram.data.length >= 60) return false;
    pair.network.route({ ...datagram, from: other });
    return true;
  };
  client.quic.initiateNatRound(pair.now);
  pair.runFor(100);
  expect(ledger.sent(other)).toBeGreaterThan(0);
  expect(ledger.sent(other)).toBeLessThanOrEqual(ledger.received(other) * ANTI_AMPLIFICATION_FACTOR);
});
