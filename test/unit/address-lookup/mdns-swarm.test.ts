/** Nodes of a local network in virtual time. Bounds are those of swarm-discovery's README for τ = 0.7 s, φ = 2.5/s. */
import { describe, expect, test } from '@jest/globals';
import {
  decodeMdnsMessage,
  encodeMdnsAnswer,
  encodeMdnsQuery,
  serviceDomain,
} from '../../../src/address-lookup/mdns-message.ts';
import {
  CADENCE_MS,
  ENOUGH_ANSWERS,
  EXPIRY_CHECK_INTERVAL_MS,
  MAX_MDNS_PEERS,
  MAX_NEW_IDS_PER_SECOND,
  RESPONSE_DELAY_MS,
  Swarm,
  type SwarmOutput,
} from '../../../src/address-lookup/mdns-swarm.ts';
import { fromHex, utf8 } from '../../../src/base/bytes.ts';
import { EndpointAddr } from '../../../src/base/endpoint-addr.ts';
import { EndpointId } from '../../../src/base/endpoint-id.ts';
import { toAddr } from '../../../src/base/socket-addr.ts';
import { ed25519PublicKey } from '../../../src/crypto/signature.ts';
import { SimClock } from '../../support/sim-clock.ts';
import { SimRng } from '../../support/sim-rng.ts';

const SERVICE = 'irohv1';
const DOMAIN = serviceDomain(SERVICE);
/** Another one finds other things; a failure prints it. */
const SEED = Number(process.env['MDNS_SEED'] ?? 1);
/** One way on the link, ms. */
const DELAY_MS = 2;

const idOf = (index: number): EndpointId =>
  EndpointId.fromVerified(ed25519PublicKey(utf8(`mdns node ${index}`.padEnd(32))));
const addrOf = (index: number, port = 4_433): EndpointAddr =>
  new EndpointAddr(idOf(index), [{ type: 'ip', addr: toAddr(`10.0.${index >> 8}.${index & 255}`, port) }]);
const answerOf = (index: number, port?: number): Uint8Array =>
  encodeMdnsAnswer(DOMAIN, { addr: addrOf(index, port) })!;
const QUERY = encodeMdnsQuery(DOMAIN);

interface Sent {
  readonly at: number;
  readonly type: 'query' | 'answer';
  readonly from: number;
}

/** A node with a timer. */
class Node {
  readonly swarm: Swarm;
  readonly index: number;
  /** Everything that it told. */
  readonly told: { readonly at: number; readonly type: 'discovered' | 'expired'; readonly id: string }[] = [];
  readonly #link: Link;
  #timer: unknown;
  isOn = true;

  constructor(link: Link, index: number, isHeard: boolean) {
    this.#link = link;
    this.index = index;
    this.swarm = new Swarm({ serviceName: SERVICE, rng: link.rng.fork() });
    this.swarm.setSelf(idOf(index), isHeard ? { addr: addrOf(index) } : undefined);
    this.swarm.begin(link.clock.now());
    this.#schedule();
  }

  receive(data: Uint8Array): void {
    if (this.isOn) this.#do(this.swarm.receive(data, 4, this.#link.clock.now()));
  }

  #do(outputs: readonly SwarmOutput[]): void {
    const at = this.#link.clock.now();
    for (const output of outputs) {
      if (output.type === 'send') this.#link.send(this, output.data);
      else {
        const id = output.type === 'discovered' ? output.info.addr.id : output.id;
        this.told.push({ at, type: output.type, id: id.toString() });
      }
    }
    this.#schedule();
  }

  #schedule(): void {
    const { clock } = this.#link;
    clock.clearTimeout(this.#timer);
    if (this.isOn)
      this.#timer = clock.setTimeout(
        () => this.#do(this.swarm.advance(clock.now())),
        this.swarm.deadline - clock.now(),
      );
  }

  off(): void {
    this.isOn = false;
    this.#link.clock.clearTimeout(this.#timer);
  }

  /** Ids of those that it knows. */
  get known(): Set<string> {
    return new Set(this.swarm.peers.map(({ addr }) => addr.id.toString()));
  }
}

/** Everybody hears everybody. */
class Link {
  readonly clock = new SimClock();
  readonly rng = new SimRng(SEED);
  readonly nodes: Node[] = [];
  readonly sent: Sent[] = [];

  add(count: number, isHeard = true): Node[] {
    const added = Array.from({ length: count }, () => {
      const node = new Node(this, this.nodes.length, isHeard);
      this.nodes.push(node);
      return node;
    });
    return added;
  }

  send(from: Node, data: Uint8Array): void {
    const { type } = decodeMdnsMessage(DOMAIN, data);
    this.sent.push({ at: this.clock.now(), type, from: from.index });
    for (const node of this.nodes)
      this.clock.setTimeout(() => node.receive(data), node === from ? 0 : DELAY_MS);
  }

  run(ms: number): void {
    this.clock.advanceTo(this.clock.now() + ms);
  }

  /** Time until it is so, ms. */
  until(isSo: () => boolean, limitMs: number): number {
    const start = this.clock.now();
    while (!isSo()) {
      if (this.clock.now() - start > limitMs) throw new Error(`seed ${SEED}: not so after ${limitMs} ms`);
      this.run(10);
    }
    return this.clock.now() - start;
  }

  /** Messages of a kind in a second, since `since`. */
  rate(type: Sent['type'], since: number): number {
    const count = this.sent.filter((each) => each.type === type && each.at >= since).length;
    return (count * 1_000) / (this.clock.now() - since);
  }

  everybodyKnowsAll(): boolean {
    return this.nodes.every((node) => node.known.size === this.nodes.length - 1);
  }
}

describe(`the cadence, seed ${SEED}`, () => {
  test('one node: asks every 0.7 to 0.85 s, and answers itself; nobody else is there', () => {
    const link = new Link();
    const [node] = link.add(1);
    link.run(60_000);
    const asked = link.sent.filter(({ type }) => type === 'query');
    const gaps = asked.slice(1).map(({ at }, i) => at - asked[i]!.at);
    expect(asked[0]!.at).toBeGreaterThanOrEqual(CADENCE_MS);
    expect(asked[0]!.at).toBeLessThan(1.1 * CADENCE_MS);
    // Up to 50 ms to answer, then 700 to 770.
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(CADENCE_MS);
    expect(Math.max(...gaps)).toBeLessThan(1.1 * CADENCE_MS + RESPONSE_DELAY_MS / ENOUGH_ANSWERS);
    expect(link.rate('answer', 0)).toBeCloseTo(link.rate('query', 0), 1);
    expect([node!.told, node!.known.size]).toEqual([[], 0]);
  });

  test.each([
    // How long until everybody knows everybody, ms: two answers in each of the rounds; the last ones of many take luck.
    [2, 3_000],
    [5, 8_000],
    [50, 150_000],
  ])('%i nodes: all are found, and the traffic is that of a few', (count, limitMs) => {
    const link = new Link();
    link.add(count);
    link.until(() => link.everybodyKnowsAll(), limitMs);
    const since = link.clock.now();
    link.run(100_000);
    // At most one question in τ, and at most φ answers in a second, but for those that cross.
    expect(link.rate('query', since)).toBeLessThan(1_000 / CADENCE_MS);
    expect(link.rate('answer', since)).toBeLessThan(1.2 * 2.5);
    expect(link.rate('answer', since)).toBeGreaterThan(1.5);
    // Everybody has its turn.
    const senders = new Set(
      link.sent.filter(({ at, type }) => at > since && type === 'answer').map(({ from }) => from),
    );
    expect(senders.size).toBe(count);
    // Nobody who is there is missed by many.
    const known = link.nodes.reduce((sum, node) => sum + node.known.size, 0);
    expect(known).toBeGreaterThan(0.95 * count * (count - 1));
  });

  test('a newcomer among 50 is known to all, and knows somebody, after a few rounds', () => {
    const link = new Link();
    link.add(50);
    link.run(120_000);
    const [newcomer] = link.add(1);
    const knowsSomebody = link.until(() => newcomer!.known.size > 0, 5_000);
    const id = idOf(newcomer!.index).toString();
    link.until(() => link.nodes.every((node) => node === newcomer || node.known.has(id)), 20_000);
    expect(knowsSomebody).toBeLessThan(1.2 * CADENCE_MS + RESPONSE_DELAY_MS * 2);
  });

  test('who only listens finds, and is not found', () => {
    const link = new Link();
    const [heard] = link.add(1);
    const [listener] = link.add(1, false);
    link.run(10_000);
    expect([heard!.known.size, listener!.known.size]).toEqual([0, 1]);
    expect(link.sent.some(({ from, type }) => from === listener!.index && type === 'answer')).toBe(false);
  });

  test('who has gone is missed after three turns: of two nodes after 2.1 s', () => {
    const link = new Link();
    const [one, other] = link.add(2);
    link.run(10_000);
    expect(one!.told.map(({ type }) => type)).toEqual(['discovered']);
    other!.off();
    const lastHeard = link.sent
      .filter(({ from, type }) => from === other!.index && type === 'answer')
      .at(-1)!.at;
    link.run(5_000);
    expect(one!.told.map(({ type }) => type)).toEqual(['discovered', 'expired']);
    const missedAfter = one!.told[1]!.at - lastHeard;
    expect(missedAfter).toBeGreaterThanOrEqual(3 * CADENCE_MS);
    expect(missedAfter).toBeLessThan(3 * CADENCE_MS + EXPIRY_CHECK_INTERVAL_MS + DELAY_MS);
    expect(one!.known.size).toBe(0);
  });

  test('who comes back is found again', () => {
    const link = new Link();
    const [one, other] = link.add(2);
    link.run(5_000);
    other!.off();
    link.run(5_000);
    other!.isOn = true;
    other!.receive(QUERY);
    link.run(5_000);
    expect(one!.told.map(({ type }) => type)).toEqual(['discovered', 'expired', 'discovered']);
  });
});

/** A node of its own, moved by hand. */
function alone(): { swarm: Swarm; begin: number } {
  const swarm = new Swarm({ serviceName: SERVICE, rng: new SimRng(SEED) });
  swarm.setSelf(idOf(0), { addr: addrOf(0) });
  swarm.begin(1_000);
  return { swarm, begin: 1_000 };
}

/** Goes on to its next deadline of asking or answering. */
function next(swarm: Swarm): { readonly at: number; readonly sent: SwarmOutput[] } {
  for (;;) {
    const at = swarm.deadline;
    const sent = swarm.advance(at).filter(({ type }) => type === 'send');
    if (sent.length > 0) return { at, sent };
  }
}

describe('rounds', () => {
  test('a question from somebody else is answered in its family, and saves ours', () => {
    const { swarm, begin } = alone();
    expect(swarm.receive(QUERY, 6, begin + 10)).toEqual([]);
    const { at, sent } = next(swarm);
    expect(sent).toEqual([{ type: 'send', family: 6, data: answerOf(0) }]);
    expect(at).toBeLessThanOrEqual(begin + 10 + RESPONSE_DELAY_MS / ENOUGH_ANSWERS);
    expect(next(swarm)).toMatchObject({ sent: [{ family: 'any', data: QUERY }] });
    expect(swarm.deadline).toBeGreaterThan(at + CADENCE_MS);
    // To our own question everybody answers where it came from.
    expect(next(swarm)).toMatchObject({ sent: [{ family: 'any', data: answerOf(0) }] });
  });

  test('enough answers of others save ours; one is not enough', () => {
    const { swarm, begin } = alone();
    swarm.receive(QUERY, 4, begin);
    swarm.receive(answerOf(1), 4, begin);
    swarm.receive(answerOf(2), 4, begin);
    expect(next(swarm)).toMatchObject({ sent: [{ data: QUERY }] });
    swarm.receive(answerOf(1), 4, swarm.deadline - 1);
    expect(next(swarm)).toMatchObject({ sent: [{ data: answerOf(0) }] });
  });

  test('who has just answered lets others go first', () => {
    const { swarm, begin } = alone();
    for (let i = 1; i < 20; i++) swarm.receive(answerOf(i), 4, begin);
    swarm.receive(QUERY, 4, begin);
    const first = next(swarm).at;
    swarm.receive(QUERY, 4, first);
    const second = next(swarm).at;
    // Of 19 peers: 900 ms more.
    expect(first - begin).toBeLessThan((RESPONSE_DELAY_MS * 19) / ENOUGH_ANSWERS);
    expect(second - first).toBeGreaterThanOrEqual(RESPONSE_DELAY_MS * 9);
  });

  test('nothing is answered before there is something to say, and what is said follows', () => {
    const { swarm } = alone();
    swarm.setSelf(idOf(0), undefined);
    swarm.receive(QUERY, 4, 1_000);
    expect(next(swarm)).toMatchObject({ sent: [{ data: QUERY }] });
    swarm.setSelf(idOf(0), { addr: addrOf(0, 7) });
    expect(next(swarm)).toMatchObject({ sent: [{ data: answerOf(0, 7) }] });
  });

  test('a long sleep is one step, not many', () => {
    const { swarm } = alone();
    swarm.receive(answerOf(1), 4, 1_000);
    const outputs = swarm.advance(3_600_000);
    expect(outputs.map(({ type }) => type)).toEqual(['expired', 'send']);
    expect(swarm.deadline).toBeGreaterThanOrEqual(3_600_000);
  });
});

describe('who is known', () => {
  test('news are told, the same again is not; what is known keeps its identity', () => {
    const { swarm } = alone();
    expect(swarm.receive(answerOf(1), 4, 1_000)).toMatchObject([
      { type: 'discovered', info: { addr: addrOf(1) } },
    ]);
    const known = swarm.peer(idOf(1));
    expect(swarm.receive(answerOf(1), 6, 2_000)).toEqual([]);
    expect(swarm.peer(idOf(1))).toBe(known);
    expect(swarm.receive(answerOf(1, 9), 4, 2_000)).toMatchObject([
      { type: 'discovered', info: { addr: addrOf(1, 9) } },
    ]);
    const text = encodeMdnsAnswer(DOMAIN, { addr: addrOf(1, 9), userData: 'x' })!;
    expect(swarm.receive(text, 4, 2_000)).toMatchObject([{ info: { userData: 'x' } }]);
    expect(swarm.peers).toHaveLength(1);
  });

  test('we ourselves are nobody, whoever says it', () => {
    const { swarm } = alone();
    expect(swarm.receive(answerOf(0), 4, 1_000)).toEqual([]);
    expect(swarm.receive(answerOf(0, 66), 4, 1_000)).toEqual([]);
    expect([swarm.peers, swarm.peer(idOf(0))]).toEqual([[], undefined]);
    expect(swarm.advance(1_000_000).filter(({ type }) => type === 'expired')).toEqual([]);
  });

  test('names that are no ids, and what is no message, are counted by reason', () => {
    const { swarm } = alone();
    const bytes = answerOf(1);
    // The first letter of the id, in each name: `0` and `1` are not in the alphabet.
    const start = 13;
    const renamed = bytes.slice();
    renamed[start] = 0x31;
    expect(swarm.receive(renamed, 4, 1_000)).toEqual([]);
    const short = encodeMdnsAnswer(DOMAIN, { addr: addrOf(1) })!.slice();
    // Not the encoding of any point: y = 2 (RFC 8032 §5.1.3 has no x for it).
    const noPoint = new EndpointAddr(
      EndpointId.fromVerified(Uint8Array.from([2, ...new Array<number>(31).fill(0)])),
      [{ type: 'ip', addr: toAddr('10.0.0.1', 1) }],
    );
    expect(swarm.receive(encodeMdnsAnswer(DOMAIN, { addr: noPoint })!, 4, 1_000)).toEqual([]);
    swarm.receive(short.subarray(0, 100), 4, 1_000);
    swarm.receive(new Uint8Array(1_473), 4, 1_000);
    swarm.receive(fromHex('000084000000ffff00000000'), 4, 1_000);
    expect(Object.fromEntries(swarm.refused)).toEqual({ noId: 2, malformed: 2, tooLong: 1 });
    // Nothing of other services is anybody's fault.
    swarm.receive(encodeMdnsAnswer(serviceDomain('ipp'), { addr: addrOf(1) })!, 4, 1_000);
    swarm.receive(encodeMdnsQuery(serviceDomain('ipp')), 4, 1_000);
    expect(swarm.refused.size).toBe(3);
  });

  test('a flood of made-up nodes: so many are remembered, those heard last, and news come through', () => {
    const { swarm } = alone();
    const extra = 50;
    let expired = 0;
    for (let i = 1; i <= MAX_MDNS_PEERS + extra; i++)
      expired += swarm.receive(answerOf(i), 4, 10 * i).filter(({ type }) => type === 'expired').length;
    expect([swarm.peers.length, expired]).toEqual([MAX_MDNS_PEERS, extra]);
    expect(swarm.refused.get('tooMany')).toBe(extra);
    expect(swarm.peer(idOf(extra))).toBeUndefined();
    expect(swarm.peer(idOf(extra + 1))).toBeDefined();
    expect(swarm.peer(idOf(MAX_MDNS_PEERS + extra))).toBeDefined();
  });

  test('nodes that nobody knew are looked at so often in a second; those who are known, and we, are heard beside', () => {
    const swarm = new Swarm({ serviceName: SERVICE, rng: new SimRng(SEED) });
    swarm.setSelf(idOf(0), undefined);
    swarm.begin(0);
    swarm.receive(answerOf(1), 4, 0);
    for (let i = 2; i <= MAX_NEW_IDS_PER_SECOND + 20; i++) swarm.receive(answerOf(i), 4, 500);
    expect(swarm.peers).toHaveLength(MAX_NEW_IDS_PER_SECOND);
    expect(Object.fromEntries(swarm.refused)).toEqual({ tooFast: 20 });
    expect(swarm.receive(answerOf(1, 7), 4, 999)).toMatchObject([{ type: 'discovered' }]);
    swarm.receive(answerOf(0), 4, 999);
    expect(swarm.refused.get('tooFast')).toBe(20);
    expect(swarm.receive(answerOf(2_000), 4, 1_000)).toMatchObject([{ type: 'discovered' }]);
  });
});
