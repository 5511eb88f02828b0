/**
 * Two engines talk while somebody who knows their keys tampers: a script of one instruction per datagram and per round.
 *
 * @module
 */
import fc from 'fast-check';
import { concatBytes } from '../../../src/base/bytes.ts';
import { toAddr, type Addr } from '../../../src/base/socket-addr.ts';
import type { TransportConfig } from '../../../src/quic/config.ts';
import type { QuicEndpoint } from '../../../src/quic/endpoint.ts';
import type { Datagram, QuicConnection, Side, Transmit } from '../../../src/quic/engine.ts';
import { PathError } from '../../../src/quic/paths/path-table.ts';
import { NatTraversalError } from '../../../src/quic/paths/nat-traversal.ts';
import { decodeLongHeader } from '../../../src/quic/wire/packet.ts';
import { encodeRetry } from '../../../src/quic/wire/retry.ts';
import { encodeVersionNegotiation } from '../../../src/quic/wire/version-negotiation.ts';
import { StreamError } from '../../../src/quic/streams/stream-error.ts';
import { TransportError } from '../../../src/quic/transport-error.ts';
import { frameArbitraries } from '../../support/frames.ts';
import { SimRng } from '../../support/sim-rng.ts';
import { serverName } from '../../support/tls-pair.ts';
import {
  checkCloseReason,
  CLIENT,
  clientTls,
  EternalTicket,
  makeEngine,
  SERVER,
  serverTls,
  TRANSPORT,
} from '../engines.ts';
import { Script } from '../script.ts';
import { Tamperer } from '../tampering.ts';
import { must, refused, type Target } from '../target.ts';

const MAX_ROUNDS = 120;
/** Rounds that an honest end may take: close, drain, forget. */
const MAX_LAST_ROUNDS = 60;
const READ_BYTES = 65_536;
const OTHER_SERVER = toAddr('192.0.2.3', 2_001);
const OTHER_CLIENT = toAddr('192.0.2.4', 1_001);

/** What happens to a datagram. Zero: nothing. */
const FATE = {
  pass: 0,
  drop: 1,
  double: 2,
  flip: 3,
  frames: 4,
  inject: 5,
  cut: 6,
  rebind: 7,
  delay: 8,
  answer: 9,
} as const;
const FATES = 16;
/** What an application does between rounds. Zero: nothing. */
const ACT = {
  none: 0,
  open: 1,
  datagram: 2,
  update: 3,
  path: 4,
  reset: 5,
  nat: 6,
  close: 7,
  status: 8,
  leave: 9,
} as const;
const ACTS = 16;

/** QUIC without its extensions. */
const PLAIN_TRANSPORT: TransportConfig = {
  ...TRANSPORT,
  maxConcurrentPaths: undefined,
  maxNatAddresses: undefined,
  addressDiscovery: undefined,
  datagramReceiveBufferSize: undefined,
};

const isDocumented = (error: unknown): boolean =>
  error instanceof StreamError ||
  error instanceof PathError ||
  error instanceof NatTraversalError ||
  error instanceof TransportError;

const ticket = new EternalTicket();

class Duel {
  readonly #script: Script;
  readonly #tamperer = new Tamperer();
  readonly #engines: Record<Side, QuicEndpoint> = { client: makeEngine(1), server: makeEngine(2) };
  readonly #inboxes: Record<Side, Datagram[]> = { client: [], server: [] };
  readonly #connections: Record<Side, QuicConnection | undefined> = { client: undefined, server: undefined };
  readonly #isRetrying: boolean;
  /** Waits for the round after the next. */
  #late: [Side, Datagram][] = [];
  #now = 0;
  #isHonest = false;

  constructor(script: Script) {
    this.#script = script;
    const flags = script.u8();
    this.#isRetrying = (flags & 2) !== 0;
    const transport = (flags & 4) === 0 ? TRANSPORT : PLAIN_TRANSPORT;
    const isResuming = (flags & 1) !== 0 && ticket.ticket !== undefined;
    const tickets = isResuming || ticket.ticket === undefined ? ticket : undefined;
    this.#engines.server.setServerConfig({ tls: serverTls({ sessions: tickets }), transport: TRANSPORT });
    const tls = clientTls({ tickets, keyLog: this.#tamperer.keyLog });
    const client = this.#engines.client.connect(
      { remote: SERVER, local: CLIENT },
      serverName,
      { tls, transport },
      0,
    );
    this.#connections.client = client;
    if (isResuming) this.#write('client', 500);
  }

  play(): void {
    for (let round = 0; round < MAX_ROUNDS && !this.#script.isOver; round++) {
      this.#round();
      this.#act(this.#script.u8());
    }
    this.#isHonest = true;
    for (let round = 0; round < 6; round++) this.#round();
    for (const side of ['client', 'server'] as const) {
      this.#engines[side].close(0n, new Uint8Array(0), this.#now);
    }
    let rounds = 0;
    while (this.#engines.client.connectionCount + this.#engines.server.connectionCount > 0) {
      must(rounds++ < MAX_LAST_ROUNDS, 'the connections do not end');
      this.#round();
    }
    for (const side of ['client', 'server'] as const) {
      checkCloseReason(this.#connections[side]?.closeReason);
      for (const [table, size] of Object.entries(this.#engines[side].tableSizes)) {
        must(size === 0, `${side}: ${size} left in ${table}`);
      }
    }
  }

  /** Everything that is on its way arrives; if nothing is, time goes on to the next deadline. */
  #round(): void {
    let isBusy = this.#late.length > 0;
    for (const [side, datagram] of this.#late) this.#inboxes[side].push(datagram);
    this.#late = [];
    for (const side of ['client', 'server'] as const) {
      const inbox = this.#inboxes[side];
      this.#inboxes[side] = [];
      if (inbox.length > 0) this.#engines[side].handleDatagrams(inbox, this.#now);
      this.#events(side);
      isBusy = this.#send(side) || inbox.length > 0 || isBusy;
      this.#events(side);
    }
    this.#now += 1;
    const deadlines = [this.#engines.client.pollTimeout(), this.#engines.server.pollTimeout()];
    if (!isBusy)
      this.#now = Math.max(this.#now, Math.min(...deadlines.map((at) => at ?? Infinity), this.#now + 60_000));
    for (const side of ['client', 'server'] as const) this.#engines[side].handleTimeout(this.#now);
  }

  #send(side: Side): boolean {
    const engine = this.#engines[side];
    const out: Transmit[] = [];
    engine.pollTransmits(out, 64, this.#now);
    for (const { to, local, data } of out) {
      this.#tamperer.learnInitial(data);
      const from = local ?? (side === 'client' ? CLIENT : SERVER);
      this.#carry(side, from, to, data.slice());
    }
    engine.releaseTransmits();
    return out.length > 0;
  }

  #carry(from: Side, source: Addr, to: Addr, data: Uint8Array): void {
    const script = this.#script;
    const fate = this.#isHonest || script.isOver ? FATE.pass : script.u8() % FATES;
    switch (fate) {
      case FATE.drop:
        return;
      case FATE.double:
        this.#deliver(from, source, to, data.slice());
        break;
      case FATE.flip:
        data[script.u16() % data.length]! ^= script.u8();
        break;
      case FATE.frames:
        data = this.#tamperer.changeFrames(from, data, script);
        break;
      case FATE.inject: {
        const more = this.#tamperer.inject(from, data, script);
        this.#deliver(from, source, to, data);
        if (more !== undefined) this.#deliver(from, source, to, more);
        return;
      }
      case FATE.cut:
        data = data.subarray(0, script.u16() % (data.length + 1));
        break;
      case FATE.delay:
        this.#late.push([from === 'client' ? 'server' : 'client', { from: source, local: to, data }]);
        return;
      case FATE.answer: {
        const header = decodeLongHeader(data, 0, data.length);
        if (from === 'server' || header === undefined) break;
        const rng = new SimRng(1);
        const answer =
          (script.u8() & 1) === 0
            ? concatBytes(
                encodeVersionNegotiation(header.dcid, header.scid, rng),
                script.take(script.u8() % 16),
              )
            : encodeRetry(
                header.scid,
                script.take(script.u8() % 21),
                header.dcid,
                script.take(script.u8()),
                rng,
              );
        this.#deliver('server', to, source, answer);
        break;
      }
      case FATE.rebind:
        source = from === 'client' ? OTHER_CLIENT : OTHER_SERVER;
        break;
    }
    this.#deliver(from, source, to, data);
  }

  #deliver(sender: Side, from: Addr, local: Addr, data: Uint8Array): void {
    this.#inboxes[sender === 'client' ? 'server' : 'client'].push({ from, local, data });
  }

  #events(side: Side): void {
    const engine = this.#engines[side];
    for (let event = engine.pollEvent(); event !== undefined; event = engine.pollEvent()) {
      if (event.type === 'incoming') {
        const { incoming } = event;
        if (this.#isRetrying && engine.retry(incoming, this.#now)) continue;
        refused(() => (this.#connections.server = engine.accept(incoming, this.#now)), isDocumented);
        continue;
      }
      const { connection } = event;
      checkCloseReason(connection.closeReason);
      switch (event.event.type) {
        case 'connected':
          this.#write(side, 3_000);
          break;
        case 'streamOpened': {
          const id = connection.acceptStream(event.event.dir);
          if (id !== undefined) this.#read(connection, id);
          break;
        }
        case 'streamReadable':
          this.#read(connection, event.event.id);
          break;
        case 'datagramReceived':
          while (connection.readDatagram() !== undefined);
          break;
      }
    }
  }

  #read(connection: QuicConnection, id: number): void {
    refused(() => {
      for (
        let data = connection.readStream(id, READ_BYTES);
        data;
        data = connection.readStream(id, READ_BYTES)
      );
    }, isDocumented);
  }

  #write(side: Side, length: number): void {
    const connection = this.#connections[side];
    if (connection === undefined) return;
    refused(() => {
      const id = connection.openStream('bi');
      if (id === undefined) return;
      connection.writeStream(id, new Uint8Array(length));
      connection.finishStream(id);
    }, isDocumented);
  }

  #act(code: number): void {
    const side: Side = (code & 0x10) === 0 ? 'client' : 'server';
    const connection = this.#connections[side];
    if (connection === undefined) return;
    const now = this.#now;
    refused(() => {
      switch (code % ACTS) {
        case ACT.open:
          return this.#write(side, 200);
        case ACT.datagram:
          return void connection.sendDatagram(new Uint8Array(100), true);
        case ACT.update:
          return connection.forceKeyUpdate();
        case ACT.path:
          return void connection.openPathEnsure({ remote: OTHER_SERVER, local: CLIENT }, 'available', now);
        case ACT.reset: {
          const id = connection.openStream('uni');
          if (id === undefined) return;
          connection.writeStream(id, new Uint8Array(10));
          return connection.resetStream(id, 7n);
        }
        case ACT.nat:
          connection.addNatAddress(side === 'client' ? OTHER_CLIENT : OTHER_SERVER);
          if (side === 'client') connection.initiateNatRound(now);
          return;
        case ACT.close:
          return connection.close(5n, new Uint8Array(3), now);
        case ACT.status:
          return void connection.setPathStatus(0, 'backup');
        case ACT.leave:
          return connection.closePath(1, 0, now);
      }
    }, isDocumented);
  }
}

/** The first connection is honest and brings the ticket that all others may use. */
function earnTicket(): void {
  if (ticket.ticket === undefined) new Duel(new Script(new Uint8Array(60))).play();
}

export const connection: Target = {
  name: 'connection',
  decoders: [
    { file: 'src/quic/frame-dispatch.ts', except: /^onFrame/ },
    { file: 'src/quic/packet-reader.ts' },
  ],
  maxLength: 1_000,
  maxWork: 1_000_000,
  seeds: () => {
    earnTicket();
    const quiet = new Uint8Array(60);
    const resumed = quiet.slice();
    resumed[0] = 1;
    const acts = Object.values(ACT).flatMap((act) =>
      [act, act | 0x10].map((code) => {
        const script = new Uint8Array(80);
        script.fill(0, 0, 24);
        for (let at = 24; at < 60; at += 6) script[at] = code;
        return script;
      }),
    );
    // Frames of every kind, in a packet after the handshake, towards either side.
    const injected = Object.values(frameArbitraries).flatMap((frames) =>
      fc.sample(frames, { numRuns: 1, seed: 1 }).flatMap(({ bytes }) =>
        [
          [0, 20],
          [0, 21],
          [4, 20],
          [4, 21],
        ].map(([flags, before]) =>
          concatBytes(
            Uint8Array.of(flags!),
            new Uint8Array(before!),
            Uint8Array.of(FATE.inject, 0, 0, 0, bytes.length >> 8, bytes.length & 0xff),
            bytes,
            new Uint8Array(20),
          ),
        ),
      ),
    );
    const fates = Object.values(FATE).flatMap((fate) =>
      [1, 2, 4, 8, 16].map((before) =>
        concatBytes(new Uint8Array(before), Uint8Array.of(fate, 0, 5, 1, 1, 1)),
      ),
    );
    const handshakes = [2, 3].map((flags) => concatBytes(Uint8Array.of(flags), quiet));
    // Empty packets, reserved bits, tokens and other ids in each of the first packets.
    const headers = [1, 2, 3, 4, 6, 8, 12].flatMap((before) =>
      [8, 9, 0x0a, 0x0c].map((flags) =>
        concatBytes(new Uint8Array(before), Uint8Array.of(FATE.inject, 0, 0, flags, 0, before & 1), quiet),
      ),
    );
    const answers = [
      Uint8Array.of(0, FATE.answer, 0, 4, 0, 0, 0, 9),
      Uint8Array.of(0, FATE.answer, 1, 4, 1, 2, 3, 4, 3, 1, 2, 3),
      Uint8Array.of(0, FATE.answer, 1, 4, 1, 2, 3, 4, 0),
    ].map((script) => concatBytes(script, quiet));
    return [quiet, resumed, ...handshakes, ...headers, ...answers, ...acts, ...fates, ...injected];
  },
  run: (input) => {
    earnTicket();
    new Duel(new Script(input)).play();
  },
};
