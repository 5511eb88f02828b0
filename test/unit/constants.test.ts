/**
 * The constants of the user's text (docs/seed-coverage.md): our value, the value there, and where ours comes from.
 */
import { describe, expect, test } from '@jest/globals';
import { OVERALL_REPORT_TIMEOUT_MS } from '../../src/machines/net-report.ts';
import { ACTOR_GRACE_MS } from '../../src/machines/socket.ts';
import { FULL_REPORT_INTERVAL_MS } from '../../src/net-report/plan.ts';
import {
  DEFAULT_TRANSPORT_CONFIG,
  HEARTBEAT_INTERVAL_MS,
  MAX_MULTIPATH_PATHS,
  PATH_MAX_IDLE_TIMEOUT_MS,
  RELAY_PATH_MAX_IDLE_TIMEOUT_MS,
} from '../../src/quic/config.ts';
import { MAX_RELAY_PAYLOAD_BYTES } from '../../src/relay/frames.ts';
import { MAX_PONG_TIMEOUT_MS, MIN_PONG_TIMEOUT_MS, PONG_TIMEOUT_RTTS } from '../../src/relay/ping-tracker.ts';
import { DEFAULT_RELAY_QUIC_PORT } from '../../src/relay/relay-map.ts';
import { CLIENT_QUEUE_FRAMES } from '../../src/relay/server/frame-queue.ts';
import {
  PING_JITTER_S,
  SERVER_PING_INTERVAL_MS,
  SERVER_WRITE_TIMEOUT_MS,
} from '../../src/actors/relay-session.ts';
import { MAX_TICKET_NAMES, MAX_TICKETS_PER_NAME } from '../../src/tls/ticket-store.ts';
import { MAX_MESSAGE_BYTES } from '../../src/transport/relay-socket.ts';
import { Pair } from '../support/pair.ts';

interface Row {
  readonly name: string;
  /** As the user's text has it, ms where it is a time. */
  readonly seed: number;
  /** What iroh 1.0.x does. */
  readonly upstream: number;
  /** Where upstream has it. */
  readonly source: string;
  /** What we do. */
  readonly ours: number;
}

const ROWS: readonly Row[] = [
  {
    name: 'HEARTBEAT_INTERVAL',
    seed: 5_000,
    upstream: 5_000,
    source: 'iroh/src/socket.rs',
    ours: HEARTBEAT_INTERVAL_MS,
  },
  {
    name: 'PATH_MAX_IDLE_TIMEOUT',
    seed: 15_000,
    upstream: 15_000,
    source: 'iroh/src/socket.rs',
    ours: PATH_MAX_IDLE_TIMEOUT_MS,
  },
  {
    name: 'RELAY_PATH_MAX_IDLE_TIMEOUT',
    seed: 30_000,
    upstream: 30_000,
    source: 'iroh/src/socket.rs',
    ours: RELAY_PATH_MAX_IDLE_TIMEOUT_MS,
  },
  {
    name: 'MAX_MULTIPATH_PATHS',
    seed: 12,
    upstream: 8,
    source: 'iroh/src/socket.rs, every tag of 1.0.x',
    ours: MAX_MULTIPATH_PATHS,
  },
  {
    name: 'DEFAULT_MAX_TLS_TICKETS',
    seed: 256,
    upstream: 256,
    source: 'iroh/src/tls.rs',
    ours: MAX_TICKET_NAMES * MAX_TICKETS_PER_NAME,
  },
  {
    name: 'NET_REPORT_TIMEOUT',
    seed: 10_000,
    upstream: 5_000,
    source: 'iroh/src/net_report/defaults.rs; 10 s is the wrapper in iroh/src/defaults.rs',
    ours: OVERALL_REPORT_TIMEOUT_MS,
  },
  {
    name: 'FULL_REPORT_INTERVAL',
    seed: 300_000,
    upstream: 300_000,
    source: 'iroh/src/net_report.rs',
    ours: FULL_REPORT_INTERVAL_MS,
  },
  {
    name: 'DEFAULT_RELAY_QUIC_PORT',
    seed: 3_478,
    upstream: 7_842,
    source: 'iroh-relay/src/defaults.rs',
    ours: DEFAULT_RELAY_QUIC_PORT,
  },
  {
    name: 'grace of the socket actor at close',
    seed: 100,
    upstream: 100,
    source: 'iroh/src/socket.rs',
    ours: ACTOR_GRACE_MS,
  },
];

test.each(ROWS)('$name: ours is upstream’s', (row) => {
  expect(row.ours).toBe(row.upstream);
});

test('where upstream and the text differ is known, row by row', () => {
  const differing = ROWS.filter(({ seed, upstream }) => seed !== upstream).map(({ name }) => name);
  expect(differing).toEqual(['MAX_MULTIPATH_PATHS', 'NET_REPORT_TIMEOUT', 'DEFAULT_RELAY_QUIC_PORT']);
});

describe('the constants are in use', () => {
  test('as defaults of the transport configuration', () => {
    expect(DEFAULT_TRANSPORT_CONFIG).toMatchObject({
      keepAliveIntervalMs: HEARTBEAT_INTERVAL_MS,
      pathKeepAliveIntervalMs: HEARTBEAT_INTERVAL_MS,
      pathMaxIdleTimeoutMs: PATH_MAX_IDLE_TIMEOUT_MS,
      maxConcurrentPaths: MAX_MULTIPATH_PATHS,
    });
  });

  test('the number of paths is an option, so that the value of the text can be had', () => {
    for (const paths of [12, 3]) {
      const pair = new Pair({ seed: 1, transport: { maxConcurrentPaths: paths } });
      const both = pair.connect();
      pair.runFor(500);
      for (let i = 1; i < paths; i++) pair.openPath(both);
      const tuple = { local: pair.client.bind(), remote: pair.server.addr };
      expect(() => both.client.quic.openPathEnsure(tuple, 'available', pair.now)).toThrow(
        `above the limit ${paths - 1}`,
      );
      pair.end();
    }
  });

  test('tickets: eight for each of thirty-two names', () => {
    expect([MAX_TICKETS_PER_NAME, MAX_TICKET_NAMES]).toEqual([8, 32]);
  });
});

test('the relay protocol', () => {
  // `iroh-relay/src/protos/relay.rs`, `ping_tracker.rs`, `defaults.rs`, `server/client.rs`
  expect({
    MAX_RELAY_PAYLOAD_BYTES,
    MAX_MESSAGE_BYTES,
    CLIENT_QUEUE_FRAMES,
    SERVER_PING_INTERVAL_MS,
    PING_JITTER_S,
    SERVER_WRITE_TIMEOUT_MS,
    MIN_PONG_TIMEOUT_MS,
    MAX_PONG_TIMEOUT_MS,
    PONG_TIMEOUT_RTTS,
  }).toEqual({
    MAX_RELAY_PAYLOAD_BYTES: 65_536,
    MAX_MESSAGE_BYTES: 1_048_576,
    CLIENT_QUEUE_FRAMES: 512,
    SERVER_PING_INTERVAL_MS: 15_000,
    PING_JITTER_S: 5,
    SERVER_WRITE_TIMEOUT_MS: 2_000,
    MIN_PONG_TIMEOUT_MS: 500,
    MAX_PONG_TIMEOUT_MS: 5_000,
    PONG_TIMEOUT_RTTS: 3,
  });
});
