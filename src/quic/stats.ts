/**
 * Counters that a connection keeps, and the snapshot types that it gives out.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';

/** UDP traffic. */
export interface UdpCounters {
  /** UDP datagrams; one may carry several packets. */
  readonly datagrams: number;
  /** UDP payload, without IP and UDP headers. */
  readonly bytes: number;
}

/** Counters of one path. All totals since the path was created. */
export interface PathStats {
  /** Smoothed round-trip time, ms (RFC 9002 §5.3). */
  readonly rttMs: Millis;
  /** Smallest sample, ms. */
  readonly minRttMs: Millis;
  /** Mean deviation of the samples, ms. */
  readonly rttVarMs: Millis;
  /** Congestion window, bytes. */
  readonly cwnd: number;
  /** Bytes sent and neither acknowledged nor lost. */
  readonly bytesInFlight: number;
  /** Largest UDP payload that we send here. */
  readonly mtu: number;
  /** Datagrams sent, and their payload bytes. */
  readonly udpTx: UdpCounters;
  /** Datagrams received, and their payload bytes. */
  readonly udpRx: UdpCounters;
  /** Packets of all kinds. */
  readonly sentPackets: number;
  /** Packets declared lost, without MTU probes. */
  readonly lostPackets: number;
  /** Bytes of {@link lostPackets}. */
  readonly lostBytes: number;
  /** MTU probes sent (RFC 8899). */
  readonly sentPlpmtudProbes: number;
  /** MTU probes lost: how discovery finds the limit. */
  readonly lostPlpmtudProbes: number;
  /** Reductions of the congestion window. */
  readonly congestionEvents: number;
  /** Times that the path stopped carrying large packets. */
  readonly blackHolesDetected: number;
}

/** Counters of a connection; path counters are sums over all paths that ever were. */
export interface ConnectionStats {
  /** Datagrams sent, and their payload bytes. */
  readonly udpTx: UdpCounters;
  /** Datagrams received, and their payload bytes. */
  readonly udpRx: UdpCounters;
  /** Packets of all kinds. */
  readonly sentPackets: number;
  /** Packets that authenticated. */
  readonly receivedPackets: number;
  /** Packets declared lost, without MTU probes. */
  readonly lostPackets: number;
  /** Bytes of {@link lostPackets}. */
  readonly lostBytes: number;
  /** Packets that did not authenticate or could not be parsed, and were dropped. */
  readonly droppedPackets: number;
  /** Key updates by either side (RFC 9001 §6). */
  readonly keyUpdates: number;
  /** Milliseconds from start to completion of the handshake; undefined before. */
  readonly handshakeMs: Millis | undefined;
}
