/**
 * The calls of a connection that are those of one of its parts, and those that quiche has nothing for.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { Direction, FourTuple, PathId, PathInfo, PathStatus, StreamId } from '../quic/engine.ts';
import type { PathStats } from '../quic/stats.ts';
import type { DatagramQueue } from './datagrams.ts';
import type { QuichePaths } from './paths.ts';
import type { QuicheStreams } from './streams.ts';

/** A connection as its application has it. */
export abstract class ConnectionCalls {
  protected abstract readonly streams: QuicheStreams;
  protected abstract readonly datagrams: DatagramQueue;
  protected abstract readonly pathTable: QuichePaths;
  /** When a datagram last came or went. */
  protected abstract activeAt: Millis;
  abstract readonly isClosed: boolean;
  /** There may be something to send. */
  abstract touch(): void;

  // --- streams and datagrams --------------------------------------------------------------------------------------------------

  openStream(dir: Direction): StreamId | undefined {
    return this.streams.open(dir);
  }

  acceptStream(dir: Direction): StreamId | undefined {
    return this.streams.accept(dir);
  }

  writeStream(id: StreamId, bytes: Uint8Array): number {
    this.touch();
    return this.streams.write(id, bytes);
  }

  finishStream(id: StreamId): void {
    this.touch();
    this.streams.finish(id);
  }

  resetStream(id: StreamId, code: bigint): void {
    this.touch();
    this.streams.reset(id, code);
  }

  readStream(id: StreamId, maxBytes: number): Uint8Array | null | undefined {
    this.touch();
    return this.streams.read(id, maxBytes);
  }

  stopStream(id: StreamId, code: bigint): void {
    this.touch();
    this.streams.stop(id, code);
  }

  setStreamPriority(id: StreamId, priority: number): void {
    this.streams.setPriority(id, priority);
  }

  streamPriority(id: StreamId): number {
    return this.streams.priority(id);
  }

  streamIs0Rtt(id: StreamId): boolean {
    return this.streams.is0Rtt(id);
  }

  get takesDatagrams(): boolean {
    return this.datagrams.isEnabled;
  }

  get maxDatagramSize(): number | undefined {
    return this.datagrams.maxSize;
  }

  get datagramSendBufferSpace(): number {
    return this.datagrams.space;
  }

  sendDatagram(bytes: Uint8Array, drop: boolean): boolean {
    this.touch();
    return this.datagrams.send(bytes, drop);
  }

  readDatagram(): Uint8Array | undefined {
    return this.datagrams.read();
  }

  /** quiche updates its keys only when the peer does. */
  forceKeyUpdate(): void {
    // Nothing to call.
  }

  exportKeyingMaterial(): Uint8Array {
    throw new Error('the quiche engine exports no keying material');
  }

  /** quiche's limits are those of the configuration. */
  setMaxConcurrentStreams(): void {
    // Nothing to call.
  }

  /** quiche tunes its window between those of the configuration. */
  setReceiveWindow(): void {
    // Nothing to call.
  }

  // --- paths --------------------------------------------------------------------------------------------------------------------

  paths(): PathInfo[] {
    return this.isClosed ? [] : this.pathTable.list();
  }

  pathStats(path: PathId): PathStats | undefined {
    return this.pathTable.stats(path);
  }

  openPathEnsure(tuple: FourTuple, status: PathStatus, now: Millis): PathId {
    this.touch();
    return this.pathTable.open(tuple, status, now);
  }

  closePath(path: PathId, code: number): void {
    this.pathTable.close(path, code);
  }

  setPathStatus(path: PathId, status: PathStatus): PathStatus {
    return this.pathTable.setStatus(path, status);
  }

  setPathMaxIdleTimeout(path: PathId, idleMs: Millis | undefined): void {
    this.pathTable.setMaxIdle(path, idleMs);
    this.touch();
  }

  setPathKeepAlive(path: PathId, intervalMs: Millis | undefined): void {
    this.pathTable.setKeepAlive(path, intervalMs);
    this.touch();
  }

  pingPath(path: PathId): void {
    this.pathTable.ping(path, this.activeAt);
    this.touch();
  }

  addNatAddress(): void {
    // No NAT traversal (capabilities.natTraversal).
  }

  removeNatAddress(): void {
    // As above.
  }

  localNatAddresses(): Addr[] {
    return [];
  }

  remoteNatAddresses(): Addr[] {
    return [];
  }

  initiateNatRound(): Addr[] {
    return [];
  }
}
