/**
 * How many bytes may be in flight on a path: the interface of all congestion controllers, and their factory.
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';
import type { CongestionControl } from '../config.ts';
import type { RttEstimator } from '../recovery/rtt.ts';
import { Cubic } from './cubic.ts';
import { NewReno } from './new-reno.ts';

/** Controls one path. All sizes in bytes, all times absolute on the caller's clock. */
export interface CongestionController {
  /** Bytes that may be in flight. */
  readonly window: number;
  /** Slow start threshold, bytes; `Infinity` before the first congestion event. */
  readonly ssthresh: number;
  /** A packet that counts for congestion control was sent. */
  onSent(now: Millis, bytes: number, packetNumber: number): void;
  /**
   * A packet that counts was acknowledged.
   * @param appLimited - The window was not used up when the ACK arrived, so it must not grow (RFC 9002 §7.8). Being
   *   held back by the pacer is no such reason.
   */
  onAcked(now: Millis, sentAt: Millis, bytes: number, appLimited: boolean, rtt: RttEstimator): void;
  /** All packets of one ACK were handed to {@link onAcked}. */
  onAcksDone(now: Millis, inFlight: number, appLimited: boolean, largestAcked: number): void;
  /**
   * Packets were lost, or marked by the network.
   * @param sentAt - When the newest of them was sent: reactions are limited to one per round trip (RFC 9002 §7.3.2).
   * @param persistent - They establish persistent congestion (RFC 9002 §7.6).
   * @param ecn - Marked, not lost; `lostBytes` is 0 then.
   */
  onCongestionEvent(
    now: Millis,
    sentAt: Millis,
    persistent: boolean,
    ecn: boolean,
    lostBytes: number,
    largestLost: number,
  ): void;
  /** Everything that the latest event took for lost has arrived after all: its reduction is taken back. */
  onSpuriousCongestion(): void;
  /** The largest datagram of the path changed. */
  onMtuUpdate(mtu: number): void;
}

/** @param mtu - UDP payload bytes; the initial and the smallest window follow from it. */
export function createController(name: CongestionControl, mtu: number): CongestionController {
  return name === 'cubic' ? new Cubic(mtu) : new NewReno(mtu);
}
