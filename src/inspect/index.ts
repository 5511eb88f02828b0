/**
 * Seeing what endpoints do (`iroh-ts/inspect`): recordings, charts and tables of machines, and Stately's inspector.
 *
 * @module
 */
export { toMermaid, toTransitionTable, type ChartOptions } from './mermaid.ts';
export {
  describeChart,
  type Chart,
  type ChartState,
  type ChartTransition,
  type StateTable,
} from './chart.ts';
export {
  createRecorder,
  DEFAULT_RECORDING_BYTES,
  Recorder,
  type RecordedLine,
  type RecorderOptions,
} from './recorder.ts';
export { createStatelyInspector, type StatelyInspector, type StatelyOptions } from './stately.ts';
export { toPlain, type Plain } from './plain.ts';
export type { ActorInspectionEvent, Inspector } from '../actors/actor-system.ts';
export type { ChannelSend } from '../transport/channel.ts';
