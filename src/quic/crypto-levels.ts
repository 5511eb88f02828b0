/**
 * The handshake of a connection: TLS session, its CRYPTO streams, and the packet keys of every level
 * (RFC 9001 §4; RFC 9000 §7).
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import { randomBelow, type Rng } from '../base/rng.ts';
import type { CryptoLevel, PeerIdentity, TlsSession } from '../tls/session.ts';
import type { TransportConfig } from './config.ts';
import { CryptoStream } from './crypto-stream.ts';
import type { Side } from './engine.ts';
import { KeyPhases } from './key-phases.ts';
import { PacketSpace } from './spaces.ts';
import { PacketKeys } from './wire/protection.ts';

/** Read and write keys of a long-header level. */
export interface KeyPair {
  readonly read: PacketKeys;
  readonly write: PacketKeys;
}

/** A level before 1-RTT: its packets, its CRYPTO stream, its keys while they exist. */
export interface HandshakeLevel {
  readonly name: 'initial' | 'handshake';
  space: PacketSpace;
  stream: CryptoStream;
  keys: KeyPair | undefined;
  /** Keys existed and were thrown away: packets of this level are ignored from now on (RFC 9001 §4.9). */
  discarded: boolean;
}

/** What the TLS session tells the connection. */
export interface HandshakeListener {
  onPeerTransportParameters(data: Uint8Array): void;
  onAlpn(alpn: Uint8Array): void;
  onEarlyData(accepted: boolean): void;
  onOneRttKeys(): void;
  onHandshakeComplete(peer: PeerIdentity | undefined): void;
}

/** Everything cryptographic about one connection. */
export class CryptoLevels {
  readonly tls: TlsSession;
  readonly initial: HandshakeLevel = level('initial');
  readonly handshake: HandshakeLevel = level('handshake');
  /** Tickets travel here, in 1-RTT packets. */
  readonly application = new CryptoStream();
  /** Client: write; server: read. */
  zeroRtt: PacketKeys | undefined;
  oneRtt: KeyPhases | undefined;
  /** 1-RTT packets may be processed: TLS is complete (RFC 9001 §5.7). */
  mayReadOneRtt = false;
  readonly #side: Side;
  readonly #config: TransportConfig;
  readonly #rng: Rng;

  constructor(side: Side, tls: TlsSession, initialKeys: KeyPair, config: TransportConfig, rng: Rng) {
    this.#side = side;
    this.tls = tls;
    this.#config = config;
    this.#rng = rng;
    this.initial.keys = initialKeys;
  }

  /** Client: after a Retry, Initial keys follow from its source cid (RFC 9001 §5.2). */
  setInitialKeys(dcid: Uint8Array): void {
    this.initial.keys = PacketKeys.initial(dcid, this.#side);
  }

  /** Hands in-order bytes of `level` to TLS, then acts on all it has to say. @throws {TlsAlert} */
  advance(level: CryptoLevel, listener: HandshakeListener, wallNow: Millis): void {
    const stream = this.#stream(level);
    for (let data = stream.read(); data !== undefined; data = stream.read()) {
      this.tls.handleCrypto(level, data, wallNow);
      // Acted on after every message run: keys must exist before the bytes of the next level are looked at.
      this.drain(listener);
    }
  }

  /** Acts on queued TLS outputs; also called once at the start of a client. */
  drain(listener: HandshakeListener): void {
    for (let output = this.tls.poll(); output !== undefined; output = this.tls.poll()) {
      switch (output.type) {
        case 'crypto':
          this.#stream(output.level).write(output.data);
          break;
        case 'earlyKeys': {
          const secret = output.secrets.write ?? output.secrets.read;
          if (secret !== undefined) this.zeroRtt = PacketKeys.fromSecret(output.secrets.suite, secret);
          break;
        }
        case 'handshakeKeys': {
          const { suite, read, write } = output.secrets;
          this.handshake.keys = {
            read: PacketKeys.fromSecret(suite, read!),
            write: PacketKeys.fromSecret(suite, write!),
          };
          break;
        }
        case 'applicationKeys': {
          const { suite, read, write } = output.secrets;
          const range = this.#config.keyUpdateAfterPackets;
          const firstUpdate = range
            ? range.min + randomBelow(this.#rng, range.max - range.min + 1)
            : Infinity;
          this.oneRtt = new KeyPhases(suite, read!, write!, firstUpdate);
          listener.onOneRttKeys();
          break;
        }
        case 'transportParameters':
          listener.onPeerTransportParameters(output.data);
          break;
        case 'alpn':
          listener.onAlpn(output.alpn);
          break;
        case 'earlyData':
          listener.onEarlyData(output.accepted);
          break;
        case 'complete':
          this.mayReadOneRtt = true;
          listener.onHandshakeComplete(output.peer);
          break;
      }
    }
  }

  /** RFC 9001 §4.9: keys, numbers and unsent CRYPTO data of a level are forgotten together. */
  discard(level: HandshakeLevel): void {
    level.keys = undefined;
    level.discarded = true;
    // What an idle connection keeps counts a thousandfold.
    level.space = DISCARDED.space;
    level.stream = DISCARDED.stream;
  }

  #stream(level: CryptoLevel): CryptoStream {
    return level === 'initial'
      ? this.initial.stream
      : level === 'handshake'
        ? this.handshake.stream
        : this.application;
  }
}

/** Takes nothing: shared by all connections, it must not carry bytes of one to another. */
class DiscardedStream extends CryptoStream {
  override write(): void {
    // There are no keys to send it with.
  }

  override onFrameLost(): void {
    // What was lost is not needed any more.
  }

  override handleFrame(): void {
    // A repetition.
  }
}

/** Stands in for the state of discarded levels, of all connections. Packets are numbered with keys only. */
const DISCARDED = { space: new PacketSpace('initial', 0), stream: new DiscardedStream() };

function level(name: 'initial' | 'handshake'): HandshakeLevel {
  return {
    name,
    space: new PacketSpace(name, 0),
    stream: new CryptoStream(),
    keys: undefined,
    discarded: false,
  };
}
