/**
 * How long to wait for an acknowledgment before probing (RFC 9002 §6.2), with upstream's caps on the back-off.
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';
import type { RttEstimator } from './rtt.ts';

/** Longest wait between two probes; noq `MAX_PTO_INTERVAL`. */
export const MAX_PTO_INTERVAL_MS = 2_000;
/** The same when a short idle time-out leaves room for few probes only; noq `MAX_PTO_FAST_INTERVAL`. */
export const MAX_PTO_FAST_INTERVAL_MS = 1_000;
/** An idle time-out up to this counts as short; noq `MIN_IDLE_FOR_FAST_PTO`. */
export const MIN_IDLE_FOR_FAST_PTO_MS = 25_000;
/** Above this RTT the caps grow with it: 1.5 × RTT would exceed the usual cap; noq `SLOW_RTT_THRESHOLD`. */
export const SLOW_RTT_THRESHOLD_MS = 1_333;

/**
 * Time from the last ack-eliciting packet of a space to the next probe, ms.
 *
 * RFC 9002 §6.2.1 doubles without limit; the doubled value is capped here (noq `noq-proto/src/connection/mod.rs`,
 * `pto_time_and_space`), so that a path that comes back is noticed before its idle time-out. The un-doubled PTO itself is
 * never cut: probing before an answer can have arrived helps nobody.
 * @param maxAckDelayMs - The peer's max_ack_delay in 1-RTT spaces, 0 in Initial and Handshake (RFC 9002 §6.2.1).
 * @param count - Probe time-outs since the last acknowledgment.
 * @param idleMs - The shorter of path and connection idle time-out, `Infinity` when neither applies.
 */
export function ptoInterval(
  rtt: RttEstimator,
  maxAckDelayMs: Millis,
  count: number,
  idleMs: Millis = Infinity,
): Millis {
  const base = rtt.ptoBase() + maxAckDelayMs;
  if (count === 0) return base;
  let cap: Millis = MAX_PTO_INTERVAL_MS;
  if (rtt.smoothed > SLOW_RTT_THRESHOLD_MS) cap = 1.5 * rtt.smoothed;
  else if (idleMs <= MIN_IDLE_FOR_FAST_PTO_MS) cap = MAX_PTO_FAST_INTERVAL_MS;
  return Math.max(base, Math.min(base * 2 ** count, cap));
}
