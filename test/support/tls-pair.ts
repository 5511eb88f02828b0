/**
 * A TLS client and a TLS server that talk in memory, with a hand on the wire between them.
 *
 * @module
 */
import { hash } from '#crypto/kdf';
import { concatBytes, utf8 } from '../../src/base/bytes.ts';
import type { Rng } from '../../src/base/rng.ts';
import { ed25519PublicKey } from '#crypto/signature';
import { TlsAlert } from '../../src/tls/alert.ts';
import { createClientSession } from '../../src/tls/client-session.ts';
import { endpointTlsName } from '../../src/tls/endpoint-name.ts';
import { rawPublicKeyIdentity, rawPublicKeyVerifier } from '../../src/tls/profile.ts';
import { createServerSession } from '../../src/tls/server-session.ts';
import { MemorySessionStore } from '../../src/tls/session-store.ts';
import { MemoryTicketStore } from '../../src/tls/ticket-store.ts';
import type {
  ClientTlsConfig,
  CryptoLevel,
  ServerTlsConfig,
  TlsOutput,
  TlsSession,
} from '../../src/tls/session.ts';

export type Side = 'client' | 'server';

/** Wall clock of the tests, ms since 1970. */
export const NOW = 1_750_000_000_000;

export const clientSeed = hash('sha256', utf8('client'));
export const serverSeed = hash('sha256', utf8('server'));
export const clientKey = ed25519PublicKey(clientSeed);
export const serverKey = ed25519PublicKey(serverSeed);
/** The local name under which clients dial the server. */
export const serverName = endpointTlsName(serverKey);

export const clientParameters = Uint8Array.of(0x01, 0x02, 0x75, 0x30);
export const serverParameters = Uint8Array.of(0x04, 0x04, 0x80, 0x01, 0x00, 0x00);

/** Random bytes that follow from a seed. */
export function seededRng(seed: string): Rng {
  let counter = 0;
  return {
    fill(target) {
      for (let at = 0; at < target.length; at += 32)
        target.set(
          hash('sha256', utf8(`${seed} ${counter++}`)).subarray(0, Math.min(32, target.length - at)),
          at,
        );
      return target;
    },
  };
}

/** A raw public key client's profile; early data off, tickets on. */
export function clientConfig(changes: Partial<ClientTlsConfig> = {}): ClientTlsConfig {
  return {
    identity: rawPublicKeyIdentity(clientSeed),
    verifier: rawPublicKeyVerifier(),
    alpns: [utf8('test/1')],
    sni: undefined,
    tickets: new MemoryTicketStore(),
    earlyData: false,
    ...changes,
  };
}

/** A raw public key server's profile. */
export function serverConfig(changes: Partial<ServerTlsConfig> = {}): ServerTlsConfig {
  return {
    identity: rawPublicKeyIdentity(serverSeed),
    verifier: rawPublicKeyVerifier(),
    alpns: [utf8('test/1')],
    clientAuth: 'required',
    sessions: new MemorySessionStore(),
    ticketCount: 2,
    acceptEarlyData: true,
    ...changes,
  };
}

/** Sees CRYPTO bytes on their way; returns what arrives, in pieces. */
export type Wire = (from: Side, level: CryptoLevel, data: Uint8Array) => readonly Uint8Array[];

export interface PairOptions {
  readonly client?: ClientTlsConfig;
  readonly server?: ServerTlsConfig;
  readonly serverName?: string;
  readonly wire?: Wire;
  readonly seed?: string;
  /** Wall clock of each side. */
  readonly clientNow?: number;
  readonly serverNow?: number;
}

/** A handshake in memory. */
export class TlsPair {
  readonly client: TlsSession;
  readonly server: TlsSession;
  /** All outputs so far, in order. */
  readonly outputs: Record<Side, TlsOutput[]> = { client: [], server: [] };
  /** The first alert; the handshake stops there. */
  alert: { readonly side: Side; readonly error: TlsAlert } | undefined;
  readonly #wire: Wire;
  readonly #now: Record<Side, number>;
  /** What a side said after its peer had failed stays unsaid. */
  readonly #queue: { readonly from: Side; readonly level: CryptoLevel; readonly data: Uint8Array }[] = [];

  constructor(options: PairOptions = {}) {
    const seed = options.seed ?? 'seed';
    this.#wire = options.wire ?? ((_from, _level, data) => [data]);
    this.#now = { client: options.clientNow ?? NOW, server: options.serverNow ?? NOW };
    this.client = createClientSession(options.client ?? clientConfig(), options.serverName ?? serverName, {
      rng: seededRng(`${seed} client`),
      wallNow: this.#now.client,
      transportParameters: clientParameters,
    });
    this.server = createServerSession(options.server ?? serverConfig(), {
      rng: seededRng(`${seed} server`),
      wallNow: this.#now.server,
      transportParameters: serverParameters,
    });
  }

  /** Lets both talk until nobody has anything to say or somebody raised an alert. */
  run(): this {
    this.#drain('client');
    for (let item = this.#queue.shift(); item !== undefined; item = this.#queue.shift()) {
      const to: Side = item.from === 'client' ? 'server' : 'client';
      for (const piece of this.#wire(item.from, item.level, item.data)) {
        this.deliver(to, item.level, piece);
        if (this.alert !== undefined) return this;
      }
    }
    return this;
  }

  /** Hands CRYPTO bytes to one side. */
  deliver(to: Side, level: CryptoLevel, data: Uint8Array): void {
    try {
      this[to].handleCrypto(level, data, this.#now[to]);
    } catch (error) {
      if (!(error instanceof TlsAlert)) throw error;
      this.alert = { side: to, error };
      return;
    }
    this.#drain(to);
  }

  #drain(side: Side): void {
    const session = this[side];
    for (let output = session.poll(); output !== undefined; output = session.poll()) {
      this.outputs[side].push(output);
      if (output.type === 'crypto') this.#queue.push({ from: side, level: output.level, data: output.data });
    }
  }

  /** The outputs of one type. */
  all<T extends TlsOutput['type']>(side: Side, type: T): Extract<TlsOutput, { type: T }>[] {
    return this.outputs[side].filter((o): o is Extract<TlsOutput, { type: T }> => o.type === type);
  }

  /** The only output of one type. */
  one<T extends TlsOutput['type']>(side: Side, type: T): Extract<TlsOutput, { type: T }> {
    const [first, ...others] = this.all(side, type);
    if (first === undefined || others.length > 0) throw new Error(`${others.length + 1} × ${type}`);
    return first;
  }

  /** Everything that `side` sent at `level`. */
  sent(side: Side, level: CryptoLevel): Uint8Array {
    return concatBytes(
      ...this.all(side, 'crypto')
        .filter((o) => o.level === level)
        .map((o) => o.data),
    );
  }
}

/** Cuts handshake bytes into messages with their headers. */
export function splitMessages(data: Uint8Array): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let at = 0; at < data.length;) {
    const length = 4 + ((data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!);
    messages.push(data.slice(at, at + length));
    at += length;
  }
  return messages;
}

/** A wire that changes the messages of one type from one side; returning undefined drops the message. */
export function changing(
  from: Side,
  type: number,
  change: (message: Uint8Array) => Uint8Array | undefined,
): Wire {
  return (sender, _level, data) => {
    if (sender !== from) return [data];
    const messages = splitMessages(data).map((message) => (message[0] === type ? change(message) : message));
    return [concatBytes(...messages.filter((message) => message !== undefined))];
  };
}
