/**
 * How the path to a peer changes, as it happens: the region `selected` of its remote's chart, read from a recording.
 *
 * @module
 */
import { styleText } from 'node:util';
import { systemPlatform } from '../index.ts';
import { createRecorder, type RecordedLine, type Recorder } from '../inspect/index.ts';

/** What the region says. */
export type SelectedState = 'none' | 'relayed' | 'direct' | 'custom';

/** One change. */
export interface SelectionChange {
  /** Since the timeline was made, ms. */
  readonly atMs: number;
  readonly from: SelectedState;
  readonly to: SelectedState;
  readonly reason: string;
  /** Where data goes now; absent when it goes nowhere. */
  readonly remote: string | undefined;
}

/** The part of a remote's state that matters here; see docs/machines/remote.md. */
interface RemoteState {
  readonly value?: { readonly active?: { readonly selected?: SelectedState } };
  readonly context?: { readonly reason?: string; readonly selected?: { readonly remote?: string } };
}

type Waiter = (to: SelectedState) => void;

const { clock } = systemPlatform;

const STATE_COLUMNS = 7;
const REASON_COLUMNS = 20;
/** As wide as `relayed → direct   established`. */
const NOTE_COLUMNS = 2 * STATE_COLUMNS + ' → '.length + 2 + REASON_COLUMNS;

const COLORS = { none: 'gray', relayed: 'yellow', direct: 'green', custom: 'cyan' } as const;

/** Watches one endpoint that has one peer. */
export class Timeline {
  /** Goes to `Endpoint.bind({ inspect })`. */
  readonly recorder: Recorder;
  readonly #started = clock.now();
  readonly #onChange: (change: SelectionChange) => void;
  readonly #waiters = new Set<Waiter>();
  #selected: SelectedState = 'none';

  constructor(onChange: (change: SelectionChange) => void) {
    this.#onChange = onChange;
    this.recorder = createRecorder({
      now: () => this.elapsedMs,
      onLine: (line) => this.#read(JSON.parse(line) as RecordedLine),
    });
  }

  /** Since the timeline was made, ms. */
  get elapsedMs(): number {
    return clock.now() - this.#started;
  }

  #read(line: RecordedLine): void {
    if (line.kind !== 'state' || !/^remote [0-9a-f]+$/.test(line.actor)) return;
    const { value, context } = line as RemoteState;
    // A remote that has ended has no regions any more.
    const to = value?.active?.selected;
    if (to === undefined || to === this.#selected) return;
    const from = this.#selected;
    this.#selected = to;
    this.#onChange({
      atMs: line.t!,
      from,
      to,
      reason: context?.reason ?? '',
      remote: to === 'none' ? undefined : context?.selected?.remote,
    });
    for (const waiter of [...this.#waiters]) waiter(to);
  }

  /** Resolves once data goes that way. @throws {Error} after `limitMs`. */
  async until(state: SelectedState, limitMs: number): Promise<void> {
    if (this.#selected === state) return;
    await new Promise<void>((resolve, reject) => {
      const waiter = (to: SelectedState): void => {
        if (to !== state) return;
        clock.clearTimeout(timer);
        this.#waiters.delete(waiter);
        resolve();
      };
      const timer = clock.setTimeout(() => {
        this.#waiters.delete(waiter);
        reject(new Error(`the path is still "${this.#selected}", not "${state}", after ${limitMs} ms`));
      }, limitMs);
      this.#waiters.add(waiter);
    });
  }
}

/** `0.421 s  relayed → direct   established   ip:192.0.2.2:53154`, in colour on a terminal. */
export function formatChange({ atMs, from, to, reason, remote }: SelectionChange): string {
  const arrow = `${paint(from)} → ${paint(to)}`;
  return `${formatTime(atMs)}  ${arrow}  ${reason.padEnd(REASON_COLUMNS)} ${remote ?? ''}`.trimEnd();
}

/** A line that tells of something else, with an address where changes have theirs. */
export function formatNote(atMs: number, text: string, remote = ''): string {
  return `${formatTime(atMs)}  ${text.padEnd(NOTE_COLUMNS)} ${remote}`.trimEnd();
}

/** Seconds with three digits, in nine columns. */
function formatTime(ms: number): string {
  return `${(ms / 1_000).toFixed(3).padStart(7)} s`;
}

function paint(state: SelectedState): string {
  const text = state.padEnd(STATE_COLUMNS);
  return process.stdout.isTTY && process.stdout.hasColors() ? styleText(COLORS[state], text) : text;
}
