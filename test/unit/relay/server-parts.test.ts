import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { requireToken, tokenOf } from '../../../src/relay/server/access.ts';
import {
  CLIENT_QUEUE_BYTES,
  CLIENT_QUEUE_FRAMES,
  FrameQueue,
} from '../../../src/relay/server/frame-queue.ts';
import { answerHttp, judgeUpgrade, type HttpQuestion } from '../../../src/relay/server/http.ts';
import { RelayServerMetrics } from '../../../src/relay/server/metrics.ts';
import { TokenBucket } from '../../../src/relay/server/rate-limit.ts';

describe('token of a request', () => {
  test.each([
    ['Bearer abc', '', 'abc'],
    ['bEARER a b', 'token=x', 'a b'],
    ['Basic abc', 'token=x', 'x'],
    [undefined, 'a=1&token=%2B1&token=2', '+1'],
    [undefined, 'tokens=1', undefined],
    [undefined, '', undefined],
    [undefined, 'token=%', undefined],
  ])('%s, ?%s', (authorization, query, token) => expect(tokenOf(authorization, query)).toBe(token));

  test('no token, or an empty one, is no configuration', () => {
    expect(() => requireToken([])).toThrow(RangeError);
    expect(() => requireToken(['a', ''])).toThrow(RangeError);
  });
});

describe('token bucket', () => {
  test('lets a burst through, then so much per second, whatever the sizes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1_000, max: 1_000_000 }),
        fc.array(fc.integer({ min: 1, max: 65_000 }), { minLength: 50, maxLength: 200 }),
        (bytesPerSecond, sizes) => {
          const bucket = new TokenBucket({ bytesPerSecond }, 0);
          let now = 0;
          let bytes = 0;
          for (const size of sizes) {
            bytes += size;
            now += bucket.take(size, now);
          }
          // The debt is paid before the next is read.
          const refill = Math.floor(bytesPerSecond / 10);
          expect(now).toBeGreaterThanOrEqual(((bytes - 2 * refill) / refill) * 100 - 100);
          expect(now).toBeLessThanOrEqual((bytes / refill) * 100 + 100);
        },
      ),
    );
  });

  test('idle time fills it to its capacity and no further', () => {
    const bucket = new TokenBucket({ bytesPerSecond: 1_000, maxBurstBytes: 500 }, 0);
    expect(bucket.take(499, 0)).toBe(0);
    expect(bucket.take(499, 3_600_000)).toBe(0);
    expect(bucket.take(101, 3_600_000)).toBe(200);
    expect(bucket.tryTake(1, 3_600_000)).toBe(false);
    expect(bucket.tryTake(1, 3_600_300)).toBe(true);
  });

  test.each([0, 9, -1, NaN])('%d bytes per second is no rate', (bytesPerSecond) => {
    expect(() => new TokenBucket({ bytesPerSecond }, 0)).toThrow(RangeError);
  });
});

describe('queue of frames', () => {
  test('as a list would do it, within its bounds', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.nat(40_000), fc.constant(-1)), { maxLength: 1_500 }), (steps) => {
        const queue = new FrameQueue();
        const naive: Uint8Array[] = [];
        let bytes = 0;
        for (const step of steps) {
          if (step < 0) {
            const expected = naive.shift();
            bytes -= expected?.length ?? 0;
            if (queue.shift()?.length !== expected?.length) throw new Error('another frame');
          } else {
            const frame = new Uint8Array(step);
            const fits = naive.length < CLIENT_QUEUE_FRAMES && bytes + step <= CLIENT_QUEUE_BYTES;
            if (queue.push(frame) !== fits) throw new Error('another opinion about room');
            if (fits) {
              naive.push(frame);
              bytes += step;
            }
          }
          if (queue.length !== naive.length || queue.bytes !== bytes) throw new Error('another size');
        }
      }),
      { numRuns: 50 },
    );
  });

  test('keeps no large buffer alive for a small frame', () => {
    const queue = new FrameQueue();
    const chunk = new Uint8Array(65_536).fill(5);
    queue.push(chunk.subarray(100, 200));
    const kept = queue.shift()!;
    expect(kept.buffer.byteLength).toBe(100);
    expect(kept[0]).toBe(5);
    queue.push(chunk);
    expect(queue.shift()).toBe(chunk);
  });
});

describe('HTTP', () => {
  const question = (path: string, headers: Record<string, string> = {}, method = 'GET'): HttpQuestion => ({
    method,
    path,
    header: (name) => headers[name],
  });

  test('what each listener answers', () => {
    const statuses = (surface: 'all' | 'main' | 'captivePortal'): number[] =>
      ['/', '/ping', '/generate_204', '/healthz', '/relay', '/x'].map(
        (path) => answerHttp(question(path), surface, '1').status,
      );
    expect(statuses('all')).toEqual([200, 200, 204, 200, 400, 404]);
    expect(statuses('main')).toEqual([200, 200, 404, 200, 400, 404]);
    expect(statuses('captivePortal')).toEqual([404, 404, 204, 404, 404, 404]);
  });

  test('an upgrade without its headers', () => {
    const good = {
      upgrade: 'websocket',
      'sec-websocket-key': 'x',
      'sec-websocket-version': '13',
      'sec-websocket-protocol': 'iroh-relay-v1',
    };
    expect(judgeUpgrade(question('/relay', good), 'all')).toEqual({ protocol: 'iroh-relay-v1' });
    for (const missing of Object.keys(good)) {
      const headers = Object.fromEntries(Object.entries(good).filter(([name]) => name !== missing));
      expect(judgeUpgrade(question('/relay', headers), 'all')).toMatchObject({ status: 400 });
    }
    expect(judgeUpgrade(question('/relay', good, 'POST'), 'all')).toMatchObject({ status: 400 });
    expect(judgeUpgrade(question('/relay', good), 'captivePortal')).toMatchObject({ status: 404 });
  });
});

test('counters as OpenMetrics text under upstream’s names', () => {
  const metrics = new RelayServerMetrics();
  metrics.add('bytes_sent', 5);
  metrics.add('bytes_sent');
  const lines = metrics.toOpenMetrics().split('\n');
  expect(lines).toContain('relayserver_bytes_sent_total 6');
  expect(lines.slice(-2)).toEqual(['# EOF', '']);
  expect(metrics.snapshot()).toMatchObject({ bytes_sent: 6, accepts: 0 });
});
