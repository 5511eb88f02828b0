/**
 * Set and map that take memory only once they hold something.
 *
 * An empty Set or Map of V8 has a table of 250 bytes. A connection has more than a dozen that stay empty for most of them.
 *
 * @module
 */

const NOTHING: readonly never[] = [];

/** A set that is usually empty; as `Set`, as far as it goes. */
export class LazySet<T> {
  #set: Set<T> | undefined;

  get size(): number {
    return this.#set === undefined ? 0 : this.#set.size;
  }

  has(value: T): boolean {
    return this.#set !== undefined && this.#set.has(value);
  }

  add(value: T): void {
    (this.#set ??= new Set()).add(value);
  }

  delete(value: T): boolean {
    return this.#set !== undefined && this.#set.delete(value);
  }

  /** Empties it and gives its memory back. */
  clear(): void {
    this.#set = undefined;
  }

  /** In order of insertion; what is visited may be deleted meanwhile. */
  [Symbol.iterator](): Iterator<T> {
    return (this.#set ?? NOTHING)[Symbol.iterator]();
  }
}

/** A map that is usually empty; as `Map`, as far as it goes. */
export class LazyMap<Key, Value> {
  #map: Map<Key, Value> | undefined;

  get size(): number {
    return this.#map === undefined ? 0 : this.#map.size;
  }

  has(key: Key): boolean {
    return this.#map !== undefined && this.#map.has(key);
  }

  get(key: Key): Value | undefined {
    return this.#map?.get(key);
  }

  set(key: Key, value: Value): void {
    (this.#map ??= new Map<Key, Value>()).set(key, value);
  }

  delete(key: Key): boolean {
    return this.#map !== undefined && this.#map.delete(key);
  }

  /** Empties it and gives its memory back. */
  clear(): void {
    this.#map = undefined;
  }

  keys(): Iterable<Key> {
    return this.#map?.keys() ?? NOTHING;
  }

  values(): Iterable<Value> {
    return this.#map?.values() ?? NOTHING;
  }

  /** In order of insertion; what is visited may be deleted meanwhile. */
  [Symbol.iterator](): Iterator<[Key, Value]> {
    return this.#map === undefined ? NOTHING[Symbol.iterator]() : this.#map[Symbol.iterator]();
  }
}
