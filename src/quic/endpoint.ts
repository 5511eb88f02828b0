/**
 * The engine of one endpoint: datagrams to connections, connection attempts, stateless answers, and the queues that all
 * connections share (RFC 9000 §5.2, §6, §8.1, §10.3; noq `noq-proto/src/endpoint.rs`).
 *
 * @module
 */
import { toLatin1 } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { LazySet } from '../base/lazy-collections.ts';
import { randomBytes, type Rng } from '../base/rng.ts';
import type { Addr } from '../base/socket-addr.ts';
import { KeyPairs } from '../tls/key-pairs.ts';
import { CidTable } from './cid-table.ts';
import { createClientConnection, createServerConnection } from './connection-beginning.ts';
import {
  LOCAL_CID_LENGTH,
  type ConnectionHost,
  type CidKey,
  type HostedConnection,
} from './connection-host.ts';
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
  PathId,
  QuicConnection,
  QuicEngine,
  ServerConfig,
  Transmit,
} from './engine.ts';
import { EventQueue } from './event-queue.ts';
import { IncomingTable } from './incoming-table.ts';
import {
  MAX_INCOMING,
  MAX_INCOMING_BUFFER_BYTES,
  MAX_INCOMING_TOTAL_BYTES,
  PendingIncoming,
} from './incoming.ts';
import type { QlogFactory } from './qlog.ts';
import { SendTurns, TRANSMITS_PER_TURN } from './send-turns.ts';
import { ResetTokens, StatelessAnswers } from './stateless.ts';
import { TokenStore } from './token-store.ts';
import { TokenSealer } from './tokens.ts';
import { TransmitBuffer } from './transmit-buffer.ts';
import { decodeInvariantHeader, FIXED_BIT } from './wire/packet.ts';

/** The smallest datagram that can be a stateless reset (RFC 9000 §10.3). */
const MIN_RESET_BYTES = 21;

/** What a {@link QuicEndpoint} is made with. */
export interface QuicEndpointOptions {
  readonly rng: Rng;
  /** Wall-clock ms since 1970 minus the monotonic clock's ms. */
  readonly wallOffsetMs: Millis;
  /** 32 secret bytes for address validation tokens; random by default, so tokens die with the process. */
  readonly tokenKey?: Uint8Array;
  /** 32 secret bytes for stateless reset tokens; random by default. */
  readonly resetKey?: Uint8Array;
  /** Send NEW_TOKEN to clients. Off by default, as in upstream's build. */
  readonly issueValidationTokens?: boolean;
  /** Undecided attempts at a time. */
  readonly maxIncoming?: number;
  /** Bytes kept for one undecided attempt, and for all of them. */
  readonly maxIncomingBufferBytes?: number;
  readonly maxIncomingTotalBytes?: number;
  readonly qlog?: QlogFactory | undefined;
}

/** What the endpoint keeps about a connection. */
class Entry implements HeapItem {
  readonly connection: HostedConnection;
  heapIndex = -1;
  deadline: Millis = 0;
  isReady = false;
  isTouched = false;
  isDrained = false;
  /** Server: key in the table of initial destination cids. */
  initialRoute: string | undefined;
  /** Keys in the table of stateless reset tokens. */
  readonly resetKeys = new LazySet<string>();

  constructor(connection: HostedConnection) {
    this.connection = connection;
  }
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
  readonly keyPairs: KeyPairs;
  readonly #wallOffsetMs: Millis;
  readonly #resetTokens: ResetTokens;
  readonly #tokens: TokenSealer;
  readonly #issueValidationTokens: boolean;
  readonly #answers: StatelessAnswers;
  readonly #incoming: IncomingTable<HostedConnection>;
  readonly #tokenStore = new TokenStore();
  readonly #buffer = new TransmitBuffer();
  readonly #qlog: QlogFactory | undefined;

  readonly #entries = new Map<HostedConnection, Entry>();
  readonly #cids: CidTable;
  /** Stateless reset tokens of peers, by {@link resetKey}. */
  readonly #peerResets = new Map<string, HostedConnection>();
  readonly #deadlines = new DeadlineHeap<Entry>();
  readonly #turns = new SendTurns<Entry>();
  readonly #touched: Entry[] = [];
  readonly #events = new EventQueue();
  #server: ServerConfig | undefined;
  #isClosed = false;
  #nextStableId = 1;

  constructor(options: QuicEndpointOptions) {
    this.rng = options.rng;
    this.keyPairs = new KeyPairs(options.rng);
    this.#cids = new CidTable(options.rng);
    this.#wallOffsetMs = options.wallOffsetMs;
    this.#tokens = new TokenSealer(options.tokenKey ?? randomBytes(options.rng, 32), options.rng);
    this.#resetTokens = new ResetTokens(options.resetKey ?? randomBytes(options.rng, 32));
    this.#issueValidationTokens = options.issueValidationTokens ?? false;
    this.#answers = new StatelessAnswers(this.#resetTokens, options.rng);
    const limits = {
      maxIncoming: options.maxIncoming ?? MAX_INCOMING,
      maxBytesEach: options.maxIncomingBufferBytes ?? MAX_INCOMING_BUFFER_BYTES,
      maxBytesTotal: options.maxIncomingTotalBytes ?? MAX_INCOMING_TOTAL_BYTES,
    };
    this.#incoming = new IncomingTable(this.#answers, this.#tokens, limits, options.rng);
    this.#qlog = options.qlog;
  }

  // --- connections and attempts ---------------------------------------------------------------------------------------

  connect(to: FourTuple, serverName: string, config: ClientConfig, now: Millis): QuicConnection {
    return createClientConnection({
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
  }

  setServerConfig(config: ServerConfig | undefined): void {
    this.#server = config;
  }

  accept(incoming: IncomingRef, now: Millis): QuicConnection {
    const server = this.#isClosed ? undefined : this.#server;
    const pending = this.#incoming.accept(incoming, server, now);
    const { transport, tls } = server!;
    const connection = createServerConnection({
      host: this,
      stableId: this.#nextStableId++,
      tuple: { remote: pending.remote, local: pending.local },
      transport,
      now,
      tls,
      initialDcid: pending.dcid,
      initialKeys: pending.keys!,
      retry: pending.retry,
      clientCid: pending.scid,
      remoteValidated: pending.remoteValidated,
      qlog: this.#qlog,
    });
    const entry = this.#entries.get(connection);
    if (entry !== undefined) {
      entry.initialRoute = pending.route;
      this.#incoming.adopt(pending.route, connection);
    }
    const { datagrams, first } = pending;
    for (let i = 0; i < datagrams.length; i++)
      connection.handleDatagram(datagrams[i]!, now, i === 0 ? first : undefined);
    pending.release();
    connection.endBurst(now);
    return connection;
  }

  refuse(incoming: IncomingRef, now: Millis): void {
    void now;
    this.#incoming.refuse(this.#incoming.decide(incoming));
  }

  retry(incoming: IncomingRef, now: Millis): boolean {
    if (incoming.remoteValidated) return false;
    this.#incoming.retry(this.#incoming.decide(incoming), this.wallTime(now));
    return true;
  }

  ignore(incoming: IncomingRef): void {
    this.#incoming.decide(incoming).release();
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
    if ((data[0]! & FIXED_BIT) === 0 || data.length < MIN_RESET_BYTES) return;
    const route = this.#cids.find(data, 1);
    if (route !== undefined) return this.#deliver(route.connection, datagram, now);
    if (this.#peerResets.size > 0) {
      const reset = this.#peerResets.get(resetKey(data.subarray(data.length - 16), datagram.from));
      if (reset !== undefined) return reset.handleStatelessReset(now);
    }
    this.#answers.pushReset(datagram, now);
  }

  #routeLong(datagram: Datagram, now: Millis): void {
    const { data } = datagram;
    const invariant = decodeInvariantHeader(data);
    if (invariant === undefined) return;
    if (invariant.dcid.length === LOCAL_CID_LENGTH) {
      const found = this.#cids.find(invariant.dcid, 0);
      if (found !== undefined) return this.#deliver(found.connection, datagram, now);
    }
    const route = toLatin1(invariant.dcid);
    const known = this.#incoming.find(route);
    if (known instanceof PendingIncoming) return this.#incoming.keep(known, datagram, invariant.version);
    if (known !== undefined) return this.#deliver(known, datagram, now);
    const isAccepting = this.#server !== undefined && !this.#isClosed;
    const wallNow = this.wallTime(now);
    const pending = this.#incoming.handleUnknown(datagram, invariant, route, isAccepting, wallNow, now);
    if (pending !== undefined) this.#events.push({ type: 'incoming', incoming: pending });
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
    for (const pending of this.#incoming.undecided()) this.refuse(pending, now);
    for (const { connection } of [...this.#entries.values()]) connection.close(code, reason, now);
  }

  // --- output -------------------------------------------------------------------------------------------------------------

  pollTransmits(out: Transmit[], max: number, now: Millis): number {
    let count = this.#answers.take(out, max);
    while (count < max) {
      const entry = this.#turns.take();
      if (entry === undefined) break;
      entry.isReady = false;
      if (entry.isDrained) continue;
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

  get isUnprepared(): boolean {
    return this.keyPairs.isUnprepared;
  }

  prepare(): void {
    this.keyPairs.prepare();
  }

  pollTimeout(): Millis | undefined {
    return this.#deadlines.peekDeadline();
  }

  pollEvent(): EngineEvent | undefined {
    return this.#events.poll();
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
      cids: this.#cids.size,
      initialRoutes: this.#incoming.size,
      resetTokens: this.#peerResets.size,
      deadlines: this.#deadlines.size,
      pendingIncomings: this.#incoming.pendingCount,
      pendingBytes: this.#incoming.pendingBytes,
    };
  }

  // --- for connections ------------------------------------------------------------------------------------------------------

  wallTime(now: Millis): Millis {
    return now + this.#wallOffsetMs;
  }

  issueCid(connection: HostedConnection, path: PathId): CidKey {
    // Its first id makes a connection known. Nothing else does, so that one that drained is not taken up again.
    if (!this.#entries.has(connection)) this.#entries.set(connection, new Entry(connection));
    return this.#cids.issue(connection, path);
  }

  retireCid(cid: CidKey): void {
    this.#cids.retire(cid);
  }

  cidBytes(cid: CidKey): Uint8Array {
    return this.#cids.bytes(cid);
  }

  resetTokenOf(cid: CidKey): Uint8Array {
    return this.#resetTokens.of(this.#cids.bytes(cid));
  }

  pathOfCid(bytes: Uint8Array, at: number, connection: HostedConnection): PathId | undefined {
    const route = this.#cids.find(bytes, at);
    return route?.connection === connection ? route.path : undefined;
  }

  addResetToken(token: Uint8Array, remote: Addr, connection: HostedConnection): void {
    const entry = this.#entries.get(connection);
    if (entry === undefined) return;
    const key = resetKey(token, remote);
    this.#peerResets.set(key, connection);
    entry.resetKeys.add(key);
  }

  removeResetToken(token: Uint8Array, remote: Addr): void {
    const key = resetKey(token, remote);
    const connection = this.#peerResets.get(key);
    if (connection === undefined) return;
    this.#peerResets.delete(key);
    this.#entries.get(connection)?.resetKeys.delete(key);
  }

  newToken(remote: Addr, now: Millis): Uint8Array | undefined {
    return this.#issueValidationTokens ? this.#tokens.sealValidation(remote, this.wallTime(now)) : undefined;
  }

  storeToken(serverName: string, token: Uint8Array): void {
    this.#tokenStore.put(serverName, token);
  }

  emit(connection: HostedConnection, event: ConnectionEvent): void {
    this.#events.push({ type: 'connection', connection, event });
  }

  wantsTransmit(connection: HostedConnection): void {
    const entry = this.#entries.get(connection);
    if (entry !== undefined) this.#turns.add(entry);
  }

  setDeadline(connection: HostedConnection, deadline: Millis | undefined): void {
    const entry = this.#entries.get(connection);
    if (entry !== undefined) this.#deadlines.set(entry, deadline);
  }

  drained(connection: HostedConnection): void {
    const entry = this.#entries.get(connection);
    if (entry === undefined) return;
    this.#deadlines.set(entry, undefined);
    this.#entries.delete(connection);
    // It may still wait for its turn to send; there it is skipped.
    entry.isDrained = true;
    if (entry.initialRoute !== undefined) this.#incoming.release(entry.initialRoute, connection);
    // A path that changed its address leaves tokens of the old one.
    for (const key of entry.resetKeys) {
      if (this.#peerResets.get(key) === connection) this.#peerResets.delete(key);
    }
  }

  allocate(size: number): { readonly bytes: Uint8Array; readonly start: number } {
    return this.#buffer.allocate(size);
  }

  shrink(used: number): void {
    this.#buffer.shrink(used);
  }
}

/** Kept for as long as the token counts: in hex it would be a chain of dozens of small strings. */
function resetKey(token: Uint8Array, remote: Addr): string {
  return `${toLatin1(token)}@${remote.text}`;
}
