/**
 * quiche (Cloudflare's QUIC in Rust, through `@matrixai/quic`'s native binding) next to our engine, in one process without
 * sockets. quiche reads the real clock; ours is told the time.
 *
 * @module
 */
import { native } from '@matrixai/quic';
import { concatBytes, utf8 } from '../../src/base/bytes.ts';
import { toAddr, type Addr } from '../../src/base/socket-addr.ts';
import { DEFAULT_TRANSPORT_CONFIG, type TransportConfig } from '../../src/quic/config.ts';
import { QuicEndpoint } from '../../src/quic/endpoint.ts';
import type { QuicConnection, Transmit } from '../../src/quic/engine.ts';
import type { ClientTlsConfig, ServerTlsConfig } from '../../src/tls/session.ts';
import { SimConnection } from './sim-connection.ts';
import { SimRng } from './sim-rng.ts';

const { quiche } = native;
type Connection = native.Connection;
type Config = native.Config;

export const QUICHE_ALPN = 'quiche-test';
/** The name in every certificate of these tests. */
export const QUICHE_HOST = 'localhost';
const SIGNATURES = 'ed25519:ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256';
const CID_BYTES = 16;
const WINDOW = 8 * 1024 * 1024;
const READ_BYTES = 65_536;
const DATAGRAM_QUEUE = 64;
const IDLE_MS = 60_000;
/** Rounds without what a test waits for; each moves bytes or time. */
const MAX_ROUNDS = 20_000;

export interface Pem {
  readonly certificate: string;
  readonly key: string;
}

export interface QuicheOptions {
  readonly identity?: Pem;
  /** Certificates to trust; undefined: the peer is not checked, and a server asks for no certificate. */
  readonly roots?: string | undefined;
  readonly earlyData?: boolean;
  readonly ticketKey?: Uint8Array;
}

export function quicheConfig(options: QuicheOptions): Config {
  const pem = (text: string | undefined): Uint8Array | undefined =>
    text === undefined ? undefined : Buffer.from(text);
  const { identity, roots } = options;
  const config = quiche.Config.withBoringSslCtx(
    roots !== undefined,
    false,
    pem(roots),
    identity && [pem(identity.key)!],
    identity && [pem(identity.certificate)!],
    SIGNATURES,
  );
  config.setApplicationProtos([QUICHE_ALPN]);
  config.setMaxIdleTimeout(IDLE_MS);
  config.setMaxRecvUdpPayloadSize(1_472);
  config.setMaxSendUdpPayloadSize(1_350);
  config.setInitialMaxData(WINDOW);
  config.setInitialMaxStreamDataBidiLocal(WINDOW);
  config.setInitialMaxStreamDataBidiRemote(WINDOW);
  config.setInitialMaxStreamDataUni(WINDOW);
  config.setInitialMaxStreamsBidi(16);
  config.setInitialMaxStreamsUni(16);
  config.setActiveConnectionIdLimit(4);
  config.setDisableActiveMigration(false);
  config.enableDgram(true, DATAGRAM_QUEUE, DATAGRAM_QUEUE);
  if (options.earlyData ?? false) config.enableEarlyData();
  if (options.ticketKey !== undefined) config.setTicketKey(options.ticketKey);
  return config;
}

const host = (addr: Addr): native.Host => ({ host: addr.ip, port: addr.port });

/** A quiche connection as an application: it reads all there is, and remembers it. */
export class QuichePeer {
  readonly native: Connection;
  readonly datagrams: Uint8Array[] = [];
  readonly finished = new Set<number>();
  /** What quiche said to a packet, by name of its error. */
  failure: Error | undefined;
  readonly #received = new Map<number, Uint8Array[]>();
  readonly #outgoing = new Map<number, { data: Uint8Array; fin: boolean }>();
  readonly #scratch = Buffer.alloc(READ_BYTES);

  constructor(connection: Connection) {
    this.native = connection;
  }

  received(id: number): Uint8Array {
    return concatBytes(...(this.#received.get(id) ?? []));
  }

  /** Sends all of `data` and FIN, as fast as flow control and congestion allow. */
  send(id: number, data: Uint8Array): void {
    this.#outgoing.set(id, { data, fin: true });
    this.#pump();
  }

  /** Packets to send now. quiche's pacing is ignored: nothing is lost here. */
  poll(): { from: native.Host; data: Uint8Array }[] {
    this.#pump();
    const packets = [];
    do {
      for (
        let sent = this.native.send(this.#scratch);
        sent !== null;
        sent = this.native.send(this.#scratch)
      ) {
        const [length, { from }] = sent;
        packets.push({ from, data: Uint8Array.from(this.#scratch.subarray(0, length)) });
      }
      // The first packet of a resumed connection opens the way for early data.
    } while (this.#pump());
    return packets;
  }

  receive(data: Uint8Array, from: Addr, to: Addr): void {
    // quiche decrypts in place.
    try {
      this.native.recv(Buffer.from(data), { from: host(from), to: host(to) });
    } catch (error) {
      this.failure ??= error as Error;
      return;
    }
    this.#read();
  }

  #read(): void {
    for (const id of this.native.readable()) {
      const chunks = this.#received.get(id) ?? [];
      this.#received.set(id, chunks);
      for (;;) {
        const got = this.native.streamRecv(id, this.#scratch);
        if (got === null) break;
        const [length, fin] = got;
        chunks.push(Uint8Array.from(this.#scratch.subarray(0, length)));
        if (!fin) continue;
        this.finished.add(id);
        break;
      }
    }
    for (let data = this.native.dgramRecvVec(); data !== null; data = this.native.dgramRecvVec()) {
      this.datagrams.push(Uint8Array.from(data));
    }
  }

  /** Returns whether anything was taken. */
  #pump(): boolean {
    if (!this.native.isEstablished() && !this.native.isInEarlyData()) return false;
    let taken = 0;
    for (const [id, out] of this.#outgoing) {
      const written = this.native.streamSend(id, out.data, out.fin) ?? 0;
      taken += written;
      out.data = out.data.subarray(written);
      if (out.data.length === 0) this.#outgoing.delete(id);
    }
    return taken > 0;
  }
}

export interface LinkOptions {
  readonly transport?: Partial<TransportConfig>;
  readonly seed?: number;
}

/** Our engine and one quiche connection at a time, with a wire in between. */
export class QuicheLink {
  readonly engine: QuicEndpoint;
  readonly transport: TransportConfig;
  /** Where both are at first. Packets are delivered whatever their addresses. */
  readonly ourAddr = toAddr('127.0.0.1', 4_001);
  readonly quicheAddr = toAddr('127.0.0.1', 4_002);
  /** What our packets seem to come from: another address stands for a NAT that rebinds. */
  seenAs: Addr = this.ourAddr;
  /** Answer our next attempts with a Retry; quiche's servers do so when true. */
  isRetrying = false;
  /** Nothing of quiche's arrives. */
  areWeDeaf = false;
  ours: SimConnection | undefined;
  peer: QuichePeer | undefined;
  /** Retry packets on the wire. */
  retries = 0;
  readonly #wallOffsetMs = Date.now();
  #serverConfig: Config | undefined;
  #now = 0;

  constructor(options: LinkOptions = {}) {
    this.engine = new QuicEndpoint({ rng: new SimRng(options.seed ?? 1), wallOffsetMs: this.#wallOffsetMs });
    this.transport = { ...DEFAULT_TRANSPORT_CONFIG, ...options.transport };
  }

  get now(): number {
    return this.#now;
  }

  /** Wall-clock ms of our side. */
  get wallNow(): number {
    return this.#now + this.#wallOffsetMs;
  }

  /** We accept, quiche dials. @param session - From an earlier connection's `native.session()`. */
  quicheDials(config: Config, tls: ServerTlsConfig, session?: Uint8Array): { peer: QuichePeer } {
    this.engine.setServerConfig({ tls, transport: this.transport });
    const connection = quiche.Connection.connect(
      QUICHE_HOST,
      Buffer.from(new SimRng(this.#now + 7).bytes(CID_BYTES)),
      host(this.quicheAddr),
      host(this.ourAddr),
      config,
    );
    if (session !== undefined) connection.setSession(session);
    this.ours = undefined;
    this.peer = new QuichePeer(connection);
    return { peer: this.peer };
  }

  /** We dial, quiche accepts the first Initial that arrives. */
  weDial(tls: ClientTlsConfig, config: Config): SimConnection {
    this.#serverConfig = config;
    this.peer = undefined;
    const quic = this.engine.connect(
      { remote: this.quicheAddr, local: this.ourAddr },
      QUICHE_HOST,
      { tls, transport: this.transport },
      this.#now,
    );
    return (this.ours = this.#adopt(quic));
  }

  #adopt(quic: QuicConnection): SimConnection {
    return new SimConnection(quic, () => this.#now);
  }

  /** Lets both talk until `isDone`. @throws {Error} when that never happens. */
  run(isDone: () => boolean, what: string): void {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      if (isDone()) return;
      this.#round();
    }
    throw new Error(
      `${what}: not after ${MAX_ROUNDS} rounds; ours: ${JSON.stringify(this.ours?.closeReason, stringifyBig)}, ` +
        `quiche: ${JSON.stringify([this.peer?.native.localError(), this.peer?.native.peerError()])}`,
    );
  }

  /** Both sides have nothing to say any more. */
  settle(): void {
    for (let quiet = 0; quiet < 3;) quiet = this.#round() ? 0 : quiet + 1;
  }

  #round(): boolean {
    let isBusy = this.#sendOurs();
    if (this.#sendQuiches()) isBusy = true;
    const deadline = this.engine.pollTimeout();
    // Idle: on to the next deadline, but not over the keep-alive of a connection that waits for something else.
    this.#now = isBusy ? this.#now + 1 : Math.max(this.#now + 1, Math.min(deadline ?? 0, this.#now + 50));
    this.engine.handleTimeout(this.#now);
    const timeout = this.peer?.native.timeout();
    if (timeout === 0) this.peer!.native.onTimeout();
    return isBusy;
  }

  #sendOurs(): boolean {
    const out: Transmit[] = [];
    const count = this.engine.pollTransmits(out, 64, this.#now);
    for (const { to, data } of out) this.#toQuiche(data.slice(), to);
    this.engine.releaseTransmits();
    this.#events();
    return count > 0;
  }

  #toQuiche(data: Uint8Array, to: Addr): void {
    if (data[0]! >> 4 === 0xf) this.retries++;
    if (this.peer === undefined && !this.#acceptQuiche(data)) return;
    this.peer?.receive(data, this.seenAs, to);
  }

  /** What a quiche server does with the first packet of a client. */
  #acceptQuiche(data: Uint8Array): boolean {
    if (this.#serverConfig === undefined) return false;
    const header = quiche.Header.fromSlice(Buffer.from(data), CID_BYTES);
    const token = header.token ?? new Uint8Array(0);
    if (this.isRetrying && token.length === 0) {
      const out = Buffer.alloc(1_200);
      const newScid = Buffer.alloc(CID_BYTES, 0x42);
      // The token is the original connection id: enough for a test, no proof of anything.
      const length = quiche.retry(header.scid, header.dcid, newScid, header.dcid, header.version, out);
      this.retries++;
      this.#toUs(Uint8Array.from(out.subarray(0, length)), this.quicheAddr);
      return false;
    }
    const scid = this.isRetrying ? header.dcid : Buffer.alloc(CID_BYTES, 0x43);
    const original = this.isRetrying ? token : undefined;
    const addresses = [host(this.quicheAddr), host(this.seenAs)] as const;
    this.peer = new QuichePeer(quiche.Connection.accept(scid, original, ...addresses, this.#serverConfig));
    return true;
  }

  #sendQuiches(): boolean {
    const packets = this.peer?.poll() ?? [];
    for (const { from, data } of packets) this.#toUs(data, toAddr(from.host, from.port));
    return packets.length > 0;
  }

  #toUs(data: Uint8Array, from: Addr): void {
    if (this.areWeDeaf) return;
    this.engine.handleDatagrams([{ from, local: this.ourAddr, data }], this.#now);
    this.#events();
  }

  #events(): void {
    const { engine } = this;
    for (let event = engine.pollEvent(); event !== undefined; event = engine.pollEvent()) {
      if (event.type === 'incoming') {
        if (this.isRetrying && engine.retry(event.incoming, this.#now)) continue;
        this.ours = this.#adopt(engine.accept(event.incoming, this.#now));
      } else if (event.connection === this.ours?.quic) {
        this.ours.onEvent(event.event);
      }
    }
  }
}

const stringifyBig = (_key: string, value: unknown): unknown =>
  typeof value === 'bigint' ? String(value) : value;

export const QUICHE_ALPNS = [utf8(QUICHE_ALPN)];
