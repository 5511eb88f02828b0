/**
 * The life of one path on one connection, as a table: explicit like a chart, and one look-up per change
 * (behaviour of upstream's remote state; draft-ietf-quic-multipath-21 §3).
 *
 * @module
 */

/** Where in its life a path is. */
export type PathState = 'opening' | 'backup' | 'available' | 'stalled' | 'closed';

/** What happens to a path. */
export type PathTransition =
  /** The peer answered our challenge. */
  | 'validated'
  /** Data goes here from now on. */
  | 'selected'
  /** Data goes elsewhere from now on. */
  | 'deselected'
  /** Two PTOs without an acknowledgment. */
  | 'stalled'
  /** An acknowledgment came after all. */
  | 'resumed'
  /** Either side gave it up, or the connection ended. */
  | 'abandoned';

/** No entry: the event changes nothing in this state. */
export const pathTable: Record<PathState, Partial<Record<PathTransition, PathState>>> = {
  opening: { validated: 'backup', abandoned: 'closed' },
  backup: { selected: 'available', stalled: 'stalled', abandoned: 'closed' },
  available: { deselected: 'backup', stalled: 'stalled', abandoned: 'closed' },
  stalled: { resumed: 'backup', abandoned: 'closed' },
  closed: {},
};

/** The state after an event. */
export function nextPathState(state: PathState, event: PathTransition): PathState {
  return pathTable[state][event] ?? state;
}
