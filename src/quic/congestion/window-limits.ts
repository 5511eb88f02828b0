/**
 * Initial and smallest congestion window (RFC 9002 §7.2), common to all controllers.
 *
 * @module
 */

/** Upper bound of the initial window for ordinary datagram sizes, bytes. */
const INITIAL_WINDOW_LIMIT = 14_720;

/** RFC 9002 §7.2: ten datagrams, but no more than 14,720 bytes or two datagrams. 12,000 at 1,200 bytes. */
export function initialWindow(mtu: number): number {
  return Math.min(10 * mtu, Math.max(2 * mtu, INITIAL_WINDOW_LIMIT));
}

/** RFC 9002 §7.2, kMinimumWindow. */
export function minimumWindow(mtu: number): number {
  return 2 * mtu;
}
