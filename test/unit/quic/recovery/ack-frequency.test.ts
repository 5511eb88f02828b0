import { describe, expect, test } from '@jest/globals';
import { AckFrequency, DEFAULT_ACK_POLICY } from '../../../../src/quic/recovery/ack-frequency.ts';

describe('AckFrequency', () => {
  test('starts with RFC 9000 §13.2', () => {
    expect(new AckFrequency().policy).toBe(DEFAULT_ACK_POLICY);
    expect(DEFAULT_ACK_POLICY).toEqual({
      ackElicitingThreshold: 1,
      maxAckDelayMs: 25,
      reorderingThreshold: 1,
    });
  });

  test('takes frames with growing sequence numbers only (§4)', () => {
    const frequency = new AckFrequency();
    expect(frequency.handleFrame(5, 10, 40_000, 3)).toBe(true);
    expect(frequency.policy).toEqual({
      ackElicitingThreshold: 10,
      maxAckDelayMs: 40,
      reorderingThreshold: 3,
    });
    expect(frequency.handleFrame(5, 1, 1_000, 1)).toBe(false);
    expect(frequency.handleFrame(4, 1, 1_000, 1)).toBe(false);
    expect(frequency.policy.maxAckDelayMs).toBe(40);
    expect(frequency.handleFrame(6, 0, 1_000, 0)).toBe(true);
    expect(frequency.policy.ackElicitingThreshold).toBe(0);
  });

  test.each([0, 999, 16_384_000, Number.MAX_SAFE_INTEGER])('refuses a delay of %d us (§4)', (delayUs) => {
    const frequency = new AckFrequency();
    expect(() => frequency.handleFrame(0, 1, delayUs, 1)).toThrow(
      expect.objectContaining({ code: 'PROTOCOL_VIOLATION', frameType: 0xaf }),
    );
    expect(frequency.policy).toBe(DEFAULT_ACK_POLICY);
  });

  test.each([1_000, 16_383_999])('takes a delay of %d us', (delayUs) => {
    expect(new AckFrequency().handleFrame(0, 1, delayUs, 1)).toBe(true);
  });
});
