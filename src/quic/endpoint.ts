/**
 * The engine of one endpoint: datagrams to connections, connection attempts, stateless answers, and the queues that all
 * connections share (RFC 9000 §5.2, §6, §8.1, §10.3; noq `noq-proto/src/endpoint.rs`).
 *
 * @module
 */
import { toHex } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { randomBytes, type Rng } from '../base/rng.ts';
import type { Addr } from '../base/socket-addr.ts';
import { cidKey } from './connection-core.ts';
import {
  LOCAL_CID_LENGTH,
  type ConnectionHost,
  type HostedConnection,
  type IssuedCid,
} from './connection-host.ts';
import { createClientConnection, createServerConnection } from './connection.ts';
import { DeadlineHeap, type HeapItem } from './deadline-heap.ts';
import type {
  ClientConfig,
  ConnectionEvent,
  Datagram,
  EngineCapabilities,
  EngineEvent,
  FourTuple,
  IncomingRef,
  NetworkChangeHint,
  QuicConnection,
  QuicEngine,
  ServerConfig,
  Transmit,
} from './engine.ts';
import {
  MAX_INCOMING,
  MAX_INCOMING_TOTAL_BYTES,
  openFirstInitial,
  PendingIncoming,
  type RetryProof,
} from './incoming.ts';
import type { QlogFactory } from './qlog.ts';
import { encodeInitialClose, encodeStatelessReset, ResetTokens } from './stateless.ts';
import { TokenStore } from './token-store.ts';
import { isFresh, RETRY_TOKEN_LIFETIME_MS, TokenSealer, VALIDATION_TOKEN_LIFETIME_MS } from './tokens.ts';
import { TransmitBuffer } from './transmit-buffer.ts';
import { TransportError } from './transport-error.ts';
import { decodeInvariantHeader, decodeLongHeader, FIXED_BIT, QUIC_VERSION_1 } from './wire/packet.ts';
import { PacketKeys } from './wire/protection.ts';
import { encodeRetry } from './wire/retry.ts';
import { encodeVersionNegotiation } from './wire/version-negotiation.ts';

/** A client's first Initial comes in a datagram of at least this size (RFC 9000 §14.1). */
const MIN_INITIAL_DATAGRAM_BYTES = 1_200;
/** RFC 9000 §7.2. */
const MIN_INITIAL_DCID_BYTES = 8;
/** Stateless answers waiting to be sent; more are dropped: the sender will ask again. */
export const MAX_STATELESS_TRANSMITS = 256;
/** At most one stateless reset in this time, ms; noq `MIN_RESET_INTERVAL`. */
export const STATELESS_RESET_INTERVAL_MS = 20;
/** Datagrams that one connection may send before the next one's turn. */
const TRANSMITS_PER_TURN = 32;

/** What a {@link QuicEndpoint} is made with. */
export interface QuicEndpointOptions {
  readonly rng: Rng;
  /** Wall-clock ms since 1970 minus the monotonic clock's ms. */
  readonly wallOffsetMs: Millis;
  /** 32 secret bytes for address validation tokens; random by default, so tokens die with the process. */
  readonly tokenKey?: Uint8Array;
  /** 16 secret bytes for stateless reset tokens; random by default. */
  readonly resetKey?: Uint8Array;
  /** Send NEW_TOKEN to clients. Off by default, as in upstream's build. */
  readonly issueValidationTokens?: boolean;
  readonly qlog?: QlogFactory | undefined;
}

/** What the endpoint keeps about a connection. */
class Entry implements HeapItem {
  readonly connection: HostedConnection;
  heapIndex = -1;
  deadline: Millis = 0;
  isReady = false;
  isTouched = false;
  /** Key in the table of initial destination cids, until the handshake is confirmed. */
  initialRoute: string | undefined;

  constructor(connection: HostedConnection) {
    this.connection = connection;
  }
}

interface Route {
  readonly cid: Uint8Array;
  readonly connection: HostedConnection;
}

/** All connections of an endpoint. */
export class QuicEndpoint implements QuicEngine, ConnectionHost {
  readonly capabilities: EngineCapabilities = {
    multipath: true,
    natTraversal: true,
    addressDiscovery: true,
    rawPublicKeys: true,
    migration: true,
    exporter: true,
    virtualTime: true,
  };
  readonly rng: Rng;
  readonly #wallOffsetMs: Millis;
  readonly #resetTokens: ResetTokens;
  readonly #tokens: TokenSealer;
  readonly #issueValidationTokens: boolean;
  readonly #tokenStore = new TokenStore();
  readonly #buffer = new TransmitBuffer();
  readonly #qlog: QlogFactory | undefined;

  readonly #entries = new Map<HostedConnection, Entry>();
  /** Our connection ids, by their first six bytes. */
  readonly #routes = new Map<number, Route>();
  /** Destination cids that clients chose, in hex: of undecided attempts, and of handshakes. */
  readonly #initialRoutes = new Map<string, PendingIncoming | HostedConnection>();
  /** Stateless reset tokens of peers, by {@link resetKey}. */
  readonly #peerResets = new Map<string, HostedConnection>();
  readonly #deadlines = new DeadlineHeap<Entry>();
  #ready: Entry[] = [];
  #readyNext: Entry[] = [];
  readonly #touched: Entry[] = [];
  readonly #stateless: Transmit[] = [];
  #events: EngineEvent[] = [];
  #eventHead = 0;
  #server: ServerConfig | undefined;
  #pendingCount = 0;
  #pendingBytes = 0;
  #isClosed = false;
  #lastResetAt: Millis = -Infinity;
  #nextStableId = 1;

  constructor(options: QuicEndpointOptions) {
    this.rng = options.rng;
    this.#wallOffsetMs = options.wallOffsetMs;
    this.#tokens = new TokenSealer(options.tokenKey ?? randomBytes(options.rng, 32), options.rng);
    this.#resetTokens = new ResetTokens(options.resetKey ?? randomBytes(options.rng, 16));
    this.#issueValidationTokens = options.issueValidationTokens ?? false;
    this.#qlog = options.qlog;
  }

  // --- connections and attempts ---------------------------------------------------------------------------------------

  connect(to: FourTuple, serverName: string, config: ClientConfig, now: Millis): QuicConnection {
    const connection = createClientConnection({
      host: this,
      stableId: this.#nextStableId++,
      tuple: to,
      transport: config.transport,
      now,
      tls: config.tls,
      serverName,
      token: this.#tokenStore.take(serverName),
      qlog: this.#qlog,
    });
    return connection;
  }

  setServerConfig(config: ServerConfig | undefined): void {
    this.#server = config;
  }

  accept(incoming: IncomingRef, now: Millis): QuicConnection {
    const pending = this.#decide(incoming);
    const server = this.#server;
    const idle = server?.transport.maxIdleTimeoutMs ?? 0;
    if (server === undefined || (idle > 0 && now - pending.receivedAt > idle)) {
      this.#closeAttempt(pending, new TransportError('CONNECTION_REFUSED', ''));
      throw new TransportError(
        'CONNECTION_REFUSED',
        'the attempt waited too long, or nothing is accepted any more',
      );
    }
    const connection = createServerConnection({
      host: this,
      stableId: this.#nextStableId++,
      tuple: { remote: pending.remote, local: pending.local },
      transport: server.transport,
      now,
      tls: server.tls,
      initialDcid: pending.dcid,
      initialKeys: pending.keys,
      retry: pending.retry,
      clientCid: pending.scid,
      remoteValidated: pending.remoteValidated,
      qlog: this.#qlog,
    });
    const entry = this.#entryOf(connection);
    entry.initialRoute = pending.route;
    // Until the handshake is confirmed the client may still use the id that it made up.
    this.#initialRoutes.set(pending.route, connection);
    for (const datagram of pending.datagrams) connection.handleDatagram(datagram, now);
    connection.endBurst(now);
    return connection;
  }

  refuse(incoming: IncomingRef, now: Millis): void {
    void now;
    this.#closeAttempt(this.#decide(incoming), new TransportError('CONNECTION_REFUSED', ''));
  }

  retry(incoming: IncomingRef, now: Millis): boolean {
    if (incoming.remoteValidated) return false;
    const pending = this.#decide(incoming);
    const scid = randomBytes(this.rng, LOCAL_CID_LENGTH);
    const token = this.#tokens.sealRetry(pending.remote, pending.dcid, this.wallTime(now));
    this.#sendStateless(pending, encodeRetry(pending.scid, scid, pending.dcid, token, this.rng));
    return true;
  }

  ignore(incoming: IncomingRef): void {
    this.#decide(incoming);
  }

  /** Takes an attempt out of the books. @throws {Error} when it was decided before. */
  #decide(incoming: IncomingRef): PendingIncoming {
    if (!(incoming instanceof PendingIncoming) || incoming.isDecided) {
      throw new Error('the incoming connection was decided before');
    }
    incoming.isDecided = true;
    this.#pendingCount--;
    this.#pendingBytes -= incoming.bytes;
    if (this.#initialRoutes.get(incoming.route) === incoming) this.#initialRoutes.delete(incoming.route);
    return incoming;
  }

  #closeAttempt(pending: PendingIncoming, error: TransportError): void {
    const scid = randomBytes(this.rng, LOCAL_CID_LENGTH);
    this.#sendStateless(pending, encodeInitialClose(pending.keys.write, pending.scid, scid, error));
  }

  // --- input --------------------------------------------------------------------------------------------------------------

  handleDatagrams(batch: readonly Datagram[], now: Millis): void {
    for (let i = 0; i < batch.length; i++) this.#route(batch[i]!, now);
    const touched = this.#touched;
    for (let i = 0; i < touched.length; i++) {
      const entry = touched[i]!;
      entry.isTouched = false;
      entry.connection.endBurst(now);
    }
    touched.length = 0;
  }

  #deliver(connection: HostedConnection, datagram: Datagram, now: Millis): void {
    connection.handleDatagram(datagram, now);
    const entry = this.#entries.get(connection);
    if (entry === undefined || entry.isTouched) return;
    entry.isTouched = true;
    this.#touched.push(entry);
  }

  #route(datagram: Datagram, now: Millis): void {
    const { data } = datagram;
    if (data.length === 0) return;
    if ((data[0]! & 0x80) !== 0) return this.#routeLong(datagram, now);
    // A zero fixed bit marks what is not QUIC (RFC 9000 §17.3.1); we never negotiate its greasing.
    if ((data[0]! & FIXED_BIT) === 0 || data.length < 1 + LOCAL_CID_LENGTH) return;
    const route = this.#findRoute(data, 1);
    if (route !== undefined) return this.#deliver(route, datagram, now);
    const reset = this.#peerResets.get(resetKey(data.subarray(data.length - 16), datagram.from));
    if (reset !== undefined) return reset.handleStatelessReset(now);
    this.#answerWithReset(datagram, now);
  }

  #findRoute(bytes: Uint8Array, at: number): HostedConnection | undefined {
    const route = this.#routes.get(cidKey(bytes, at));
    if (route === undefined) return undefined;
    const { cid } = route;
    // The key is six bytes; the rest must match as well.
    return cid[6] === bytes[at + 6] && cid[7] === bytes[at + 7] ? route.connection : undefined;
  }

  #routeLong(datagram: Datagram, now: Millis): void {
    const { data } = datagram;
    const invariant = decodeInvariantHeader(data);
    if (invariant === undefined) return;
    if (invariant.dcid.length === LOCAL_CID_LENGTH) {
      const connection = this.#findRoute(invariant.dcid, 0);
      if (connection !== undefined) return this.#deliver(connection, datagram, now);
    }
    const route = toHex(invariant.dcid);
    const known = this.#initialRoutes.get(route);
    if (known instanceof PendingIncoming) {
      if (this.#pendingBytes + data.length <= MAX_INCOMING_TOTAL_BYTES && known.push(datagram)) {
        this.#pendingBytes += data.length;
      }
      return;
    }
    if (known !== undefined) return this.#deliver(known, datagram, now);
    if (data.length < MIN_INITIAL_DATAGRAM_BYTES) return;
    if (invariant.version !== QUIC_VERSION_1) {
      // RFC 9000 §6.1; never in answer to a Version Negotiation packet itself.
      if (invariant.version !== 0) {
        this.#sendStateless(
          { remote: datagram.from, local: datagram.local },
          encodeVersionNegotiation(invariant.dcid, invariant.scid, this.rng),
        );
      }
      return;
    }
    this.#handleFirstInitial(datagram, route, now);
  }

  #handleFirstInitial(datagram: Datagram, route: string, now: Millis): void {
    const header = decodeLongHeader(datagram.data, 0, datagram.data.length);
    if (header === undefined || header.type !== 'initial') return;
    const keys = PacketKeys.initial(header.dcid, 'server');
    if (header.dcid.length < MIN_INITIAL_DCID_BYTES) {
      const error = new TransportError('PROTOCOL_VIOLATION', 'invalid destination CID length');
      const scid = randomBytes(this.rng, LOCAL_CID_LENGTH);
      this.#sendStateless(
        { remote: datagram.from, local: datagram.local },
        encodeInitialClose(keys.write, header.scid, scid, error),
      );
      return;
    }
    const payload = openFirstInitial(datagram, header, keys.read);
    // What does not authenticate gets no state and no answer.
    if (payload === undefined) return;
    const proof = this.#checkToken(header.token, header.dcid, datagram.from, now);
    const pending = new PendingIncoming(
      datagram,
      header,
      route,
      keys,
      payload,
      proof ?? { validated: false, retry: undefined },
      now,
    );
    if (proof === undefined) return this.#closeAttempt(pending, new TransportError('INVALID_TOKEN', ''));
    if (this.#server === undefined || this.#isClosed) {
      return this.#closeAttempt(pending, new TransportError('CONNECTION_REFUSED', ''));
    }
    // Overload: silence, the client tries again (noq 1.1 does the same).
    if (this.#pendingCount >= MAX_INCOMING || !pending.push(datagram)) return;
    this.#pendingCount++;
    this.#pendingBytes += pending.bytes;
    this.#initialRoutes.set(route, pending);
    this.#events.push({ type: 'incoming', incoming: pending });
  }

  /**
   * What a client's token proves. Undefined: a Retry token that does not fit, which RFC 9000 §8.1.2 answers with
   * INVALID_TOKEN. Foreign or unreadable ones are as good as none.
   */
  #checkToken(
    bytes: Uint8Array,
    dcid: Uint8Array,
    remote: Addr,
    now: Millis,
  ): { readonly validated: boolean; readonly retry: RetryProof | undefined } | undefined {
    const token = bytes.length === 0 ? undefined : this.#tokens.open(bytes);
    const wallNow = this.wallTime(now);
    if (token === undefined) return { validated: false, retry: undefined };
    if (token.type === 'validation') {
      const validated =
        token.ip === remote.ip && isFresh(token.issuedAt, VALIDATION_TOKEN_LIFETIME_MS, wallNow);
      return { validated, retry: undefined };
    }
    if (token.remote !== remote || !isFresh(token.issuedAt, RETRY_TOKEN_LIFETIME_MS, wallNow))
      return undefined;
    return { validated: true, retry: { originalDcid: token.originalDcid, retryScid: dcid.slice() } };
  }

  #answerWithReset(datagram: Datagram, now: Millis): void {
    // RFC 9000 §10.3: rate-limited, so that nobody can be flooded through us.
    if (now - this.#lastResetAt < STATELESS_RESET_INTERVAL_MS) return;
    const reset = encodeStatelessReset(
      this.#resetTokens.of(datagram.data, 1),
      datagram.data.length,
      this.rng,
    );
    if (reset === undefined) return;
    this.#lastResetAt = now;
    this.#sendStateless({ remote: datagram.from, local: datagram.local }, reset);
  }

  #sendStateless(to: { readonly remote: Addr; readonly local: Addr | undefined }, data: Uint8Array): void {
    if (this.#stateless.length < MAX_STATELESS_TRANSMITS) {
      this.#stateless.push({ to: to.remote, local: to.local, data });
    }
  }

  handleTimeout(now: Millis): void {
    // All due ones first: what they re-arm belongs to the next call.
    const due: Entry[] = [];
    for (let entry = this.#deadlines.popDue(now); entry; entry = this.#deadlines.popDue(now)) due.push(entry);
    for (const entry of due) entry.connection.handleTimeout(now);
  }

  handleNetworkChange(hint: NetworkChangeHint | undefined, now: Millis): void {
    for (const { connection } of [...this.#entries.values()]) connection.handleNetworkChange(hint, now);
  }

  close(code: bigint, reason: Uint8Array, now: Millis): void {
    this.#isClosed = true;
    for (const pending of [...this.#initialRoutes.values()]) {
      if (pending instanceof PendingIncoming) this.refuse(pending, now);
    }
    for (const { connection } of [...this.#entries.values()]) connection.close(code, reason, now);
  }

  // --- output -------------------------------------------------------------------------------------------------------------

  pollTransmits(out: Transmit[], max: number, now: Millis): number {
    let count = 0;
    while (count < max && this.#stateless.length > 0) {
      out.push(this.#stateless.shift()!);
      count++;
    }
    while (count < max) {
      if (this.#ready.length === 0) {
        if (this.#readyNext.length === 0) break;
        // Reversed once, so that taking from the front is a pop.
        this.#ready = this.#readyNext.reverse();
        this.#readyNext = [];
      }
      const entry = this.#ready.pop()!;
      entry.isReady = false;
      const quota = Math.min(TRANSMITS_PER_TURN, max - count);
      const sent = entry.connection.pollTransmits(out, quota, now);
      count += sent;
      // It may have more: back to the end of the line.
      if (sent === quota) this.wantsTransmit(entry.connection);
    }
    return count;
  }

  releaseTransmits(): void {
    this.#buffer.release();
  }

  pollTimeout(): Millis | undefined {
    return this.#deadlines.peekDeadline();
  }

  pollEvent(): EngineEvent | undefined {
    const event = this.#events[this.#eventHead];
    if (event === undefined) {
      if (this.#eventHead > 0) {
        this.#events = [];
        this.#eventHead = 0;
      }
      return undefined;
    }
    this.#eventHead++;
    return event;
  }

  get connectionCount(): number {
    return this.#entries.size;
  }

  get undrainedCount(): number {
    let count = 0;
    for (const { connection } of this.#entries.values()) if (!connection.isDraining) count++;
    return count;
  }

  /** Sizes of the tables, for tests of what is left behind. */
  get tableSizes(): Readonly<Record<string, number>> {
    return {
      connections: this.#entries.size,
      cids: this.#routes.size,
      initialRoutes: this.#initialRoutes.size,
      resetTokens: this.#peerResets.size,
      deadlines: this.#deadlines.size,
      pendingIncomings: this.#pendingCount,
      pendingBytes: this.#pendingBytes,
    };
  }

  // --- for connections ------------------------------------------------------------------------------------------------------

  #entryOf(connection: HostedConnection): Entry {
    let entry = this.#entries.get(connection);
    if (entry === undefined) {
      entry = new Entry(connection);
      this.#entries.set(connection, entry);
    }
    return entry;
  }

  wallTime(now: Millis): Millis {
    return now + this.#wallOffsetMs;
  }

  issueCid(connection: HostedConnection): IssuedCid {
    let cid = randomBytes(this.rng, LOCAL_CID_LENGTH);
    // Six of the eight bytes are the key, so they must be unique.
    while (this.#routes.has(cidKey(cid, 0))) cid = randomBytes(this.rng, LOCAL_CID_LENGTH);
    this.#routes.set(cidKey(cid, 0), { cid, connection });
    return { cid, resetToken: this.#resetTokens.of(cid) };
  }

  retireCid(cid: Uint8Array): void {
    this.#routes.delete(cidKey(cid, 0));
  }

  addResetToken(token: Uint8Array, remote: Addr, connection: HostedConnection): void {
    this.#peerResets.set(resetKey(token, remote), connection);
  }

  removeResetToken(token: Uint8Array, remote: Addr): void {
    this.#peerResets.delete(resetKey(token, remote));
  }

  newToken(remote: Addr, now: Millis): Uint8Array | undefined {
    return this.#issueValidationTokens ? this.#tokens.sealValidation(remote, this.wallTime(now)) : undefined;
  }

  storeToken(serverName: string, token: Uint8Array): void {
    this.#tokenStore.put(serverName, token);
  }

  emit(connection: HostedConnection, event: ConnectionEvent): void {
    if (event.type === 'handshakeConfirmed') this.#forgetInitialRoute(this.#entries.get(connection));
    this.#events.push({ type: 'connection', connection, event });
  }

  wantsTransmit(connection: HostedConnection): void {
    const entry = this.#entryOf(connection);
    if (entry.isReady) return;
    entry.isReady = true;
    this.#readyNext.push(entry);
  }

  setDeadline(connection: HostedConnection, deadline: Millis | undefined): void {
    this.#deadlines.set(this.#entryOf(connection), deadline);
  }

  drained(connection: HostedConnection): void {
    const entry = this.#entries.get(connection);
    if (entry === undefined) return;
    this.#deadlines.set(entry, undefined);
    this.#forgetInitialRoute(entry);
    this.#entries.delete(connection);
    if (entry.isReady) {
      this.#ready = this.#ready.filter((each) => each !== entry);
      this.#readyNext = this.#readyNext.filter((each) => each !== entry);
    }
  }

  #forgetInitialRoute(entry: Entry | undefined): void {
    if (entry?.initialRoute === undefined) return;
    if (this.#initialRoutes.get(entry.initialRoute) === entry.connection) {
      this.#initialRoutes.delete(entry.initialRoute);
    }
    entry.initialRoute = undefined;
  }

  allocate(size: number): { readonly bytes: Uint8Array; readonly start: number } {
    return this.#buffer.allocate(size);
  }

  shrink(used: number): void {
    this.#buffer.shrink(used);
  }
}

function resetKey(token: Uint8Array, remote: Addr): string {
  return `${toHex(token)}@${remote.text}`;
}
