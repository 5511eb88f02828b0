import { expect, test } from '@jest/globals';
import { Reader, Writer } from '../../../src/base/bytes.ts';
import { CRYPTO_BUFFER_BYTES, CryptoStream } from '../../../src/quic/crypto-stream.ts';
import type { SentFrame } from '../../../src/quic/sent-frame.ts';
import { decodeFrame } from '../../../src/quic/wire/frames.ts';

const data = Uint8Array.from({ length: 3_000 }, (_, i) => i);

test('sends in pieces, again what was lost, and the other side puts them together', () => {
  const from = new CryptoStream();
  const to = new CryptoStream();
  from.write(data);
  const pieces: { sent: Extract<SentFrame, { type: 'crypto' }>; bytes: Uint8Array }[] = [];
  let attempts = 0;
  while (from.wantsSend) {
    const w = new Writer(new Uint8Array(500));
    const sent: SentFrame[] = [];
    from.writeFrames(w, sent);
    pieces.push({ sent: sent[0] as Extract<SentFrame, { type: 'crypto' }>, bytes: w.copy() });
    // The first few packets are lost once, every second one.
    attempts++;
    if (attempts % 2 === 0 && attempts < 9) from.onFrameLost(pieces.pop()!.sent);
    expect(attempts).toBeLessThan(30);
  }
  for (const { bytes } of pieces.reverse()) {
    const frame = decodeFrame(new Reader(bytes), 'initial');
    if (frame.type === 'crypto') to.handleFrame(frame.offset, frame.data);
  }
  expect(to.read()).toEqual(data);
  for (const { sent } of pieces) from.onFrameAcked(sent);
  for (const { sent } of pieces) from.onFrameLost(sent);
  expect(from.wantsSend).toBe(false);
});

test('keeps no more than its limit beyond what was read (RFC 9000 §7.5)', () => {
  const stream = new CryptoStream();
  stream.handleFrame(CRYPTO_BUFFER_BYTES - 1, Uint8Array.of(1));
  expect(() => stream.handleFrame(CRYPTO_BUFFER_BYTES, Uint8Array.of(1))).toThrow(
    expect.objectContaining({ code: 'CRYPTO_BUFFER_EXCEEDED', frameType: 0x06 }),
  );
  stream.handleFrame(0, new Uint8Array(100));
  expect(stream.read()).toHaveLength(100);
  stream.handleFrame(CRYPTO_BUFFER_BYTES + 99, Uint8Array.of(1));
  expect(stream.read()).toBeUndefined();
});
