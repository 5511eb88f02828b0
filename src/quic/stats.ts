/**
 * Counters that a connection keeps, and the snapshot types that it gives out.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';

/** Counters of one path. All totals since the path was created. */
export interface PathStats {
  readonly rttMs: Millis;
  readonly minRttMs: Millis;
  readonly rttVarMs: Millis;
  /** Bytes; congestion window and what of it is used. */
  readonly cwnd: number;
  readonly bytesInFlight: number;
  /** Largest UDP payload that we send here. */
  readonly mtu: number;
  readonly udpTx: { readonly datagrams: number; readonly bytes: number };
  readonly udpRx: { readonly datagrams: number; readonly bytes: number };
  readonly sentPackets: number;
  readonly lostPackets: number;
  readonly lostBytes: number;
  readonly sentPlpmtudProbes: number;
  readonly lostPlpmtudProbes: number;
  readonly congestionEvents: number;
  readonly blackHolesDetected: number;
}

/** Counters of a connection; path counters are sums over all paths that ever were. */
export interface ConnectionStats {
  readonly udpTx: { readonly datagrams: number; readonly bytes: number };
  readonly udpRx: { readonly datagrams: number; readonly bytes: number };
  readonly sentPackets: number;
  readonly receivedPackets: number;
  readonly lostPackets: number;
  readonly lostBytes: number;
  /** Packets that did not authenticate or could not be parsed, and were dropped. */
  readonly droppedPackets: number;
  readonly keyUpdates: number;
  /** Milliseconds from start to completion of the handshake; undefined before. */
  readonly handshakeMs: Millis | undefined;
}
