/**
 * One report after the other about the network between us and the relays: what is asked at the same time, when enough is
 * known, and when to give up (upstream `iroh/src/net_report/reportgen.rs`).
 *
 * Address discovery and HTTPS probes run beside each other. A relay whose UDP is blocked delays the report by a moment only,
 * not by the whole time limit of the probe as upstream has it. Somebody who may answer in the place of the relays is looked
 * for only while nobody has answered over UDP, and delays no report that has found all relays.
 *
 * @module
 */
import { assign, fromPromise, setup } from 'xstate';
import { notProvided } from './not-provided.ts';

/** One report takes no longer, ms; upstream `OVERALL_REPORT_TIMEOUT`, `iroh/src/net_report/defaults.rs`. */
export const OVERALL_REPORT_TIMEOUT_MS = 5_000;
/** Probes take no longer, ms; upstream `PROBES_TIMEOUT`. */
export const PROBES_TIMEOUT_MS = 3_000;
/**
 * What address discovery gets once all relays have answered over HTTPS, ms: enough for a first packet that was lost and is
 * sent again after three times the initial RTT.
 */
export const QAD_GRACE_MS = 400;

/** The question for a captive portal comes so long after the others, ms; upstream `CAPTIVE_PORTAL_DELAY`. */
export const CAPTIVE_PORTAL_DELAY_MS = 200;
/** It gets so long, ms; upstream `CAPTIVE_PORTAL_TIMEOUT`. */
export const CAPTIVE_PORTAL_TIMEOUT_MS = 2_000;

export type NetReportEvent =
  /** A report is wanted. */
  | { readonly type: 'run'; readonly isFull: boolean }
  /** A probe was answered. */
  | { readonly type: 'found' }
  | { readonly type: 'cancel' }
  | { readonly type: 'close' };

export interface NetReportContext {
  /** Whether the running report, or the last one, forgets what was known before. */
  readonly isFull: boolean;
  readonly reports: number;
}

export const netReportMachine = setup({
  types: {} as { context: NetReportContext; events: NetReportEvent },
  actors: {
    'ask for our IPv4 address': fromPromise<void>(notProvided('ask for our IPv4 address')),
    'ask for our IPv6 address': fromPromise<void>(notProvided('ask for our IPv6 address')),
    'probe over HTTPS': fromPromise<void>(notProvided('probe over HTTPS')),
    'ask for captive portal': fromPromise<void>(notProvided('ask for captive portal')),
  },
  actions: {
    'plan probes': notProvided('plan probes'),
    'hand out report': notProvided('hand out report'),
    'give up report': notProvided('give up report'),
    'close connections': notProvided('close connections'),
    'remember wish': assign(({ event }) => (event.type === 'run' ? { isFull: event.isFull } : {})),
    'count report': assign({ reports: ({ context }) => context.reports + 1 }),
  },
  guards: {
    'knows enough': notProvided('knows enough'),
    'address discovery is over': notProvided('address discovery is over'),
    'all answered over HTTPS': notProvided('all answered over HTTPS'),
    'no portal can be there': notProvided('no portal can be there'),
  },
  delays: {
    'report limit': OVERALL_REPORT_TIMEOUT_MS,
    'probe limit': PROBES_TIMEOUT_MS,
    'QAD grace': QAD_GRACE_MS,
    'captive portal delay': CAPTIVE_PORTAL_DELAY_MS,
    'captive portal limit': CAPTIVE_PORTAL_TIMEOUT_MS,
  },
}).createMachine({
  id: 'netReport',
  context: { isFull: false, reports: 0 },
  initial: 'idle',
  on: { close: '.closed' },
  states: {
    idle: { on: { run: { target: 'probing', actions: ['remember wish', 'plan probes'] } } },
    probing: {
      type: 'parallel',
      on: {
        found: { guard: 'knows enough', target: 'finalizing' },
        cancel: { target: 'idle', actions: 'give up report' },
      },
      onDone: 'finalizing',
      after: { 'report limit': 'finalizing' },
      states: {
        qadV4: {
          initial: 'asking',
          states: {
            asking: {
              invoke: { id: 'qadV4', src: 'ask for our IPv4 address', onDone: 'done', onError: 'done' },
              after: { 'probe limit': 'done' },
            },
            done: { type: 'final' },
          },
        },
        qadV6: {
          initial: 'asking',
          states: {
            asking: {
              invoke: { id: 'qadV6', src: 'ask for our IPv6 address', onDone: 'done', onError: 'done' },
              after: { 'probe limit': 'done' },
            },
            done: { type: 'final' },
          },
        },
        https: {
          initial: 'probing',
          states: {
            probing: {
              invoke: {
                id: 'https',
                src: 'probe over HTTPS',
                onDone: [{ guard: 'all answered over HTTPS', target: 'waiting' }, { target: 'done' }],
                onError: 'done',
              },
              after: { 'probe limit': 'done' },
            },
            waiting: {
              always: { guard: 'address discovery is over', target: 'done' },
              after: { 'QAD grace': '#netReport.finalizing' },
            },
            done: { type: 'final' },
          },
        },
        captivePortal: {
          initial: 'delaying',
          states: {
            delaying: {
              always: { guard: 'no portal can be there', target: 'done' },
              after: { 'captive portal delay': 'asking' },
            },
            asking: {
              always: { guard: 'no portal can be there', target: 'done' },
              invoke: { id: 'captivePortal', src: 'ask for captive portal', onDone: 'done', onError: 'done' },
              after: { 'captive portal limit': 'done' },
            },
            done: { type: 'final' },
          },
        },
      },
    },
    finalizing: {
      entry: ['count report', 'hand out report'],
      always: 'idle',
    },
    closed: { type: 'final', entry: ['give up report', 'close connections'] },
  },
});
