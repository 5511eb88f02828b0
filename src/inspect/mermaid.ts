/**
 * Machines as pictures and tables for people: Mermaid state diagrams, which GitHub draws, and Markdown tables. The same
 * machine gives the same text every time.
 *
 * @module
 */
import type { AnyStateMachine } from 'xstate';
import {
  describeChart,
  type Chart,
  type ChartState,
  type ChartTransition,
  type StateTable,
} from './chart.ts';

/** What to draw besides. */
export interface ChartOptions {
  /** What a table is called; a machine has its id. */
  readonly name?: string;
}

/** An arrow of the picture. */
interface Arrow {
  readonly from: string;
  readonly to: string;
  readonly label: string;
}

/**
 * A machine, or a table of states, as Mermaid text (`stateDiagram-v2`). Regions that run beside each other are separated by
 * dashes; arrows name event, condition, and actions. Actions without a change of state are arrows from a state to itself.
 */
export function toMermaid(subject: AnyStateMachine | StateTable, options: ChartOptions = {}): string {
  const chart = describeChart(subject, options.name);
  const arrows = arrowsOf(chart);
  const lines = ['stateDiagram-v2'];
  drawInside(chart, arrows, '', '  ', lines);
  // Arrows between states of different parents are drawn last and outside, where Mermaid leaves all states where they are.
  for (const arrow of arrows) if (scopeOf(arrow) === undefined) lines.push(`  ${draw(arrow)}`);
  return `${lines.join('\n')}\n`;
}

const childrenOf = (chart: Chart, parent: string): readonly ChartState[] =>
  chart.states.filter((state) => state.parent === parent);

const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('.')));

/** Mermaid's names of states have letters and digits only. */
const idOf = (path: string): string => path.replace(/[^A-Za-z0-9]+/g, '_');

/** The state in whose box an arrow is drawn; nothing when it crosses boxes. */
function scopeOf({ from, to }: Arrow): string | undefined {
  return parentOf(from) === parentOf(to) ? parentOf(from) : undefined;
}

function drawInside(
  chart: Chart,
  arrows: readonly Arrow[],
  parent: string,
  indent: string,
  lines: string[],
): void {
  const children = childrenOf(chart, parent);
  const around = chart.states.find(({ path }) => path === parent);
  const isParallel = around === undefined ? chart.isParallel : around.kind === 'parallel';
  const initial = around === undefined ? chart.initial : around.initial;
  children.forEach((state, index) => {
    if (isParallel && index > 0) lines.push(`${indent}--`);
    const isBox = state.kind === 'compound' || state.kind === 'parallel';
    lines.push(`${indent}state "${state.name}" as ${idOf(state.path)}${isBox ? ' {' : ''}`);
    if (!isBox) return;
    drawInside(chart, arrows, state.path, `${indent}  `, lines);
    lines.push(`${indent}}`);
  });
  if (initial !== undefined) lines.push(`${indent}[*] --> ${idOf(initial)}`);
  for (const arrow of arrows) if (scopeOf(arrow) === parent) lines.push(`${indent}${draw(arrow)}`);
  for (const state of children)
    if (state.kind === 'final') lines.push(`${indent}${idOf(state.path)} --> [*]`);
}

const draw = ({ from, to, label }: Arrow): string => `${idOf(from)} --> ${idOf(to)}: ${label}`;

/** Characters that mean something to Mermaid, as its entities. */
const escape = (text: string): string =>
  text.replace(/[:;#]/g, (character) => `#${character.charCodeAt(0)};`);

function arrowsOf(chart: Chart): Arrow[] {
  const kinds = new Map(chart.states.map(({ path, kind }) => [path, kind]));
  const merged = new Map<string, Arrow>();
  const add = (from: string, to: string, label: string): void => {
    const key = `${from}>${to}`;
    const old = merged.get(key);
    merged.set(key, { from, to, label: old === undefined ? label : `${old.label}<br/>${label}` });
  };
  for (const transition of chart.transitions) {
    const label = labelOf(transition);
    const sources = leavesOf(chart, transition);
    for (const target of transition.targets) for (const from of sources) add(from, target, label);
    // A box cannot point at itself; the table has what happens there.
    if (transition.targets.length === 0 && kinds.get(transition.source) === 'atomic')
      add(transition.source, transition.source, label);
  }
  return [...merged.values()];
}

/**
 * Where an arrow begins. Mermaid cannot draw one from a box into itself: such a transition is drawn from each state of the
 * box, which is also what it means.
 */
function leavesOf(chart: Chart, { source, targets, event }: ChartTransition): readonly string[] {
  const isInside = targets.some(
    (target) => source === '' || target.startsWith(`${source}.`) || target === source,
  );
  const children = childrenOf(chart, source);
  if (!isInside || children.length === 0) return [source];
  const isParallel =
    source === '' ? chart.isParallel : chart.states.find(({ path }) => path === source)!.kind === 'parallel';
  return children
    .filter(({ kind }) => kind !== 'final' && kind !== 'history')
    .filter(({ path }) => !isParallel || targets.some((target) => target.startsWith(`${path}.`)))
    .flatMap(({ path }) => (isParallel ? childrenOf(chart, path).map((each) => each.path) : [path]))
    .filter((path) => !targets.some((target) => target.startsWith(`${path}.`)))
    .filter((path) => !isOverruled(chart, path, event));
}

/** Whether a state has an answer of its own to an event, whatever the states around it say. */
function isOverruled(chart: Chart, path: string, event: string): boolean {
  return chart.transitions.some(
    (each) => each.source === path && each.event === event && each.guard === undefined,
  );
}

function labelOf({ event, guard, actions }: ChartTransition): string {
  const condition = guard === undefined ? '' : ` [${guard}]`;
  const effects = actions.length === 0 ? '' : ` / ${actions.join(', ')}`;
  return escape(`${event}${condition}${effects}`);
}

/** A machine, or a table of states, as a Markdown table: one row per transition, per entry, exit and running actor. */
export function toTransitionTable(subject: AnyStateMachine | StateTable, options: ChartOptions = {}): string {
  const chart = describeChart(subject, options.name);
  const rows: string[][] = [];
  const transitionsFrom = (source: string): void => {
    for (const { event, guard, targets, actions } of chart.transitions.filter(
      (each) => each.source === source,
    ))
      rows.push([
        code(source || '(everywhere)'),
        event,
        guard ?? '',
        targets.map(code).join(', '),
        actions.join(', '),
      ]);
  };
  transitionsFrom('');
  for (const { path, entry, exit, invokes, kind } of chart.states) {
    if (entry.length > 0) rows.push([code(path), '*on entry*', '', '', entry.join(', ')]);
    for (const invoke of invokes) rows.push([code(path), '*meanwhile*', '', '', `runs ${invoke}`]);
    transitionsFrom(path);
    if (exit.length > 0) rows.push([code(path), '*on exit*', '', '', exit.join(', ')]);
    if (kind === 'final') rows.push([code(path), '*end*', '', '', '']);
  }
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  return [['state', 'event', 'if', 'next', 'actions'], ['---', '---', '---', '---', '---'], ...rows]
    .map((row) => `| ${row.map(cell).join(' | ')} |\n`)
    .join('');
}

const code = (text: string): string => `\`${text}\``;
