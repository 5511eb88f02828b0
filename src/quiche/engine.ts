/**
 * The quiche engine of one endpoint: datagrams to connections, connection attempts, and the queues that all connections share.
 *
 * Attempts, address validation tokens, stateless answers and the memory for datagrams are those of our own engine; quiche comes
 * in once an attempt is accepted.
 *
 * @module
 */
import { equalBytes, toHex, toLatin1 } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';
import { randomBytes, type Rng } from '../base/rng.ts';
import { LOCAL_CID_LENGTH } from '../quic/connection-host.ts';
import { DeadlineHeap } from '../quic/deadline-heap.ts';
import type {
  ClientConfig,
  ConnectionEvent,
  Datagram,
  EngineCapabilities,
  EngineEvent,
  EngineOptions,
  FourTuple,
  IncomingRef,
  NetworkChangeHint,
  QuicConnection,
  QuicEngine,
  ServerConfig,
  Transmit,
} from '../quic/engine.ts';
import { EventQueue } from '../quic/event-queue.ts';
import { IncomingTable } from '../quic/incoming-table.ts';
import {
  MAX_INCOMING,
  MAX_INCOMING_BUFFER_BYTES,
  MAX_INCOMING_TOTAL_BYTES,
  PendingIncoming,
} from '../quic/incoming.ts';
import { SendTurns, TRANSMITS_PER_TURN } from '../quic/send-turns.ts';
import { ResetTokens, StatelessAnswers } from '../quic/stateless.ts';
import { TokenSealer } from '../quic/tokens.ts';
import { TransmitBuffer } from '../quic/transmit-buffer.ts';
import { TransportError } from '../quic/transport-error.ts';
import { decodeInvariantHeader, FIXED_BIT } from '../quic/wire/packet.ts';
import { NO_APPLICATION_PROTOCOL } from './close.ts';
import { QuicheConnection } from './connection.ts';
import type { QuicheHost } from './host.ts';
import { endpointIdentity } from './identity.ts';
import { NativeConfigs } from './native-config.ts';
import { failureOf, type Connection, type Quiche } from './native.ts';
import { FIRST_PEER, LOCAL } from './places.ts';
import { Sessions } from './sessions.ts';

/** The smallest datagram that can be a stateless reset (RFC 9000 §10.3). */
const MIN_RESET_BYTES = 21;
/** Clients that are asked whether a datagram is their stateless reset. */
const MAX_RESET_TARGETS = 8;
/** AES-256, HMAC and name of a ticket key in BoringSSL. */
const TICKET_KEY_BYTES = 48;

/** All connections of an endpoint. */
export class QuicheEndpoint implements QuicEngine, QuicheHost {
  readonly capabilities: EngineCapabilities = {
    multipath: false,
    natTraversal: false,
    addressDiscovery: false,
    rawPublicKeys: false,
    migration: true,
    exporter: false,
    virtualTime: false,
  };
  readonly #quiche: Quiche;
  readonly #rng: Rng;
  readonly #wallOffsetMs: Millis;
  readonly #configs: NativeConfigs;
  readonly #sessions = new Sessions();
  readonly #resetTokens: ResetTokens;
  readonly #answers: StatelessAnswers;
  readonly #incoming: IncomingTable<QuicheConnection>;
  readonly #buffer = new TransmitBuffer();
  readonly #connections = new Set<QuicheConnection>();
  /** By the first six bytes of the connection ids that we gave out. */
  readonly #cids = new Map<number, QuicheConnection>();
  /** Clients by the address that they send to. */
  readonly #clients = new Map<Addr, Set<QuicheConnection>>();
  readonly #deadlines = new DeadlineHeap<QuicheConnection>();
  readonly #turns = new SendTurns<QuicheConnection>();
  /** Their deadlines may have changed. */
  readonly #stale = new Set<QuicheConnection>();
  readonly #touched: QuicheConnection[] = [];
  readonly #events = new EventQueue();
  #server: ServerConfig | undefined;
  #isClosed = false;
  #nextStableId = 1;
  #now: Millis = 0;

  /** @param quiche - The native binding. */
  constructor(quiche: Quiche, { rng, wallOffsetMs, secretKey }: EngineOptions) {
    this.#quiche = quiche;
    this.#rng = rng;
    this.#wallOffsetMs = wallOffsetMs;
    const identity = endpointIdentity(secretKey, rng, wallOffsetMs);
    this.#configs = new NativeConfigs(quiche, identity, randomBytes(rng, TICKET_KEY_BYTES));
    this.#resetTokens = new ResetTokens(randomBytes(rng, 32));
    this.#answers = new StatelessAnswers(this.#resetTokens, rng);
    const limits = {
      maxIncoming: MAX_INCOMING,
      maxBytesEach: MAX_INCOMING_BUFFER_BYTES,
      maxBytesTotal: MAX_INCOMING_TOTAL_BYTES,
    };
    const tokens = new TokenSealer(randomBytes(rng, 32), rng);
    this.#incoming = new IncomingTable(this.#answers, tokens, limits, rng);
  }

  // --- connections and attempts ---------------------------------------------------------------------------------------

  connect(to: FourTuple, serverName: string, { tls, transport }: ClientConfig, now: Millis): QuicConnection {
    this.#now = now;
    const { alpns, earlyData } = tls;
    const config = this.#configs.get({ side: 'client', transport, alpns, earlyData, wantsPeer: true });
    const cid = this.#newCid();
    const native = this.#quiche.Connection.connect(tls.sni ?? null, cid, LOCAL, FIRST_PEER, config);
    const connection = new QuicheConnection({
      host: this,
      native,
      side: 'client',
      stableId: this.#nextStableId++,
      tuple: to,
      transport,
      serverName,
      wantsPeer: true,
      now,
    });
    this.#add(connection, cid);
    const session = tls.tickets === undefined ? undefined : this.#sessions.take(serverName);
    if (session !== undefined) connection.startEarly(session);
    return connection;
  }

  setServerConfig(config: ServerConfig | undefined): void {
    this.#server = config;
  }

  accept(incoming: IncomingRef, now: Millis): QuicConnection {
    this.#now = now;
    const offered = incoming.offeredAlpns;
    const server = this.#isClosed ? undefined : this.#server;
    const pending = this.#incoming.accept(incoming, server, now);
    const { tls, transport } = server!;
    // quiche would follow the client's order. Where the offer cannot be read yet, it does.
    const alpn = offered && tls.alpns.find((each) => offered.some((other) => equalBytes(each, other)));
    if (offered !== undefined && alpn === undefined) {
      const error = new TransportError({ alert: NO_APPLICATION_PROTOCOL }, 'no common application protocol');
      this.#answers.pushClose(pending.remote, pending.local, pending.keys!.write, pending.scid, error);
      pending.release();
      throw error;
    }
    const wantsPeer = tls.clientAuth === 'required';
    const { retry } = pending;
    // After a Retry quiche's id has to be the one that the Retry gave (RFC 9000 §7.3).
    const cid = retry === undefined ? this.#newCid() : pending.dcid;
    let native: Connection;
    try {
      const config = this.#configs.get({
        side: 'server',
        transport,
        alpns: alpn === undefined ? tls.alpns : [alpn],
        earlyData: tls.acceptEarlyData,
        wantsPeer,
      });
      config.setStatelessResetToken(this.resetTokenOf(cid));
      const original = retry?.originalDcid ?? null;
      native = this.#quiche.Connection.accept(cid, original, LOCAL, FIRST_PEER, config);
    } catch (error) {
      this.#incoming.refuse(pending);
      throw new TransportError('INTERNAL_ERROR', failureOf(error).name, { cause: error });
    }
    const connection = new QuicheConnection({
      host: this,
      native,
      side: 'server',
      stableId: this.#nextStableId++,
      tuple: { remote: pending.remote, local: pending.local },
      transport,
      serverName: undefined,
      wantsPeer,
      now,
    });
    this.#add(connection, cid);
    connection.route = pending.route;
    this.#incoming.adopt(pending.route, connection);
    guard(connection, () => {
      for (const datagram of pending.datagrams) connection.handleDatagram(datagram, now);
      connection.endBurst(now);
    });
    pending.release();
    return connection;
  }

  refuse(incoming: IncomingRef, now: Millis): void {
    this.#now = now;
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
    this.#now = now;
    for (let i = 0; i < batch.length; i++) this.#route(batch[i]!, now);
    const touched = this.#touched;
    for (let i = 0; i < touched.length; i++) {
      const connection = touched[i]!;
      connection.isTouched = false;
      guard(connection, () => connection.endBurst(now));
    }
    touched.length = 0;
  }

  #deliver(connection: QuicheConnection, datagram: Datagram, now: Millis): void {
    try {
      connection.handleDatagram(datagram, now);
    } catch (error) {
      connection.onDefect(error);
    }
    if (connection.isTouched) return;
    connection.isTouched = true;
    this.#touched.push(connection);
  }

  #route(datagram: Datagram, now: Millis): void {
    const { data } = datagram;
    if (data.length === 0) return;
    if ((data[0]! & 0x80) !== 0) return this.#routeLong(datagram, now);
    if ((data[0]! & FIXED_BIT) === 0 || data.length < MIN_RESET_BYTES) return;
    const connection = this.#cids.get(cidKey(data, 1));
    if (connection !== undefined) this.#deliver(connection, datagram, now);
    else if (!this.#deliverReset(datagram, now)) this.#answers.pushReset(datagram, now);
  }

  /** A stateless reset carries no id of ours: all clients of its sender may be meant. Returns whether there are any. */
  #deliverReset(datagram: Datagram, now: Millis): boolean {
    const clients = this.#clients.get(datagram.from);
    if (clients === undefined) return false;
    let left = MAX_RESET_TARGETS;
    for (const connection of clients) {
      if (connection.isDraining) continue;
      if (left-- === 0) break;
      // quiche decrypts in place.
      this.#deliver(connection, { ...datagram, data: datagram.data.slice() }, now);
    }
    return left < MAX_RESET_TARGETS;
  }

  #routeLong(datagram: Datagram, now: Millis): void {
    const { data } = datagram;
    const invariant = decodeInvariantHeader(data);
    if (invariant === undefined) return;
    if (invariant.dcid.length === LOCAL_CID_LENGTH) {
      const found = this.#cids.get(cidKey(invariant.dcid, 0));
      if (found !== undefined) return this.#deliver(found, datagram, now);
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
    this.#now = now;
    const due: QuicheConnection[] = [];
    for (let each = this.#deadlines.popDue(now); each; each = this.#deadlines.popDue(now)) due.push(each);
    for (const connection of due) guard(connection, () => connection.handleTimeout(now));
  }

  handleNetworkChange(hint: NetworkChangeHint | undefined, now: Millis): void {
    this.#now = now;
    for (const connection of [...this.#connections])
      guard(connection, () => connection.handleNetworkChange(hint, now));
  }

  close(code: bigint, reason: Uint8Array, now: Millis): void {
    this.#now = now;
    this.#isClosed = true;
    for (const pending of this.#incoming.undecided()) this.refuse(pending, now);
    for (const connection of [...this.#connections])
      guard(connection, () => connection.close(code, reason, now));
  }

  // --- output -------------------------------------------------------------------------------------------------------------

  pollTransmits(out: Transmit[], max: number, now: Millis): number {
    this.#now = now;
    let count = this.#answers.take(out, max);
    while (count < max) {
      const connection = this.#turns.take();
      if (connection === undefined) break;
      const quota = Math.min(TRANSMITS_PER_TURN, max - count);
      // Still marked as ready: what it does meanwhile gives it no other turn, or there might be no end of them.
      const before = out.length;
      guard(connection, () => void connection.pollTransmits(out, quota, now));
      const sent = out.length - before;
      connection.isReady = false;
      count += sent;
      if (sent === quota) this.touch(connection);
    }
    return count;
  }

  releaseTransmits(): void {
    this.#buffer.release();
  }

  pollTimeout(): Millis | undefined {
    for (const connection of this.#stale) {
      if (!connection.isDrained) this.#deadlines.set(connection, connection.nextDeadline(this.#now));
    }
    this.#stale.clear();
    return this.#deadlines.peekDeadline();
  }

  pollEvent(): EngineEvent | undefined {
    return this.#events.poll();
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  get undrainedCount(): number {
    let count = 0;
    for (const connection of this.#connections) if (!connection.isDraining) count++;
    return count;
  }

  /** Sizes of the tables, for tests of what is left behind. */
  get tableSizes(): Readonly<Record<string, number>> {
    return {
      connections: this.#connections.size,
      cids: this.#cids.size,
      initialRoutes: this.#incoming.size,
      deadlines: this.#deadlines.size,
      pendingIncomings: this.#incoming.pendingCount,
      pendingBytes: this.#incoming.pendingBytes,
    };
  }

  // --- for connections ------------------------------------------------------------------------------------------------------

  wallTime(now: Millis): Millis {
    return now + this.#wallOffsetMs;
  }

  #add(connection: QuicheConnection, cid: Uint8Array): void {
    this.#connections.add(connection);
    this.#own(connection, cid);
    this.touch(connection);
  }

  #newCid(): Uint8Array {
    for (;;) {
      const cid = randomBytes(this.#rng, LOCAL_CID_LENGTH);
      if (!this.#cids.has(cidKey(cid, 0))) return cid;
    }
  }

  #own(connection: QuicheConnection, cid: Uint8Array): void {
    const key = cidKey(cid, 0);
    this.#cids.set(key, connection);
    connection.cids.add(key);
  }

  issueCid(connection: QuicheConnection): Uint8Array {
    const cid = this.#newCid();
    this.#own(connection, cid);
    return cid;
  }

  retireCid(connection: QuicheConnection, cid: Uint8Array): void {
    const key = cidKey(cid, 0);
    if (connection.cids.delete(key)) this.#cids.delete(key);
  }

  resetTokenOf(cid: Uint8Array): bigint {
    return BigInt(`0x${toHex(this.#resetTokens.of(cid))}`);
  }

  saveSession({ serverName }: QuicheConnection, session: Uint8Array): void {
    if (serverName !== undefined) this.#sessions.put(serverName, session);
  }

  emit(connection: QuicheConnection, event: ConnectionEvent): void {
    this.#events.push({ type: 'connection', connection, event });
  }

  touch(connection: QuicheConnection): void {
    this.#stale.add(connection);
    if (connection.side === 'client' && connection.indexed !== connection.remote && !connection.isDrained)
      this.#index(connection, connection.remote);
    if (!connection.isDrained) this.#turns.add(connection);
  }

  #index(connection: QuicheConnection, remote: Addr | undefined): void {
    const { indexed } = connection;
    const old = indexed && this.#clients.get(indexed);
    if (old?.delete(connection) === true && old.size === 0) this.#clients.delete(indexed!);
    connection.indexed = remote;
    if (remote === undefined) return;
    const clients = this.#clients.get(remote) ?? new Set();
    this.#clients.set(remote, clients.add(connection));
  }

  drained(connection: QuicheConnection): void {
    this.#index(connection, undefined);
    this.#deadlines.set(connection, undefined);
    this.#connections.delete(connection);
    this.#stale.delete(connection);
    if (connection.route !== undefined) this.#incoming.release(connection.route, connection);
    for (const key of connection.cids) this.#cids.delete(key);
  }

  allocate(size: number): { readonly bytes: Uint8Array; readonly start: number } {
    return this.#buffer.allocate(size);
  }

  shrink(used: number): void {
    this.#buffer.shrink(used);
  }
}

/** Defects, ours or quiche's, end one connection and no other. */
function guard(connection: QuicheConnection, act: () => void): void {
  try {
    act();
  } catch (error) {
    connection.onDefect(error);
  }
}

/** A connection id of ours as a number: six of its bytes tell it from all others. */
function cidKey(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at]! * 256 + bytes[at + 1]!) * 2 ** 32 +
    (bytes[at + 2]! * 2 ** 24 + bytes[at + 3]! * 2 ** 16 + bytes[at + 4]! * 256 + bytes[at + 5]!)
  );
}
