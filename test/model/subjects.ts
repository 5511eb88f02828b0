/**
 * All machines, each with the events that its actors send to it.
 *
 * @module
 */
import type { AnyEventObject } from 'xstate';
import { IDLE_NOTICE_MS } from '../../src/actors/idle-notice.ts';
import { connectionMachine, type ConnectionLifeEvent } from '../../src/machines/connection.ts';
import { endpointMachine, type EndpointEvent } from '../../src/machines/endpoint.ts';
import { netReportMachine, type NetReportEvent } from '../../src/machines/net-report.ts';
import { portMapperMachine, type PortMapperEvent } from '../../src/machines/port-mapper.ts';
import { publisherMachine, type PublisherEvent } from '../../src/machines/publisher.ts';
import {
  relayClientMachine,
  type RelayClientEvent,
  type RelayLossReason,
} from '../../src/machines/relay-client.ts';
import type { SelectionReason } from '../../src/machines/path-selection.ts';
import { remoteMachine, type RemoteEvent } from '../../src/machines/remote.ts';
import { routerMachine, type FilterOutcome, type RouterEvent } from '../../src/machines/router.ts';
import { REPORT_REASONS, socketMachine, type SocketEvent } from '../../src/machines/socket.ts';
import type { SimRng } from '../support/sim-rng.ts';
import type { ModelSubject } from './driver.ts';

/** Makers of events, checked against the machine's union. */
const eventsOf = <E extends AnyEventObject>(
  ...makers: ((random: SimRng) => E)[]
): ((random: SimRng) => AnyEventObject)[] => makers;

const REASONS: readonly SelectionReason[] = ['established', 'betterRtt', 'timedOut', 'stalled', 'resumed'];
const CLOSE_REASONS = [
  'locallyClosed',
  'transportError',
  'applicationClosed',
  'connectionClosed',
  'timedOut',
  'reset',
  'versionMismatch',
] as const;
const OUTCOMES: readonly FilterOutcome[] = ['accept', 'retry', 'reject', 'ignore', 'failed'];

const LOSSES: readonly RelayLossReason[] = ['closedByRelay', 'broken', 'protocolError'];

export const subjects: readonly ModelSubject[] = [
  {
    name: 'endpoint',
    machine: endpointMachine,
    input: { endpoint: 'e', timeoutMs: 3_000 },
    events: eventsOf<EndpointEvent>(
      (random) => ({
        type: 'close',
        now: random.below(1_000),
        timeoutMs: random.chance(0.3) ? undefined : random.below(5_000),
      }),
      (random) => (random.chance(0.1) ? { type: 'abort' } : { type: 'close', now: 0, timeoutMs: undefined }),
    ),
  },
  {
    name: 'connection',
    machine: connectionMachine,
    events: eventsOf<ConnectionLifeEvent>(
      () => ({ type: 'earlyDataStarted' }),
      () => ({ type: 'zeroRttRejected' }),
      (random) => ({ type: 'connected', side: random.pick(['client', 'server'] as const) }),
      () => ({ type: 'handshakeConfirmed' }),
      (random) => ({ type: 'closed', reason: random.pick(CLOSE_REASONS) }),
      () => ({ type: 'draining' }),
      () => ({ type: 'drained' }),
      (random) => (random.chance(0.1) ? { type: 'endpointEnded' } : { type: 'draining' }),
    ),
  },
  {
    name: 'socket',
    machine: socketMachine,
    input: { endpoint: 'e' },
    events: eventsOf<SocketEvent>(
      (random) => ({ type: 'networkChanged', isMajor: random.chance(0.5) }),
      () => ({ type: 'networkHint' }),
      () => ({ type: 'relayMapChanged' }),
      () => ({ type: 'portMapChanged' }),
      () => ({ type: 'directRefresh' }),
      () => ({ type: 'localAddrsChanged' }),
      (random) => ({ type: 'reportWanted', reason: random.pick(REPORT_REASONS) }),
      // The end comes seldom, or nothing else would be seen.
      (random) => (random.chance(0.1) ? { type: 'closeStarted' } : { type: 'networkHint' }),
      (random) => (random.chance(0.1) ? { type: 'stop' } : { type: 'networkHint' }),
    ),
  },
  {
    name: 'remote',
    machine: remoteMachine,
    input: { remote: 'r' },
    events: eventsOf<RemoteEvent>(
      (random) => ({ type: 'idle', forMs: random.below(IDLE_NOTICE_MS + 1) }),
      () => ({ type: 'busy' }),
      () => ({ type: 'lookUp' }),
      (random) => ({
        type: 'punch',
        decision: random.pick(['none', 'wait', 'now', 'later'] as const),
        delayMs: random.below(5_000),
      }),
      () => ({ type: 'punchStarted' }),
      () => ({ type: 'punchFailed' }),
      () => ({ type: 'openBlocked' }),
      (random) => ({
        type: 'select',
        path: {
          kind: random.pick(['relayed', 'direct', 'custom'] as const),
          remote: '192.0.2.1:1',
          local: undefined,
        },
        reason: random.pick(REASONS),
      }),
      (random) => ({ type: 'deselect', reason: random.pick(REASONS) }),
      (random) => (random.chance(0.1) ? { type: 'stop' } : { type: 'lookUp' }),
    ),
  },
  {
    name: 'router',
    machine: routerMachine,
    input: { endpoint: 'e' },
    events: eventsOf<RouterEvent>(
      (random) => ({
        type: 'attemptArrived',
        attempt: random.below(100),
        outcome: random.pick(OUTCOMES),
        isValidated: random.chance(0.5),
      }),
      () => ({ type: 'taskEnded' }),
      (random) => (random.chance(0.2) ? { type: 'endpointClosed' } : { type: 'taskEnded' }),
      (random) => ({
        type: 'shutdown',
        now: random.below(1_000),
        limitMs: random.chance(0.3) ? undefined : random.below(10_000),
      }),
    ),
  },
  {
    name: 'netReport',
    machine: netReportMachine,
    belts: {
      'probing --after report limit--> finalizing':
        'each probe ends after 3 s and HTTPS waits 400 ms more at most: the limit of 5 s is for probes to come',
    },
    events: eventsOf<NetReportEvent>(
      (random) => ({ type: 'run', isFull: random.chance(0.5) }),
      () => ({ type: 'found' }),
      () => ({ type: 'cancel' }),
      (random) => (random.chance(0.1) ? { type: 'close' } : { type: 'cancel' }),
    ),
  },
  {
    name: 'portMapper',
    machine: portMapperMachine,
    input: { endpoint: 'e' },
    events: eventsOf<PortMapperEvent>(
      (random) => ({ type: 'setPort', port: random.pick([undefined, 1, 1, 2]) }),
      () => ({ type: 'procure' }),
      () => ({ type: 'procure' }),
      () => ({ type: 'check' }),
      (random) => (random.chance(0.3) ? { type: 'closeStarted' } : { type: 'procure' }),
      (random) => (random.chance(0.1) ? { type: 'stop' } : { type: 'procure' }),
    ),
  },
  {
    name: 'relayClient',
    machine: relayClientMachine,
    input: { relay: 'relay.example', isHome: false },
    events: eventsOf<RelayClientEvent>(
      () => ({ type: 'pong' }),
      (random) => (random.chance(0.3) ? { type: 'lost', reason: random.pick(LOSSES) } : { type: 'pong' }),
      (random) => ({ type: 'check', localAddr: random.pick(['kept', 'kept', 'gone', 'hidden'] as const) }),
      () => ({ type: 'retry' }),
      (random) => ({ type: 'setHome', isHome: random.chance(0.3) }),
      () => ({ type: 'held' }),
      () => ({ type: 'blocked' }),
      (random) => (random.chance(0.1) ? { type: 'stop' } : { type: 'blocked' }),
    ),
  },
  {
    name: 'publisher',
    machine: publisherMachine,
    input: { server: 'dns.example', republishIntervalMs: 300_000, debounceMs: 50, timeLimitMs: 10_000 },
    events: eventsOf<PublisherEvent>(
      () => ({ type: 'changed' }),
      (random) => (random.chance(0.1) ? { type: 'close' } : { type: 'changed' }),
    ),
  },
];
