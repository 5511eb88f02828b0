/**
 * One QUIC connection: puts its parts together and shows them as the calls of `engine.ts`.
 *
 * Nothing happens here but delegation; `connection-core.ts` names who owns what.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { PeerIdentity, TlsSession } from '../tls/session.ts';
import { ConnectionCore } from './connection-core.ts';
import type { ConnectionInit, HostedConnection } from './connection-host.ts';
import { CryptoLevels, type KeyPair } from './crypto-levels.ts';
import { Datagrams } from './datagrams.ts';
import { Deadlines } from './deadlines.ts';
import type {
  CloseReason,
  Datagram,
  Direction,
  FourTuple,
  NetworkChangeHint,
  PathId,
  PathInfo,
  PathStatus,
  Side,
  StreamId,
  Transmit,
} from './engine.ts';
import { FrameDispatch } from './frame-dispatch.ts';
import { Handshake, type HandshakeCids } from './handshake.ts';
import type { OpenedPacket } from './incoming.ts';
import { LossRecovery } from './loss-recovery.ts';
import { Multipath } from './multipath.ts';
import { FrameWriter } from './frame-writer.ts';
import { PacketBuilder } from './packet-builder.ts';
import { PacketReader } from './packet-reader.ts';
import { PacketWriter } from './packet-writer.ts';
import { RemoteCids, LocalCids } from './paths/cids.ts';
import { NatTraversalError } from './paths/nat-traversal.ts';
import { Qlog } from './qlog.ts';
import type { ConnectionStats, PathStats } from './stats.ts';
import { Streams } from './streams/streams.ts';

/** What client and server begin with, each in its own way; `connection-beginning.ts` makes it. */
export interface Beginning {
  readonly tls: TlsSession;
  readonly initialKeys: KeyPair;
  readonly remoteCid: Uint8Array;
  readonly cids: HandshakeCids;
  readonly validated: boolean;
}

/** One connection of either side. */
export class Connection implements HostedConnection {
  readonly stableId: number;
  readonly side: Side;
  readonly #core: ConnectionCore;
  readonly #recovery: LossRecovery;
  readonly #multipath: Multipath;
  readonly #handshake: Handshake;
  readonly #reader: PacketReader;
  readonly #builder: PacketBuilder;
  readonly #writer: PacketWriter;
  readonly #deadlines: Deadlines;

  constructor(side: Side, init: ConnectionInit, begin: (core: ConnectionCore) => Beginning) {
    const { host, stableId, transport: config, now, tuple, qlog } = init;
    this.stableId = stableId;
    this.side = side;
    const core = new ConnectionCore(host, side, stableId, config, now);
    this.#core = core;
    core.self = this;
    core.streams = new Streams({ side, ...config });
    core.datagrams = new Datagrams({
      receiveBufferSize: config.datagramReceiveBufferSize,
      sendBufferSize: config.datagramSendBufferSize,
    });
    const handshakeCid = core.issueCid(0);
    core.localHandshakeCid = host.cidBytes(handshakeCid).slice();
    core.localResetToken = host.resetTokenOf(handshakeCid).slice();

    const { tls, initialKeys, remoteCid, cids, validated } = begin(core);
    if (qlog !== undefined) {
      core.qlog = new Qlog(qlog, side, cids.originalDcid, tuple, now, host.wallTime(now));
    }
    const local = new LocalCids();
    local.addHandshakeCid(handshakeCid);
    core.cids.add(0, local, new RemoteCids(remoteCid));
    core.crypto = new CryptoLevels(side, tls, initialKeys, config, host.rng);

    const dispatch = new FrameDispatch(core);
    this.#recovery = new LossRecovery(core, dispatch);
    this.#multipath = new Multipath(core, this.#recovery);
    this.#handshake = new Handshake(core, this.#recovery, this.#multipath, cids);
    dispatch.connect(this.#handshake, this.#recovery, this.#multipath);
    this.#reader = new PacketReader(core, dispatch, this.#handshake, this.#multipath);
    this.#builder = new PacketBuilder(core);
    const frames = new FrameWriter(core, this.#builder);
    this.#writer = new PacketWriter(core, this.#handshake, this.#builder, frames);
    this.#deadlines = new Deadlines(core, this.#recovery, this.#multipath, this.#handshake);

    const path = this.#multipath.create(0, tuple);
    // Only a server must not send more than it received (RFC 9000 §8.1).
    path.validated = side === 'client' || validated;
    core.restartIdle(path, now);
    if (side === 'client') this.#handshake.start(now);
    core.wake();
    this.#rearm();
  }

  // --- input and output, for the endpoint ---------------------------------------------------------------------------

  handleDatagram(datagram: Datagram, now: Millis, first?: OpenedPacket): void {
    this.#reader.handleDatagram(datagram, now, first);
  }

  endBurst(now: Millis): void {
    this.#forwardStreamEvents();
    this.#recovery.armLossTimers(now);
    this.#core.wake();
    this.#rearm();
  }

  handleTimeout(now: Millis): void {
    this.#deadlines.handle(now);
    this.#forwardStreamEvents();
    this.#recovery.armLossTimers(now);
    this.#rearm();
  }

  pollTransmits(out: Transmit[], max: number, now: Millis): number {
    let count = 0;
    try {
      count = this.#writer.poll(out, max, now);
    } catch (error) {
      // Only a bug of ours ends here; it must not take other connections with it.
      this.#core.fail(error, now);
    }
    this.#recovery.armLossTimers(now);
    this.#rearm();
    return count;
  }

  handleNetworkChange(hint: NetworkChangeHint | undefined, now: Millis): void {
    this.#multipath.handleNetworkChange(hint, now);
    this.#rearm();
  }

  handleStatelessReset(now: Millis): void {
    this.#core.vanish({ type: 'reset' }, now);
  }

  #rearm(): void {
    const { state } = this.#core;
    if (state === 'drained') return;
    const deadline = this.#deadlines.earliest();
    this.#core.host.setDeadline(this, deadline === Infinity ? undefined : deadline);
  }

  #forwardStreamEvents(): void {
    const core = this.#core;
    for (let event = core.streams.pollEvent(); event !== undefined; event = core.streams.pollEvent())
      core.emit(event);
    for (let event = core.datagrams.pollEvent(); event !== undefined; event = core.datagrams.pollEvent()) {
      core.emit(event);
    }
  }

  // --- facts --------------------------------------------------------------------------------------------------------

  get remote(): Addr {
    const { paths } = this.#core;
    return (paths.dataPath(true) ?? paths.list[0])!.remote;
  }

  get closeReason(): CloseReason | undefined {
    return this.#core.closeReason;
  }

  get isHandshaking(): boolean {
    return this.#core.isHandshaking;
  }

  get isDraining(): boolean {
    return this.#core.state === 'draining' || this.isDrained;
  }

  get isDrained(): boolean {
    return this.#core.state === 'drained';
  }

  get alpn(): Uint8Array | undefined {
    return this.#core.alpn;
  }

  get peerIdentity(): PeerIdentity | undefined {
    return this.#core.peerIdentity;
  }

  get has0Rtt(): boolean {
    const core = this.#core;
    return core.crypto.zeroRtt !== undefined || core.accepted0Rtt === true;
  }

  get accepted0Rtt(): boolean | undefined {
    return this.#core.accepted0Rtt;
  }

  get multipath(): boolean {
    return this.#core.multipath;
  }

  // --- streams and datagrams ------------------------------------------------------------------------------------------

  openStream(dir: Direction): StreamId | undefined {
    const id = this.#core.streams.open(dir);
    if (id === undefined) this.#core.wake();
    return id;
  }

  acceptStream(dir: Direction): StreamId | undefined {
    return this.#core.streams.accept(dir);
  }

  writeStream(id: StreamId, bytes: Uint8Array): number {
    const accepted = this.#core.streams.write(id, bytes);
    this.#core.wake();
    return accepted;
  }

  finishStream(id: StreamId): void {
    this.#core.streams.finish(id);
    this.#core.wake();
  }

  resetStream(id: StreamId, code: bigint): void {
    this.#core.streams.reset(id, code);
    this.#core.wake();
  }

  readStream(id: StreamId, maxBytes: number): Uint8Array | null | undefined {
    const data = this.#core.streams.read(id, maxBytes);
    // Reading returns credit.
    if (this.#core.streams.wantsControl) this.#core.wake();
    return data;
  }

  stopStream(id: StreamId, code: bigint): void {
    this.#core.streams.stop(id, code);
    this.#core.wake();
  }

  setStreamPriority(id: StreamId, priority: number): void {
    this.#core.streams.setPriority(id, priority);
  }

  streamPriority(id: StreamId): number {
    return this.#core.streams.priority(id);
  }

  streamIs0Rtt(id: StreamId): boolean {
    return this.#core.streams.is0Rtt(id);
  }

  get takesDatagrams(): boolean {
    return this.#core.datagrams.isEnabled;
  }

  get maxDatagramSize(): number | undefined {
    const path = this.#core.paths.dataPath(true);
    if (path === undefined) return undefined;
    const cid = this.#core.cids.get(path.id)?.remote.active?.cid.length ?? 0;
    return this.#core.datagrams.maxSize(path.mtu.current, cid);
  }

  get datagramSendBufferSpace(): number {
    return this.#core.datagrams.sendBufferSpace;
  }

  sendDatagram(bytes: Uint8Array, drop: boolean): boolean {
    const queued = this.#core.datagrams.send(bytes, drop);
    if (queued) this.#core.wake();
    return queued;
  }

  readDatagram(): Uint8Array | undefined {
    return this.#core.datagrams.read();
  }

  // --- the connection ---------------------------------------------------------------------------------------------------

  close(code: bigint, reason: Uint8Array, now: Millis): void {
    this.#core.closeLocally(
      { type: 'application', code, reason: new Uint8Array(reason) },
      { type: 'locallyClosed' },
      now,
    );
    this.#rearm();
  }

  forceKeyUpdate(): void {
    const { confirmed, crypto } = this.#core;
    if (confirmed && crypto.oneRtt !== undefined) this.#builder.requestKeyUpdate();
  }

  exportKeyingMaterial(length: number, label: string, context: Uint8Array): Uint8Array {
    return this.#core.crypto.tls.exportKeyingMaterial(length, label, context);
  }

  setMaxConcurrentStreams(dir: Direction, count: number): void {
    this.#core.streams.setMaxConcurrent(dir, count);
    this.#core.wake();
  }

  setReceiveWindow(bytes: number): void {
    this.#core.streams.setReceiveWindow(bytes);
    this.#core.wake();
  }

  // --- paths --------------------------------------------------------------------------------------------------------------

  paths(): PathInfo[] {
    return this.#core.paths.list
      .filter((path) => path.abandoned === undefined)
      .map((path) => ({
        id: path.id,
        remote: path.remote,
        local: path.local,
        status: path.status,
        validated: path.validated,
        stalled: path.stalled,
        rttMs: path.rtt.smoothed,
      }));
  }

  pathStats(path: PathId): PathStats | undefined {
    return this.#core.paths.get(path)?.stats();
  }

  stats(): ConnectionStats {
    const core = this.#core;
    const { gone } = core;
    let { txDatagrams, txBytes, rxDatagrams, rxBytes, sent, lost, lostBytes } = gone;
    for (const path of core.paths.list) {
      txDatagrams += path.udpTxDatagrams;
      txBytes += path.udpTxBytes;
      rxDatagrams += path.udpRxDatagrams;
      rxBytes += path.udpRxBytes;
      sent += path.sentPackets;
      lost += path.lostPackets;
      lostBytes += path.lostBytes;
    }
    return {
      udpTx: { datagrams: txDatagrams, bytes: txBytes },
      udpRx: { datagrams: rxDatagrams, bytes: rxBytes },
      sentPackets: sent,
      receivedPackets: core.receivedPackets,
      lostPackets: lost,
      lostBytes,
      droppedPackets: core.droppedPackets,
      keyUpdates: core.crypto.oneRtt?.updates ?? 0,
      handshakeMs: core.handshakeMs,
    };
  }

  openPathEnsure(tuple: FourTuple, status: PathStatus, now: Millis): PathId {
    const id = this.#multipath.openEnsure(tuple, status, now);
    this.#rearm();
    return id;
  }

  closePath(path: PathId, code: number, now: Millis): void {
    this.#multipath.close(path, code, now);
    this.#rearm();
  }

  setPathStatus(path: PathId, status: PathStatus): PathStatus {
    return this.#multipath.setStatus(path, status);
  }

  setPathMaxIdleTimeout(id: PathId, idleMs: Millis | undefined, now: Millis): void {
    const path = this.#core.paths.get(id);
    if (path === undefined) return;
    path.maxIdleMs = idleMs;
    path.idleAt = Infinity;
    this.#core.restartIdle(path, now);
    this.#rearm();
  }

  setPathKeepAlive(id: PathId, intervalMs: Millis | undefined, now: Millis): void {
    const path = this.#core.paths.get(id);
    if (path === undefined) return;
    path.keepAliveMs = intervalMs;
    path.keepAliveAt = Infinity;
    this.#core.restartKeepAlive(path, now);
    this.#rearm();
  }

  pingPath(id: PathId): void {
    const path = this.#core.paths.get(id);
    if (path === undefined || path.abandoned !== undefined) return;
    path.space.pingPending = true;
    this.#core.wake();
  }

  // --- NAT traversal --------------------------------------------------------------------------------------------------------

  #nat(): NonNullable<ConnectionCore['nat']> {
    const { nat } = this.#core;
    if (nat === undefined) throw new NatTraversalError('notNegotiated', 'NAT traversal was not negotiated');
    return nat;
  }

  addNatAddress(addr: Addr): void {
    this.#nat().addLocal(addr);
    this.#core.wake();
  }

  removeNatAddress(addr: Addr): void {
    this.#nat().removeLocal(addr);
    this.#core.wake();
  }

  localNatAddresses(): Addr[] {
    return this.#nat().localAddresses();
  }

  remoteNatAddresses(): Addr[] {
    return this.#nat().remoteAddresses();
  }

  initiateNatRound(now: Millis, found: readonly Addr[] = []): Addr[] {
    const addresses = this.#nat().startRound(now, found);
    this.#core.wake();
    this.#rearm();
    return addresses;
  }
}
