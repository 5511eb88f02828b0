/**
 * Invariants of remotes (R1 to R13) under random orders of everything that can happen to them, against an engine that refuses,
 * forgets and tells things late. `REMOTE_SEED` replays one run.
 */
import { expect, test } from '@jest/globals';
import type { AddressLookup } from '../../src/address-lookup/service.ts';
import { EndpointAddr } from '../../src/base/endpoint-addr.ts';
import type { EndpointId } from '../../src/base/endpoint-id.ts';
import { AddressLookupFailed } from '../../src/base/errors.ts';
import { RelayUrl } from '../../src/base/relay-url.ts';
import { toAddr, type Addr } from '../../src/base/socket-addr.ts';
import type { TransportAddr } from '../../src/base/transport-addr.ts';
import { HOLEPUNCH_ATTEMPTS_INTERVAL_MS } from '../../src/machines/hole-punching.ts';
import {
  isAllowed,
  isSameTuple,
  type PathPolicy,
  type PathSelector,
} from '../../src/machines/path-selection.ts';
import { ACTOR_MAX_IDLE_TIMEOUT_MS } from '../../src/machines/remote.ts';
import { RemoteRig, type ScriptedConnection } from '../support/remote-rig.ts';
import { SimRng } from '../support/sim-rng.ts';

const RUNS = Number(process.env['SIM_RUNS'] ?? 60);
const STEPS = 80;
const ONLY = process.env['REMOTE_SEED'];
const URLS = ['https://one.example/', 'https://two.example/'].map((url) => RelayUrl.parse(url));
const PEER_IPS = Array.from({ length: 6 }, (_, n) => toAddr(`10.0.0.${n + 1}`, 1_000 + n));
const OUR_IPS = Array.from({ length: 3 }, (_, n) => toAddr(`192.0.2.${n + 1}`, 9));

/** What the chart calls them. */
const KINDS = { ipv4: 'direct', ipv6: 'direct', relay: 'relayed', custom: 'custom' } as const;

const throwing: PathSelector = () => {
  throw new Error('no idea');
};

const seedsOf = (runs: number): number[] =>
  ONLY === undefined ? Array.from({ length: runs }, (_, seed) => seed) : [Number(ONLY)];

/** One run, step by step. */
class Run {
  readonly rng: SimRng;
  readonly rig: RemoteRig;
  readonly resolves: { readonly isKnown: boolean; settled: number; isAborted: boolean; abort(): void }[] = [];
  readonly problems: string[] = [];
  readonly #policy: PathPolicy;
  #isAnyoneAsked = false;

  constructor(seed: number) {
    this.rng = new SimRng(seed);
    const lookups = Array.from({ length: this.rng.below(3) }, (_, n) => this.#lookup(n));
    this.#policy = this.rng.pick(['any', 'any', 'any', 'direct', 'relay']);
    this.rig = new RemoteRig({
      seed,
      lookups,
      policy: this.#policy,
      ...(this.rng.chance(0.1) && { selector: throwing }),
    });
  }

  #lookup(number: number): AddressLookup {
    return { name: `lookup ${number}`, resolve: (id) => this.#answers(id) };
  }

  /** Some, slowly, and now and then a failure. */
  async *#answers(id: EndpointId): AsyncGenerator<EndpointAddr, void, undefined> {
    const { rng, rig } = this;
    this.#isAnyoneAsked = true;
    for (let left = rng.below(3); left > 0; left--) {
      await rig.world.sleep(rng.below(12_000));
      if (rng.chance(0.2)) throw new Error('broken');
      yield new EndpointAddr(id, this.addrs());
    }
  }

  addrs(): TransportAddr[] {
    return Array.from({ length: this.rng.below(3) }, () =>
      this.rng.chance(0.3)
        ? { type: 'relay' as const, url: this.rng.pick(URLS) }
        : { type: 'ip' as const, addr: this.rng.pick([...PEER_IPS, ...OUR_IPS]) },
    );
  }

  place(): { remote: Addr; local: Addr | undefined } {
    const { rig, rng } = this;
    if (rng.chance(0.4))
      return { remote: rig.mapped.ofRelay(rng.pick(URLS), rig.id.toBytes()), local: undefined };
    if (rng.chance(0.1))
      return { remote: rig.mapped.ofCustom(1n, Uint8Array.of(rng.below(2))), local: undefined };
    return { remote: rng.pick(PEER_IPS), local: rng.pick(OUR_IPS) };
  }

  get open(): ScriptedConnection[] {
    return this.rig.connections.filter((connection) => connection.isOpen);
  }

  async #connect(): Promise<void> {
    const { rig, rng } = this;
    const { remote, local } = this.place();
    rig.onConnection = (connection) => {
      if (rng.chance(0.05)) connection.close();
      if (rng.chance(0.1)) connection.refuses = 'remoteCidsExhausted';
    };
    if (this.open.length < 4) await rig.connect(rng.chance(0.6) ? 'client' : 'server', remote, local);
  }

  #resolve(): void {
    const giveUp = new AbortController();
    const addrs = this.addrs();
    const resolve = {
      isKnown: addrs.length > 0,
      settled: 0,
      isAborted: false,
      abort: () => {
        resolve.isAborted = true;
        giveUp.abort(new Error('given up'));
      },
    };
    this.resolves.push(resolve);
    const settle = (error?: unknown): void => {
      resolve.settled++;
      if (error === undefined || error instanceof AddressLookupFailed || resolve.isAborted) return;
      this.problems.push(`R6: a resolve ended with ${(error as Error).message}`);
    };
    this.rig.map.resolve(new EndpointAddr(this.rig.id, addrs), giveUp.signal).then(() => settle(), settle);
  }

  /** Something that happens to one connection, or to all. */
  #happen(): void {
    const { rng, rig } = this;
    const connections = this.open;
    if (connections.length === 0) return;
    const connection = rng.pick(connections);
    const path = connection.paths.length === 0 ? undefined : rng.pick(connection.paths).id;
    const on = (act: (id: number) => void): void => {
      if (path !== undefined) act(path);
    };
    rng.pick<() => void>([
      () => connection.validateAll(rng.between(1, 100)),
      () => connection.validateAll(rng.between(1, 100)),
      () => on((id) => connection.validate(id, rng.between(1, 100))),
      // The peer, as client, opens one; or a probe of ours comes through.
      () => void connection.begin(this.place()),
      () => connection.validate(connection.begin(this.place()), rng.between(1, 100)),
      () => on((id) => connection.abandon(id, { type: 'timedOut' })),
      () => on((id) => connection.abandon(id, { type: 'remoteAbandoned', code: 0 })),
      () => on((id) => connection.stall(id, rng.chance(0.5))),
      () => on((id) => connection.move(id, this.place())),
      () => on((id) => connection.setRtt(id, rng.between(1, 100))),
      () => connection.offer(rng.pick(PEER_IPS)),
      () => connection.withdraw(rng.pick(PEER_IPS)),
      () => (connection.refuses = rng.pick([undefined, 'remoteCidsExhausted', 'maxPathIdReached'])),
      () => (connection.refusesRound = rng.pick([undefined, undefined, 'notEnoughAddresses'])),
      () => connection.close(),
      () => rig.map.networkChanged(rng.chance(0.5)),
      () => rig.setDirect(...OUR_IPS.filter(() => rng.chance(0.5))),
    ])();
  }

  /** Tells connections some of what happened, in any order, in one burst. */
  #tell(): void {
    const { rng } = this;
    for (const connection of this.rig.connections) {
      // So much that some of it is dropped.
      if (rng.chance(0.05))
        for (let each = 0; each < 40; each++)
          for (const { id } of connection.paths.slice(0, 1)) connection.stall(id, each % 2 === 0);
      while (connection.pending.length > 0 && rng.chance(0.9))
        connection.tell(rng.chance(0.8) ? 0 : rng.below(connection.pending.length));
    }
  }

  /** What holds after every step. */
  #check(when: string): void {
    const { rig, problems } = this;
    const owned = this.rig.connections.filter(({ hasEventsEnded }) => !hasEventsEnded);
    const tuples = owned.flatMap(({ actor }) => [...actor.paths.open.values()]);
    const [target] = rig.targets;
    const isSelected = rig.selected !== undefined && rig.selected !== 'none' && rig.map.size > 0;
    if (isSelected && !tuples.some(({ remote }) => remote === target))
      problems.push(`R1 ${when}: ${rig.selected} by ${target?.text}, which is open nowhere`);
    const kind = target === undefined ? 'none' : KINDS[rig.mapped.kindOf(target)];
    if (isSelected && rig.selected !== kind)
      problems.push(`R1 ${when}: the chart says ${rig.selected}, it is ${kind}`);
    for (const connection of owned) {
      const { open, selected } = connection.actor.paths;
      if (selected !== undefined && !open.has(selected)) problems.push(`R1 ${when}: selected path is gone`);
      const available = connection.paths.filter(
        ({ id, status, remote, local }) =>
          status === 'available' &&
          open.get(id) !== undefined &&
          isSameTuple(open.get(id)!, { remote, local }),
      );
      if (isSelected && available.length > 1)
        problems.push(`R2 ${when}: ${available.length} paths are available`);
      if (connection.side === 'server' && connection.calls.some((call) => /open|close/.test(call)))
        problems.push(`R3 ${when}: a server ${connection.calls.join(', ')}`);
      if (connection.isOpen && rig.map.size === 0) problems.push(`R9 ${when}: a connection has no remote`);
    }
    for (const { settled } of this.resolves) if (settled > 1) problems.push(`R6 ${when}: answered twice`);
  }

  async #checkResolves(when: string): Promise<void> {
    const pending = this.resolves.filter(({ settled }) => settled === 0);
    if (pending.length === 0) return;
    const known = (await this.rig.map.info(this.rig.id))?.addrs.length ?? 0;
    if (known > 0 && pending.some(({ settled }) => settled === 0))
      this.problems.push(`R5 ${when}: ${pending.length} wait though ${known} addresses are known`);
  }

  #checkRounds(): void {
    const rounds = this.rig.connections.flatMap(({ rounds }) => rounds).sort((a, b) => a.at - b.at);
    for (const [index, round] of rounds.entries()) {
      const before = rounds[index - 1];
      if (before === undefined || round.at - before.at >= HOLEPUNCH_ATTEMPTS_INTERVAL_MS) continue;
      const isNew =
        round.local.some((addr) => !before.local.includes(addr)) ||
        round.remote.some((addr) => !before.remote.includes(addr));
      if (!isNew) this.problems.push(`R7: rounds at ${before.at} and ${round.at} with the same candidates`);
    }
  }

  /** Everything that can be told is told, until nothing follows. */
  async #quiesce(): Promise<void> {
    for (const connection of this.rig.connections) connection.refuses = undefined;
    for (let round = 0; round < 8; round++) {
      for (const connection of this.open) connection.validateAll();
      for (const connection of this.rig.connections) connection.tellAll();
      await this.rig.run(round < 2 ? 1_000 : 0);
    }
  }

  #checkQuiet(): void {
    const { rig, problems } = this;
    for (const connection of this.open) {
      const { open, selected } = connection.actor.paths;
      const engine = new Map(
        connection.paths.filter(({ validated }) => validated).map((info) => [info.id, info]),
      );
      if ([...open.keys()].sort().join() !== [...engine.keys()].sort().join())
        problems.push(`open are ${[...engine.keys()].join()}, registered ${[...open.keys()].join()}`);
      for (const path of open.values())
        if ((path.state === 'stalled') !== engine.get(path.id)?.stalled)
          problems.push(`path ${path.id} is ${path.state}, and the engine says otherwise`);
      const isDirect = selected !== undefined && rig.mapped.lookup(open.get(selected)!.remote) === undefined;
      const direct = [...open.values()].filter(({ remote }) => rig.mapped.lookup(remote) === undefined);
      if (connection.side === 'client' && isDirect && direct.length !== 1)
        problems.push(`R11: ${direct.length} direct paths of a client`);
      const usable = [...open.values()].filter(({ remote }) =>
        isAllowed(this.#policy, rig.mapped.kindOf(remote)),
      );
      if (usable.length > 0 && rig.selected === 'none')
        problems.push('R1: paths are open, and none is selected');
    }
  }

  #checkStories(): void {
    for (const { events, hasEventsEnded } of this.rig.connections) {
      const lives = new Map<number, 'open' | 'closed'>();
      for (const event of events) {
        if (event.type === 'lagged') continue;
        const { id, type } = event;
        if (type === 'opened' && lives.has(id)) this.problems.push(`P1: path ${id} opened twice`);
        if (type !== 'opened' && lives.get(id) !== 'open')
          this.problems.push(`P1, P2: ${type} of path ${id}`);
        lives.set(id, type === 'closed' ? 'closed' : 'open');
      }
      if (!hasEventsEnded) this.problems.push('R12: a story did not end');
      if ([...lives.values()].includes('open')) this.problems.push('P2, R12: not closed once each');
      // No event of the engine announces the path of the handshake.
      const [first] = events;
      if (events.length > 0 && !(first?.type === 'opened' && first.id === 0))
        this.problems.push('P4: path 0');
    }
  }

  async #finish(): Promise<void> {
    const { rig } = this;
    for (const resolve of this.resolves) if (this.rng.chance(0.5)) resolve.abort();
    for (const connection of rig.connections) {
      connection.close();
      connection.tellAll();
      connection.actor.onEvent({ type: 'drained' });
    }
    await rig.run(2 * ACTOR_MAX_IDLE_TIMEOUT_MS + 30_000);
    this.#checkStories();
    const pending = this.resolves.filter(({ settled }) => settled !== 1).length;
    const left = {
      pending,
      remotes: rig.map.size,
      actors: [...rig.system.running],
      errors: rig.errors,
      timers: rig.world.clock.pendingTimers,
    };
    expect(left).toEqual({ pending: 0, remotes: 0, actors: [], errors: [], timers: 0 });
  }

  async run(): Promise<boolean> {
    const { rng, rig } = this;
    for (let step = 0; step < STEPS; step++) {
      const dice = rng.float();
      if (dice < 0.08) await this.#connect();
      else if (dice < 0.16) this.#resolve();
      else if (dice < 0.2) this.rng.pick([...this.resolves, undefined])?.abort();
      else for (let times = rng.between(1, 4); times > 0; times--) this.#happen();
      if (rng.chance(0.6)) this.#tell();
      await rig.run(rng.chance(0.9) ? rng.pick([0, 0, 1, 10, 333, 1_000]) : rng.pick([5_000, 61_000]));
      this.#check(`step ${step}`);
      await this.#checkResolves(`step ${step}`);
    }
    await this.#quiesce();
    this.#check('at rest');
    this.#checkQuiet();
    this.#checkRounds();
    await this.#finish();
    expect(this.problems).toEqual([]);
    return this.#isAnyoneAsked;
  }
}

test(`model-2 inv-P1, inv-P2, inv-P4, inv-R1, inv-R2, inv-R3, inv-R5, inv-R6, inv-R7, inv-R9, inv-R11, inv-R12: ${RUNS} random runs`, async () => {
  let asked = 0;
  for (const seed of seedsOf(RUNS)) {
    try {
      if (await new Run(seed).run()) asked++;
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
  expect(asked).toBeGreaterThan(0);
});
