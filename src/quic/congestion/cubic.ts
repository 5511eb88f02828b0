/**
 * CUBIC (RFC 9438), the default. Sizes in bytes; C and the cubic function are in datagrams and seconds, as there.
 *
 * Left out: HyStart++ (RFC 9438 §4.10 SHOULD) as upstream does; slow start ends at the first loss.
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';
import type { RttEstimator } from '../recovery/rtt.ts';
import type { CongestionController } from './controller.ts';
import { initialWindow, minimumWindow } from './window-limits.ts';

/** Multiplicative decrease (RFC 9438 §4.6). */
const BETA = 0.7;
/** Steepness of the cubic function, datagrams / s³ (RFC 9438 §5.1). */
const C = 0.4;
/** Datagrams per RTT in the Reno-friendly region, which make up for the gentler decrease (RFC 9438 §4.3). */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);
/** How far W_max moves down when the window did not reach it again (RFC 9438 §4.7). */
const FAST_CONVERGENCE = (1 + BETA) / 2;
/** The window grows by half of itself per RTT at most (RFC 9438 §4.2). */
const MAX_TARGET = 1.5;

/** What a congestion event changes, and its undo restores (RFC 9438 §4.9.2). */
interface CubicState {
  window: number;
  ssthresh: number;
  /** Window just before the latest reduction, further lowered by fast convergence. */
  wMax: number;
  /** Window just before the latest reduction. */
  priorWindow: number;
  /** Reno's window in the same conditions. */
  wEst: number;
  /** Seconds from the start of the epoch to W_max. */
  k: number;
  /** When congestion avoidance began, less the time that was app-limited; NaN before its first ACK. */
  epochStart: Millis;
  /** Packets sent up to then belong to the recovery period (RFC 9002 §7.3.2). */
  recoveryStart: Millis;
}

export class Cubic implements CongestionController {
  #mtu: number;
  #state: CubicState;
  #undo: CubicState | undefined;
  /** Since when ACKs find the window under-used; NaN while they do not. */
  #limitedSince: Millis = NaN;

  constructor(mtu: number) {
    this.#mtu = mtu;
    this.#state = {
      window: initialWindow(mtu),
      ssthresh: Infinity,
      wMax: 0,
      priorWindow: 0,
      wEst: 0,
      k: 0,
      epochStart: NaN,
      recoveryStart: -Infinity,
    };
  }

  get window(): number {
    return Math.floor(this.#state.window);
  }

  get ssthresh(): number {
    return this.#state.ssthresh;
  }

  onSent(): void {}

  onAcked(now: Millis, sentAt: Millis, bytes: number, appLimited: boolean, rtt: RttEstimator): void {
    const s = this.#state;
    if (appLimited) {
      // RFC 9002 §7.8: an under-used window does not grow.
      if (Number.isNaN(this.#limitedSince)) this.#limitedSince = now;
      return;
    }
    if (!Number.isNaN(this.#limitedSince)) {
      // RFC 9438 §4.2: the clock of the cubic function stands still meanwhile.
      s.epochStart += now - this.#limitedSince;
      this.#limitedSince = NaN;
    }
    if (sentAt <= s.recoveryStart) return;
    if (s.window < s.ssthresh) {
      // RFC 9438 §4.10, RFC 9002 §7.3.1.
      s.window += bytes;
      return;
    }
    if (Number.isNaN(s.epochStart)) this.#startEpoch(now);
    this.#avoidCongestion(now, bytes, rtt.smoothed);
  }

  #startEpoch(now: Millis): void {
    const s = this.#state;
    s.epochStart = now;
    s.wEst = s.window;
    if (s.wMax > s.window) {
      s.k = Math.cbrt((s.wMax - s.window) / this.#mtu / C); // RFC 9438 §4.2, figure 2
    } else {
      // RFC 9438 §4.8: after a time-out the function starts at its plateau.
      s.k = 0;
      s.wMax = s.window;
    }
  }

  #avoidCongestion(now: Millis, bytes: number, rttMs: Millis): void {
    const s = this.#state;
    const window = s.window;
    // RFC 9438 §4.3: Reno's pace once Reno's window would have come back to where it was.
    s.wEst += ((s.wEst >= s.priorWindow ? 1 : ALPHA) * this.#mtu * bytes) / window;
    const t = (now - s.epochStart) / 1_000 - s.k;
    if (C * t * t * t * this.#mtu + s.wMax < s.wEst) {
      if (s.wEst > window) s.window = s.wEst;
      return;
    }
    // RFC 9438 §4.2: where the function will be one RTT from now, never below the window and at most half above.
    const ahead = t + rttMs / 1_000;
    const target = Math.min(C * ahead * ahead * ahead * this.#mtu + s.wMax, MAX_TARGET * window);
    // RFC 9438 §4.4, §4.5: spread over one window of acknowledged bytes.
    if (target > window) s.window = window + ((target - window) * bytes) / window;
  }

  onAcksDone(): void {}

  onCongestionEvent(now: Millis, sentAt: Millis, persistent: boolean, ecn: boolean): void {
    const s = this.#state;
    const minimum = minimumWindow(this.#mtu);
    // RFC 9002 §7.3.2: once per round trip.
    if (sentAt > s.recoveryStart) {
      // A mark is never a mistake. Once per round trip, so the copy is affordable.
      this.#undo = ecn ? undefined : { ...s };
      s.recoveryStart = now;
      // RFC 9438 §4.7: the window did not come back to its old maximum, so leave room for others.
      s.wMax = s.window < s.wMax ? s.window * FAST_CONVERGENCE : s.window;
      s.priorWindow = s.window;
      // RFC 9438 §4.6. The window itself, not what is in flight: it does not grow while under-used.
      s.ssthresh = Math.max(Math.floor(s.window * BETA), minimum);
      s.window = s.ssthresh;
      s.epochStart = NaN;
    }
    if (persistent) {
      // RFC 9002 §7.6.2 and §B.8, RFC 9438 §4.8: slow start from the smallest window, then a new epoch from where it ends.
      s.window = minimum;
      s.recoveryStart = -Infinity;
      s.wMax = 0;
      s.epochStart = NaN;
    }
  }

  onSpuriousCongestion(): void {
    // RFC 9438 §4.9.2: only while the window is still below what it was.
    if (this.#undo !== undefined && this.#undo.window > this.#state.window) this.#state = this.#undo;
    this.#undo = undefined;
  }

  onMtuUpdate(mtu: number): void {
    this.#mtu = mtu;
    this.#state.window = Math.max(this.#state.window, minimumWindow(mtu));
  }
}
