/**
 * The DHT client of the package `pkarr`, loaded when it is needed. It gets a socket of ours instead of one of its own, so that
 * all it hears was looked at before.
 *
 * Its constructor would hang itself on the signals of the process, for good, and write its table of nodes to the user's folder.
 * Neither happens here.
 *
 * @module
 */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';

/**
 * Queries under way at a time, those of all lookups together. With the library's default, 16, twelve walks of a lookup server
 * (`actors/dht-fallback.ts`), of 50 queries each, would not end in time: a node that is gone keeps its place for 2 s. No walk asks
 * more because of it: each asks the 20 nodes closest to its key.
 */
const CONCURRENCY = 64;

/** A socket as the library wants it: sends through us, and hears what we let it hear. */
export class PkarrSocket extends EventEmitter {
  /** Called with each datagram that the library sends. Must not throw. */
  onSend: (data: Uint8Array, ip: string, port: number) => void = () => undefined;
  readonly #port: number;

  constructor(port: number) {
    super();
    this.#port = port;
  }

  /** Lets the library hear a datagram. Never throws: what it cannot stand, it has not heard. */
  deliver(data: Uint8Array, ip: string, port: number): void {
    try {
      this.emit('message', Buffer.from(data), { address: ip, port, family: 'IPv4', size: data.length });
    } catch {
      // Its own fault: replies were read before, and written again.
    }
  }

  // What follows is called by the library.

  send(data: Uint8Array, offset: number, length: number, port: number, ip: string): void {
    this.onSend(data.subarray(offset, offset + length), ip, port);
  }

  address(): { readonly address: string; readonly family: string; readonly port: number } {
    return { address: '0.0.0.0', family: 'IPv4', port: this.#port };
  }

  /** It is bound. */
  bind(): void {}

  close(): void {
    this.onSend = () => undefined;
    process.nextTick(() => this.emit('close'));
  }
}

/** A value of BEP 44 that its key has signed. */
export interface PkarrItem {
  readonly key: Uint8Array;
  readonly signature: Uint8Array;
  readonly seq: number;
  readonly value: Uint8Array;
}

/** A running client. */
export interface PkarrDht {
  /** Asks until nobody knows anybody closer to the key. What is found comes over the socket. */
  get(key: Uint8Array): Promise<void>;
  /** Stores at those that are closest to the key. Rejects when nobody takes it. */
  put(item: PkarrItem): Promise<void>;
  /** Ends all timers. Questions under way may never end. */
  destroy(): Promise<void>;
}

/** Makes clients. @throws whatever the package throws; nothing is left then. */
export type StartPkarrDht = (
  socket: PkarrSocket,
  bootstrap: readonly { readonly host: string; readonly port: number }[],
) => PkarrDht;

/** What of the package is used (`pkarr/lib/dht.js`). */
interface LibraryDht {
  get(key: Uint8Array, options: { readonly fullLookup: boolean }): Promise<unknown>;
  put(item: {
    readonly k: Uint8Array;
    readonly v: Uint8Array;
    readonly sig: Uint8Array;
    readonly seq: number;
  }): Promise<unknown>;
  destroy(): Promise<void>;
}
interface LibraryDhtOptions {
  readonly bootstrap: readonly { readonly host: string; readonly port: number }[];
  readonly storage: { readonly loadRoutingTable: (core: EventEmitter) => void };
  readonly socket: PkarrSocket;
  readonly concurrency: number;
}
interface Library {
  readonly DHT: (new (options: LibraryDhtOptions) => LibraryDht) & { readonly prototype: LibraryDht };
}

/** Loads the package. @throws when it, or its native part, is not there. */
export async function loadPkarrDht(): Promise<StartPkarrDht> {
  // @ts-expect-error the package has types for its main file only
  const { DHT } = (await import('pkarr/lib/dht.js')) as unknown as Library;
  return (socket, bootstrap) => {
    const library = constructWithoutSignals(DHT, { bootstrap, socket });
    try {
      socket.emit('listening');
    } catch (error) {
      void library.destroy().catch(() => undefined);
      throw error;
    }
    return {
      get: async (key) => void (await library.get(Buffer.from(key), { fullLookup: true })),
      put: async ({ key, signature, seq, value }) =>
        void (await library.put({
          k: Buffer.from(key),
          v: Buffer.from(value),
          sig: Buffer.from(signature),
          seq,
        })),
      destroy: () => library.destroy(),
    };
  };
}

/**
 * The constructor makes its core, has the storage fill it, and then registers for the ends of the process, with nothing to take
 * that back. So our storage, which has nothing to fill it with, keeps the core and ends the constructor there.
 */
function constructWithoutSignals(
  DHT: Library['DHT'],
  options: Pick<LibraryDhtOptions, 'bootstrap' | 'socket'>,
): LibraryDht {
  const enough = new Error('the core is made');
  let core: EventEmitter | undefined;
  const storage = {
    loadRoutingTable: (made: EventEmitter) => {
      core = made;
      throw enough;
    },
  };
  try {
    new DHT({ ...options, storage, concurrency: CONCURRENCY });
  } catch (error) {
    if (error !== enough) throw error;
  }
  if (core === undefined) throw new Error('the package pkarr is made otherwise than 1.3.0');
  // Nobody else listens, and an error without listeners would end the process.
  core.on('error', () => undefined);
  return Object.assign(Object.create(DHT.prototype) as LibraryDht, { _dht: core });
}

/** Where the value of a key is kept (BEP 44): its SHA-1, 20 bytes. */
export function targetOf(key: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha1').update(key).digest());
}
