/**
 * A state machine as plain data: its states and transitions in document order, everything by its name. What charts, tables
 * and the recorder draw from.
 *
 * @module
 */
import type { AnyStateMachine, AnyStateNode, AnyTransitionDefinition } from 'xstate';

/** One state of a {@link Chart}. */
export interface ChartState {
  /** Names from the root, joined with dots, e.g. `active.lookup.idle`. */
  readonly path: string;
  readonly name: string;
  /** Path of the state around it; empty for a state of the machine itself. */
  readonly parent: string;
  readonly kind: AnyStateNode['type'];
  /** Path of the state that is entered first, of a compound state. */
  readonly initial: string | undefined;
  /** Actions on the way in. */
  readonly entry: readonly string[];
  /** Actions on the way out. */
  readonly exit: readonly string[];
  /** Actors that run while the machine is here. */
  readonly invokes: readonly string[];
}

/** One transition of a {@link Chart}. */
export interface ChartTransition {
  /** Path of the state it leaves; empty for the machine itself. */
  readonly source: string;
  /** The event in words, e.g. `stop`, `after idle limit`, `lookup done`, `always`. */
  readonly event: string;
  /** The condition in words, if there is one. */
  readonly guard: string | undefined;
  /** Paths of the states it enters; none: only actions run. */
  readonly targets: readonly string[];
  readonly actions: readonly string[];
}

/** A machine as plain data. */
export interface Chart {
  readonly name: string;
  /** Whether the machine itself consists of regions. */
  readonly isParallel: boolean;
  readonly initial: string | undefined;
  readonly states: readonly ChartState[];
  readonly transitions: readonly ChartTransition[];
}

/** A table of states: what follows on which event. */
export type StateTable<S extends string = string, E extends string = string> = Readonly<
  Record<S, Readonly<Partial<Record<E, S>>>>
>;

/** Path of a state, e.g. `active.lookup.idle`. */
export const pathOf = (node: AnyStateNode): string => node.path.join('.');

/** Whether it is a machine and not a table. */
export const isMachine = (subject: AnyStateMachine | StateTable): subject is AnyStateMachine =>
  'root' in subject;

/** Describes a machine, or a table whose first state is the initial one. @param name - Only for a table. */
export function describeChart(subject: AnyStateMachine | StateTable, name = 'table'): Chart {
  return isMachine(subject) ? describeMachine(subject) : describeTable(subject, name);
}

function describeTable(table: StateTable, name: string): Chart {
  const paths = Object.keys(table);
  return {
    name,
    isParallel: false,
    initial: paths[0],
    states: paths.map((path) => ({
      path,
      name: path,
      parent: '',
      kind: Object.keys(table[path]!).length === 0 ? 'final' : 'atomic',
      initial: undefined,
      entry: [],
      exit: [],
      invokes: [],
    })),
    transitions: paths.flatMap((source) =>
      Object.entries(table[source]!).map(([event, target]) => ({
        source,
        event,
        guard: undefined,
        targets: [target!],
        actions: [],
      })),
    ),
  };
}

function describeMachine(machine: AnyStateMachine): Chart {
  const nodes = allNodes(machine.root);
  return {
    name: machine.id,
    isParallel: machine.root.type === 'parallel',
    initial: initialOf(machine.root),
    states: nodes.slice(1).map((node) => ({
      path: pathOf(node),
      name: node.key,
      parent: pathOf(node.parent!),
      kind: node.type,
      initial: initialOf(node),
      entry: actionNames(node.entry),
      exit: actionNames(node.exit),
      invokes: node.invoke.map(({ id, src }) =>
        typeof src === 'string' && src !== id ? `${id} (${src})` : id,
      ),
    })),
    transitions: nodes.flatMap(transitionsOf).map(describeTransition),
  };
}

/** A state and all in it, in document order. */
export function allNodes(node: AnyStateNode): AnyStateNode[] {
  return [node, ...Object.values(node.states).flatMap((child) => allNodes(child as AnyStateNode))];
}

/** The transitions that begin in a state, in document order, eventless ones last. */
export function transitionsOf(node: AnyStateNode): AnyTransitionDefinition[] {
  return [...[...node.transitions.values()].flat(), ...(node.always ?? [])];
}

/** One transition by its names. */
export function describeTransition(transition: AnyTransitionDefinition): ChartTransition {
  return {
    source: pathOf(transition.source),
    event: eventName(transition.eventType as string),
    guard: transition.guard === undefined ? undefined : guardName(transition.guard),
    targets: (transition.target ?? []).map(pathOf),
    actions: actionNames(transition.actions),
  };
}

function initialOf(node: AnyStateNode): string | undefined {
  const target = node.type === 'compound' ? node.initial.target?.[0] : undefined;
  return target && pathOf(target);
}

/** XState's own events in words: `xstate.after.idle limit.remote.active` is `after idle limit`. */
export function eventName(type: string): string {
  if (type === '') return 'always';
  if (type === '*') return 'any other event';
  const [, kind, rest] =
    /^xstate\.(after|done\.actor|error\.actor|done\.state|snapshot\.actor)\.(.*)$/.exec(type) ?? [];
  switch (kind) {
    case 'after': {
      // The delay's name, then the id of the state, which has dots and begins with the machine's.
      const delay = rest!.split('.')[0]!;
      return `after ${/^\d+$/.test(delay) ? `${delay} ms` : delay}`;
    }
    case 'done.actor':
      return `${rest} done`;
    case 'error.actor':
      return `${rest} failed`;
    case 'snapshot.actor':
      return `${rest} changed`;
    case 'done.state':
      return 'all done';
    default:
      return type;
  }
}

interface Named {
  readonly type?: string;
  readonly params?: unknown;
}

/** A name, with parameters in brackets when they are plain. */
function withParams({ type = '(inline)', params }: Named): string {
  if (typeof params !== 'object' || params === null) return type;
  const texts = Object.entries(params)
    .filter(([, value]) => ['string', 'number', 'boolean'].includes(typeof value))
    .map(([key, value]) => `${key}: ${value}`);
  return texts.length === 0 ? type : `${type} (${texts.join(', ')})`;
}

function guardName(guard: unknown): string {
  if (typeof guard === 'string') return guard;
  if (typeof guard === 'function') {
    // `and`, `or`, `not` and `stateIn` are functions that carry their arguments.
    const { guards = [], name } = guard as { guards?: readonly unknown[]; name: string };
    const names = guards.map(guardName);
    if (name === 'not') return `not ${names[0]}`;
    return names.length > 0 ? names.join(` ${name} `) : name === 'stateIn' ? 'in a state' : '(inline)';
  }
  return withParams(guard as Named);
}

function actionNames(actions: readonly unknown[]): string[] {
  return actions.map(actionName).filter((name) => name !== undefined);
}

function actionName(action: unknown): string | undefined {
  if (typeof action === 'string') return action;
  if (typeof action !== 'function') return withParams(action as Named);
  const { type, event } = action as { type?: string; event?: Named | ((...args: unknown[]) => Named) };
  if (type === undefined) return '(inline)';
  const short = type.replace(/^xstate\./, '');
  // Delays of `after` are raised and cancelled by actions that XState adds.
  if (typeof event === 'object' && event.type?.startsWith('xstate.after.')) return undefined;
  if (short === 'cancel') return undefined;
  return typeof event === 'object' ? `${short} ${event.type}` : `(${short})`;
}
