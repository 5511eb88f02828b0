/**
 * Whether all that was sent is acknowledged: quiche does not say so, but its timer does.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { TransportConfig } from '../quic/config.ts';
import { MAX_ACK_DELAY_MS } from './native-config.ts';
import type { Connection } from './native.ts';

/**
 * Share of the idle time that must be left. quiche's idle time E is at least three probe time-outs P. With something
 * unacknowledged, probe n is due P·2ⁿ after the one before, which went at P·(2ⁿ − 1) or later: were 2⁄3·E left until then, and
 * until the idle time-out as well, 2ⁿ would be more than 2·(2ⁿ − 1), so n = 0 and P > 2⁄3·E.
 */
const QUIET_SHARE = 2 / 3;
/** RFC 9002 §6.2.1 with the variation of a first sample. */
const PTO_PER_RTT = 3;

/**
 * Nothing is unacknowledged on a connection that has nothing to send. Exact while the idle time is that of the configuration;
 * where three probe time-outs are longer, as long as RTTs vary by no more than an eighth.
 */
export function isQuiet(native: Connection, { maxIdleTimeoutMs: own }: TransportConfig): boolean {
  const timeout = native.timeout();
  if (timeout === null) return true;
  const theirs = native.stats().peerMaxIdleTimeout;
  const idle: Millis = own === 0 || theirs === 0 ? Math.max(own, theirs) : Math.min(own, theirs);
  if (idle === 0 || timeout <= idle * QUIET_SHARE) return false;
  let rtt = 0;
  for (const path of native.pathStats()) if (path.active) rtt = path.rtt;
  return timeout > rtt * PTO_PER_RTT + MAX_ACK_DELAY_MS;
}
