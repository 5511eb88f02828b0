/**
 * A server and a client that dials get datagrams from strangers: a script of `| instruction | arguments |`.
 *
 * @module
 */
import { concatBytes, Writer } from '../../../src/base/bytes.ts';
import { toAddr } from '../../../src/base/socket-addr.ts';
import type { QuicEndpoint } from '../../../src/quic/endpoint.ts';
import type { IncomingRef, QuicConnection, Transmit } from '../../../src/quic/engine.ts';
import { TokenSealer } from '../../../src/quic/tokens.ts';
import { TransportError } from '../../../src/quic/transport-error.ts';
import { decodeLongHeader, finishLongHeader, writeLongHeader } from '../../../src/quic/wire/packet.ts';
import { PacketKeys } from '../../../src/quic/wire/protection.ts';
import { encodeRetry } from '../../../src/quic/wire/retry.ts';
import { encodeVersionNegotiation } from '../../../src/quic/wire/version-negotiation.ts';
import { SimRng } from '../../support/sim-rng.ts';
import { sealPacket } from '../../support/sealed-packet.ts';
import { NOW, serverName } from '../../support/tls-pair.ts';
import { checkCloseReason, CLIENT, clientTls, makeEngine, SERVER, serverTls, TRANSPORT } from '../engines.ts';
import { Script } from '../script.ts';
import { must, refused, type Target } from '../target.ts';

const MIN_INITIAL = 1_200;
const MAX_STEPS = 40;
/** Three times what came in may go out before an address is proven (RFC 9000 §8.1). */
const AMPLIFICATION = 3;

const OP = {
  raw: 0,
  padded: 1,
  initial: 2,
  replay: 3,
  decide: 4,
  toClient: 5,
  retry: 6,
  versions: 7,
  time: 8,
  config: 9,
  toward: 10,
} as const;
const OPS = Object.keys(OP).length;

/** Low enough to be met. Tokens under this key are the server's own. */
const LIMITS = {
  tokenKey: new Uint8Array(32).fill(7),
  maxIncoming: 3,
  maxIncomingBufferBytes: 6_000,
  maxIncomingTotalBytes: 9_000,
};
const sealer = new TokenSealer(LIMITS.tokenKey, new SimRng(3));

const isTransportError = (error: unknown): boolean => error instanceof TransportError;

/** A server, a dialling client, and what one of them said last. */
class Scene {
  readonly server = makeEngine(1, LIMITS);
  readonly client = makeEngine(2);
  readonly #connection;
  readonly #incomings: IncomingRef[] = [];
  readonly #accepted: QuicConnection[] = [];
  #isProven = false;
  /** What the client said last, first a ClientHello. */
  #hello: Uint8Array;
  readonly #scid: Uint8Array;
  readonly #dcid: Uint8Array;
  /** What the server said last, for instance a Retry. */
  #said: Uint8Array = new Uint8Array(0);
  #received = 0;
  #sent = 0;
  #now = 0;

  constructor() {
    this.server.setServerConfig({ tls: serverTls(), transport: TRANSPORT });
    this.#connection = this.client.connect(
      { remote: SERVER, local: CLIENT },
      serverName,
      { tls: clientTls(), transport: TRANSPORT },
      0,
    );
    this.#hello = this.#poll(this.client)[0]!;
    const { dcid, scid } = decodeLongHeader(this.#hello, 0, this.#hello.length)!;
    this.#dcid = dcid.slice();
    this.#scid = scid.slice();
  }

  play(script: Script): void {
    for (let step = 0; step < MAX_STEPS && !script.isOver; step++) this.#step(script);
    for (const engine of [this.server, this.client]) engine.close(0n, new Uint8Array(0), this.#now);
    // Close, drain, and nothing is left.
    for (let round = 0; round < 20; round++) {
      for (const engine of [this.server, this.client]) {
        this.#poll(engine);
        this.#events(engine);
        const deadline = engine.pollTimeout();
        if (deadline === undefined) continue;
        this.#now = Math.max(this.#now, deadline);
        engine.handleTimeout(this.#now);
      }
    }
    for (const engine of [this.server, this.client]) {
      for (const [table, size] of Object.entries(engine.tableSizes))
        must(size === 0, `${size} left in ${table}`);
    }
  }

  #step(script: Script): void {
    const op = script.u8() % OPS;
    switch (op) {
      case OP.raw:
      case OP.padded: {
        const bytes = script.take(script.u16() % 2_000);
        const padding = op === OP.padded ? Math.max(0, MIN_INITIAL - bytes.length) : 0;
        return this.#toServer(script, concatBytes(bytes, new Uint8Array(padding)));
      }
      case OP.initial:
        return this.#toServer(script, this.#sealInitial(script));
      case OP.replay: {
        // The honest ClientHello, maybe damaged, or what the client says after a Retry.
        const copy = this.#hello.slice();
        if ((script.u8() & 1) === 1) copy[script.u16() % copy.length]! ^= script.u8();
        return this.#toServer(script, copy);
      }
      case OP.decide:
        return this.#decide(script);
      case OP.toClient:
        return this.#toClient(script.take(script.u16() % 2_000));
      case OP.retry: {
        const token = script.take(script.u8());
        const original = (script.u8() & 1) === 0 ? this.#dcid : script.take(8);
        const scid = script.take(script.u8() % 24);
        return this.#toClient(encodeRetry(this.#scid, scid, original, token, new SimRng(1)));
      }
      case OP.versions: {
        const packet = encodeVersionNegotiation(this.#dcid, this.#scid, new SimRng(1));
        return this.#toClient(concatBytes(packet, script.take(script.u8() % 32)));
      }
      case OP.config:
        this.server.setServerConfig(
          (script.u8() & 1) === 0 ? { tls: serverTls(), transport: TRANSPORT } : undefined,
        );
        return;
      case OP.time: {
        this.#now += script.u16();
        for (const engine of [this.server, this.client]) engine.handleTimeout(this.#now);
        return;
      }
      default:
        // What the server said, to the client; maybe damaged.
        if (this.#said.length > 0 && (script.u8() & 1) === 1) {
          this.#said[script.u16() % this.#said.length]! ^= script.u8();
        }
        return this.#toClient(this.#said.slice());
    }
  }

  /** `| kinds | dcid length | dcid | scid length | token length | token | packet number | padding | payload |` */
  #sealInitial(script: Script): Uint8Array {
    const flags = script.u8();
    const dcid = (flags & 1) === 0 ? this.#dcid : script.take(script.u8() % 21);
    const scid = script.take(script.u8() % 21);
    const token = this.#token(script, dcid);
    const pnLength = (1 + (script.u8() & 3)) as 1 | 2 | 3 | 4;
    const payload = script.take(script.u16() % 1_500);
    const padding = (flags & 2) === 0 ? Math.max(0, MIN_INITIAL - payload.length) : 3;
    const body = concatBytes(payload, new Uint8Array(padding));
    const w = new Writer();
    const type = (flags & 4) === 0 ? 'initial' : 'zeroRtt';
    const lengthAt = writeLongHeader(w, type, dcid, scid, token, script.u8(), pnLength);
    const header = w.copy();
    finishLongHeader(header, lengthAt, pnLength + body.length + 16);
    if ((flags & 8) !== 0) header[0]! |= 0x04; // a reserved bit
    const number = header.subarray(header.length - pnLength).reduce((sum, byte) => sum * 256 + byte, 0);
    return sealPacket(PacketKeys.initial(dcid, 'client').write, header, body, 0, number);
  }

  /** Any bytes, or what the server itself would have given out: to somebody, some time ago. */
  #token(script: Script, dcid: Uint8Array): Uint8Array {
    const kind = script.u8();
    if (kind < 0xf0) return script.take(kind);
    const remote = (kind & 1) === 0 ? CLIENT : SERVER;
    const wallNow = NOW + this.#now - ((kind & 2) === 0 ? 0 : script.u16() * 1_000_000);
    return (kind & 4) === 0
      ? sealer.sealRetry(remote, script.take(8), (kind & 8) === 0 ? dcid : script.take(8), wallNow)
      : sealer.sealValidation(remote, wallNow);
  }

  #decide(script: Script): void {
    const choice = script.u8() % 4;
    const incoming = this.#incomings.shift();
    if (incoming === undefined) return;
    const now = this.#now;
    if (choice === 1) this.server.refuse(incoming, now);
    else if (choice === 2 && this.server.retry(incoming, now)) void now;
    else if (choice === 3) this.server.ignore(incoming);
    else refused(() => this.#accepted.push(this.server.accept(incoming, now)), isTransportError);
    this.#after();
  }

  #toServer(script: Script, data: Uint8Array): void {
    const flags = script.u8();
    const from = (flags & 1) === 0 ? CLIENT : toAddr('192.0.2.9', 1 + flags);
    this.#received += data.length;
    this.server.handleDatagrams([{ from, local: SERVER, data }], this.#now);
    this.#after();
  }

  #toClient(data: Uint8Array): void {
    this.client.handleDatagrams([{ from: SERVER, local: CLIENT, data }], this.#now);
    const said = this.#poll(this.client)[0];
    if (said !== undefined) this.#hello = said;
    this.#events(this.client);
    checkCloseReason(this.#connection.closeReason);
  }

  #after(): void {
    const said = this.#poll(this.server);
    for (const data of said) this.#sent += data.length;
    if (said.length > 0) this.#said = said[0]!;
    // Once it was: the connection may be over meanwhile.
    this.#isProven ||= this.#accepted.some((each) => each.paths().some(({ validated }) => validated));
    if (!this.#isProven) must(this.#sent <= AMPLIFICATION * this.#received, 'amplification');
    this.#events(this.server);
  }

  #events(engine: QuicEndpoint): void {
    for (let event = engine.pollEvent(); event !== undefined; event = engine.pollEvent()) {
      if (event.type === 'incoming') {
        void event.incoming.offeredAlpns;
        this.#incomings.push(event.incoming);
      } else checkCloseReason(event.connection.closeReason);
    }
  }

  #poll(engine: QuicEndpoint): Uint8Array[] {
    const out: Transmit[] = [];
    engine.pollTransmits(out, 64, this.#now);
    const copies = out.map(({ data }) => data.slice());
    engine.releaseTransmits();
    return copies;
  }
}

export const datagram: Target = {
  name: 'datagram',
  decoders: [
    { file: 'src/quic/wire/packet.ts', except: /^(write|finish)/ },
    { file: 'src/quic/incoming.ts' },
    { file: 'src/quic/incoming-table.ts' },
  ],
  maxLength: 1_500,
  maxWork: 200_000,
  seeds: () => {
    const cid = [8, 1, 2, 3, 4, 5, 6, 7, 8];
    const decisions = [0, 1, 2, 3].map((choice) =>
      Uint8Array.of(OP.replay, 0, 0, OP.decide, choice, OP.toward, 0),
    );
    const throughRetry = [
      OP.replay,
      0,
      0,
      OP.decide,
      2,
      OP.toward,
      0,
      OP.replay,
      0,
      0,
      OP.decide,
      0,
      OP.toward,
      0,
    ];
    return [
      ...decisions,
      Uint8Array.from(throughRetry),
      Uint8Array.of(OP.initial, 1, ...cid, 0, 0, 0, 0, 2, 1, 1, 0, 0),
      Uint8Array.of(OP.initial, 1, 4, 1, 2, 3, 4, 0, 0, 0, 0, 1, 1, 0, 0),
      Uint8Array.of(OP.replay, 0, 0, OP.initial, 4, 0, 0, 0, 0, 4, 1, 2, 3, 4, 0, 0, OP.decide, 0),
      Uint8Array.of(OP.padded, 0, 20, 0xc0, 0, 0, 0, 2, ...cid, 0, 0),
      Uint8Array.of(OP.padded, 0, 20, 0xc0, 0, 0, 0, 1, ...cid, 0, 0),
      Uint8Array.of(OP.raw, 0, 30, 0x40, ...new Array<number>(30).fill(7)),
      Uint8Array.of(OP.retry, 4, 1, 2, 3, 4, 0, 8, 8, 7, 6, 5, 4, 3, 2, 1),
      Uint8Array.of(OP.versions, 4, 0, 0, 0, 9),
      ...[0xf0, 0xf1, 0xf2, 0xf4, 0xf5, 0xf6].map((kind) =>
        Uint8Array.of(
          OP.initial,
          0,
          0,
          kind,
          0xff,
          0xff,
          8,
          7,
          6,
          5,
          4,
          3,
          2,
          1,
          0,
          0,
          2,
          1,
          1,
          0,
          0,
          OP.decide,
          0,
        ),
      ),
      // CRYPTO frames with a gap, and a frame that is not one.
      Uint8Array.of(OP.initial, 0, 0, 0, 0, 0, 9, 6, 0, 2, 1, 0, 6, 4, 1, 9, 0, 0, OP.decide, 0),
      Uint8Array.of(OP.config, 1, OP.replay, 0, 0),
      Uint8Array.from(
        [1, 2, 3, 4].flatMap((i) => [OP.initial, 1, 8, i, i, i, i, i, i, i, i, 0, 0, 0, 0, 1, 1, 0, 0]),
      ),
      Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8].flatMap(() => [OP.replay, 0, 0])),
      Uint8Array.of(OP.toClient, 0, 20, 0xf0, 0, 0, 0, 1, ...cid, 0, 0),
      Uint8Array.of(OP.replay, 0, 0, OP.time, 0xff, 0xff, OP.decide, 0),
    ];
  },
  run: (input) => new Scene().play(new Script(input)),
};
