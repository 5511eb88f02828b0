/**
 * What quiche's native binding is to this folder: its types, and what its errors say.
 *
 * Only `native.quiche` of `@matrixai/quic` is used, never that package's own sockets, connections and streams
 * (docs/decisions.md).
 *
 * @module
 */
import type { Quiche } from '@matrixai/quic/native/quiche.js';
import type {
  Config,
  Connection,
  Host,
  PathEvent,
  PathStats,
  SendInfo,
} from '@matrixai/quic/native/types.js';
import { TRANSPORT_CODES, TransportError } from '../quic/transport-error.ts';

export type { Config, Connection, Host, PathStats, Quiche, SendInfo };

/** Path events of the binding; its types leave one out and misname another's fields. */
export type NativePathEvent =
  | Exclude<PathEvent, { type: 'PeerMigrated' }>
  | { readonly type: 'FailedValidation'; readonly local: Host; readonly peer: Host }
  /** `old` is the local, `new` the peer's address of the path that the peer is on now. */
  | { readonly type: 'PeerMigrated'; readonly old: Host; readonly new: Host };

/** Half of a stream, as `streamShutdown` counts. */
export const SHUTDOWN = { read: 0, write: 1 } as const;

/** What a call failed with: quiche's name of the error, and the number that some carry. */
export interface NativeFailure {
  readonly name: string;
  readonly code: bigint | undefined;
}

/** Errors cross the binding as text in the form of Rust's `Debug`: `StreamReset(7)`, `Done`. */
export function failureOf(error: unknown): NativeFailure {
  // The addon's errors may come from another realm than ours.
  const text = String((error as Partial<Error>).message ?? error);
  const match = /^(\w+)(?:\((\d+)\))?$/.exec(text);
  return { name: match?.[1] ?? text, code: match?.[2] === undefined ? undefined : BigInt(match[2]) };
}

/** A transport error by its number on the wire; numbers that RFC 9000 does not know count as INTERNAL_ERROR. */
export function transportErrorOf(wireCode: number, message: string): TransportError {
  if (wireCode >= 0x100 && wireCode <= 0x1ff) return new TransportError({ alert: wireCode - 0x100 }, message);
  for (const [name, code] of Object.entries(TRANSPORT_CODES))
    if (code === wireCode) return new TransportError(name as keyof typeof TRANSPORT_CODES, message);
  return new TransportError('INTERNAL_ERROR', `${message} (0x${wireCode.toString(16)})`);
}
