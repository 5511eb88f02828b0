/**
 * What the peer asked about our acknowledgments (draft-ietf-quic-ack-frequency). One per connection: ACK_FREQUENCY
 * applies to all its paths. We never send the frame ourselves.
 *
 * @module
 */
import type { Millis } from '../../base/clock.ts';
import { TransportError } from '../transport-error.ts';

/** max_ack_delay when the transport parameter is absent, ms (RFC 9000 §18.2); ours. */
export const DEFAULT_MAX_ACK_DELAY_MS = 25;
/** min_ack_delay that we announce, µs: a timer cannot promise less. Upstream's value. */
export const MIN_ACK_DELAY_US = 1_000;
/** max_ack_delay stays below this, ms (RFC 9000 §18.2). */
export const MAX_ACK_DELAY_LIMIT_MS = 2 ** 14;

const FRAME_TYPE = 0xaf;

/** The rules by which 1-RTT packets are acknowledged. */
export interface AckPolicy {
  /** Ack-eliciting packets that may wait for an ACK. */
  readonly ackElicitingThreshold: number;
  /** Longest time that an ack-eliciting packet waits, ms. */
  readonly maxAckDelayMs: Millis;
  /** 0: reordering is ignored; 1: reported at once; more: once a packet is that far behind. */
  readonly reorderingThreshold: number;
}

/** RFC 9000 §13.2: an ACK for every second packet, after 25 ms at the latest, at once on reordering. */
export const DEFAULT_ACK_POLICY: AckPolicy = {
  ackElicitingThreshold: 1,
  maxAckDelayMs: DEFAULT_MAX_ACK_DELAY_MS,
  reorderingThreshold: 1,
};

/** Receiving side of ACK_FREQUENCY. */
export class AckFrequency {
  #policy: AckPolicy = DEFAULT_ACK_POLICY;
  #largestSequence = -1;

  /** What holds now; the same object until a frame changes it. */
  get policy(): AckPolicy {
    return this.#policy;
  }

  /**
   * Handles an ACK_FREQUENCY frame.
   * @param requestedMaxAckDelayUs - Microseconds, as on the wire.
   * @returns False when the frame is older than one handled before: nothing changed.
   * @throws {TransportError} PROTOCOL_VIOLATION when the delay is below min_ack_delay or not below 2^14 ms (§4).
   */
  handleFrame(
    sequence: number,
    ackElicitingThreshold: number,
    requestedMaxAckDelayUs: number,
    reorderingThreshold: number,
  ): boolean {
    // draft-ietf-quic-ack-frequency §4: only ever larger sequence numbers.
    if (sequence <= this.#largestSequence) return false;
    if (
      requestedMaxAckDelayUs < MIN_ACK_DELAY_US ||
      requestedMaxAckDelayUs >= MAX_ACK_DELAY_LIMIT_MS * 1_000
    ) {
      throw new TransportError(
        'PROTOCOL_VIOLATION',
        `requested max ack delay of ${requestedMaxAckDelayUs} us`,
        {
          frameType: FRAME_TYPE,
        },
      );
    }
    this.#largestSequence = sequence;
    this.#policy = {
      ackElicitingThreshold,
      maxAckDelayMs: requestedMaxAckDelayUs / 1_000,
      reorderingThreshold,
    };
    return true;
  }
}
