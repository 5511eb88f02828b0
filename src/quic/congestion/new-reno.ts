/**
 * NewReno (RFC 9002 §7), with undo of reductions that were a mistake.
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';
import type { CongestionController } from './controller.ts';
import { initialWindow, minimumWindow } from './window-limits.ts';

/** kLossReductionFactor (RFC 9002 §B.1). */
const LOSS_REDUCTION_FACTOR = 0.5;

export class NewReno implements CongestionController {
  #mtu: number;
  #window: number;
  #ssthresh = Infinity;
  /** Packets sent up to then belong to the recovery period (RFC 9002 §7.3.2). */
  #recoveryStart: Millis = -Infinity;
  /** Acknowledged in congestion avoidance since the window last grew. */
  #bytesAcked = 0;
  /** Before the latest reduction by loss; window 0 when there is none to undo. */
  #undoWindow = 0;
  #undoSsthresh = 0;
  #undoRecoveryStart: Millis = 0;

  constructor(mtu: number) {
    this.#mtu = mtu;
    this.#window = initialWindow(mtu);
  }

  get window(): number {
    return this.#window;
  }

  get ssthresh(): number {
    return this.#ssthresh;
  }

  onSent(): void {}

  onAcked(_now: Millis, sentAt: Millis, bytes: number, appLimited: boolean): void {
    // RFC 9002 §7.8 and §7.3.2: no growth while under-used, nor in a recovery period.
    if (appLimited || sentAt <= this.#recoveryStart) return;
    if (this.#window < this.#ssthresh) {
      // RFC 9002 §7.3.1.
      this.#window += bytes;
      // What exceeds the threshold counts for congestion avoidance already.
      if (this.#window >= this.#ssthresh) this.#bytesAcked = this.#window - this.#ssthresh;
      return;
    }
    // RFC 9002 §7.3.3: one datagram per window acknowledged.
    this.#bytesAcked += bytes;
    if (this.#bytesAcked >= this.#window) {
      this.#bytesAcked -= this.#window;
      this.#window += this.#mtu;
    }
  }

  onAcksDone(): void {}

  onCongestionEvent(now: Millis, sentAt: Millis, persistent: boolean, ecn: boolean): void {
    // RFC 9002 §7.3.2: once per round trip.
    if (sentAt > this.#recoveryStart) {
      if (ecn) {
        // A mark is never a mistake.
        this.#undoWindow = 0;
      } else {
        this.#undoWindow = this.#window;
        this.#undoSsthresh = this.#ssthresh;
        this.#undoRecoveryStart = this.#recoveryStart;
      }
      this.#recoveryStart = now;
      this.#ssthresh = Math.max(Math.floor(this.#window * LOSS_REDUCTION_FACTOR), minimumWindow(this.#mtu));
      this.#window = this.#ssthresh;
      this.#bytesAcked = 0;
    }
    if (persistent) {
      // RFC 9002 §7.6.2 and §B.8: back to slow start, also from within a recovery period.
      this.#window = minimumWindow(this.#mtu);
      this.#recoveryStart = -Infinity;
      this.#bytesAcked = 0;
    }
  }

  onSpuriousCongestion(): void {
    if (this.#undoWindow > this.#window) {
      this.#window = this.#undoWindow;
      this.#ssthresh = this.#undoSsthresh;
      this.#recoveryStart = this.#undoRecoveryStart;
    }
    this.#undoWindow = 0;
  }

  onMtuUpdate(mtu: number): void {
    this.#mtu = mtu;
    this.#window = Math.max(this.#window, minimumWindow(mtu));
  }
}
