/**
 * quiche's counters as ours. Zero where it does not tell: smallest and mean deviation of the RTT, bytes in flight, MTU probes,
 * packets dropped, key updates.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { ConnectionStats, PathStats, UdpCounters } from '../quic/stats.ts';
import type { Connection, PathStats as NativePathStats } from './native.ts';

/** Counters of one path. RTTs are whole milliseconds. */
export function pathStatsOf(native: NativePathStats): PathStats {
  return {
    rttMs: native.rtt,
    minRttMs: native.rtt,
    rttVarMs: 0,
    cwnd: native.cwnd,
    bytesInFlight: 0,
    mtu: native.pmtu,
    udpTx: { datagrams: native.sent, bytes: native.sentBytes },
    udpRx: { datagrams: native.recv, bytes: native.recvBytes },
    sentPackets: native.sent,
    lostPackets: native.lost,
    lostBytes: native.lostBytes,
    sentPlpmtudProbes: 0,
    lostPlpmtudProbes: 0,
    congestionEvents: 0,
    blackHolesDetected: 0,
  };
}

/** Counters of a connection. */
export function connectionStatsOf(
  connection: Connection,
  udpRx: UdpCounters,
  handshakeMs: Millis | undefined,
): ConnectionStats {
  const native = connection.stats();
  return {
    udpTx: { datagrams: native.sent, bytes: native.sentBytes },
    udpRx: { ...udpRx },
    sentPackets: native.sent,
    receivedPackets: native.recv,
    lostPackets: native.lost,
    lostBytes: native.lostBytes,
    droppedPackets: 0,
    keyUpdates: 0,
    handshakeMs,
  };
}
