/**
 * What a record store and the thread of its database tell each other. Many packets are one message, and their bytes one buffer
 * that changes hands: each value of its own would be copied with the whole buffer that it is a part of.
 *
 * @module
 */
import { ENDPOINT_ID_BYTES } from '../base/endpoint-id.ts';
import type { PutOutcome } from './record-store.ts';
import type { KeyedPacket } from './sqlite-records.ts';

/** Byte strings one after the other. */
export interface PackedBytes {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Bytes of each; -1: there is none. */
  readonly lengths: Int32Array<ArrayBuffer>;
}

/** To the thread. It does one after the other, and answers with {@link SqliteAnswer}. */
export interface SqliteTask {
  /** Keys to be looked up. */
  readonly gets: PackedBytes;
  /** Keys with their packets, to be committed together. */
  readonly puts: PackedBytes;
  /** Packets before that are to go, µs since 1970. */
  readonly removeOlder?: bigint | undefined;
  /** Close and end, after all the rest. */
  readonly isLast: boolean;
}

/** Of one part of a task: what it brought, or why it failed. */
export type Attempt<T> = { readonly value: T } | { readonly error: unknown };

/** What a task changed. */
export interface SqliteChanges {
  /** Places in {@link OUTCOMES}. */
  readonly puts: Attempt<Uint8Array<ArrayBuffer>>;
  readonly removed: Attempt<number>;
  /** Packets in the database. */
  readonly size: number;
}

/** From the thread: what a task read, and what it changed; in two messages when the second takes a commit, else in one. */
export interface SqliteAnswer {
  readonly gets?: Attempt<PackedBytes>;
  /** The task is done. */
  readonly changes?: SqliteChanges;
}

/** From the thread, once: it is open, or could not be opened. */
export type SqliteStart = Attempt<{ readonly size: number }>;

export const OUTCOMES: readonly PutOutcome[] = ['inserted', 'updated', 'unchanged', 'full'];

/** Copies. */
export function pack(values: readonly (Uint8Array | undefined)[]): PackedBytes {
  const lengths = Int32Array.from(values, (value) => value?.length ?? -1);
  const bytes = new Uint8Array(values.reduce((sum, value) => sum + (value?.length ?? 0), 0));
  let at = 0;
  for (const value of values) {
    if (value === undefined) continue;
    bytes.set(value, at);
    at += value.length;
  }
  return { bytes, lengths };
}

/** Views. */
export function unpack({ bytes, lengths }: PackedBytes): (Uint8Array | undefined)[] {
  let at = 0;
  return Array.from(lengths, (length) => (length < 0 ? undefined : bytes.subarray(at, (at += length))));
}

/** Each key in front of its packet. */
export function packPackets(packets: readonly KeyedPacket[]): PackedBytes {
  const { bytes } = pack(packets.flatMap(({ key, payload }) => [key, payload]));
  return { bytes, lengths: Int32Array.from(packets, ({ payload }) => ENDPOINT_ID_BYTES + payload.length) };
}

/** Views. */
export function unpackPackets(packed: PackedBytes): KeyedPacket[] {
  return unpack(packed).map((entry) => ({
    key: entry!.subarray(0, ENDPOINT_ID_BYTES),
    payload: entry!.subarray(ENDPOINT_ID_BYTES),
  }));
}

/** What goes over without being copied. */
export function buffersOf(...packed: readonly PackedBytes[]): ArrayBuffer[] {
  return packed.flatMap(({ bytes, lengths }) => [bytes.buffer, lengths.buffer]);
}
