/**
 * A relay client that does as it is told: frames in, frames out, no timers of its own.
 *
 * @module
 */
import { SecretKey } from '../../src/crypto/keys.ts';
import {
  decodeServerFrame,
  encodeDatagrams,
  encodePong,
  type RelayProtocol,
  type ServerFrame,
} from '../../src/relay/frames.ts';
import { ClientHandshake, relayIdentity } from '../../src/relay/handshake.ts';
import type { RelaySocket } from '../../src/transport/relay-socket.ts';

/** What it has been through. */
export type RawClientState = 'handshake' | 'confirmed' | 'denied' | 'closed';

/** A client of a relay. */
export class RawRelayClient {
  readonly key: SecretKey;
  readonly id: Uint8Array;
  readonly socket: RelaySocket;
  state: RawClientState = 'handshake';
  denial: string | undefined;
  wasChallenged = false;
  /** Everything that came, pings included. */
  readonly frames: ServerFrame[] = [];
  answersPings = true;
  /** Called after every message and when the connection ends. */
  onChange: (() => void) | undefined;
  closeError: Error | undefined;

  /** @param seed - Fills the secret key. */
  constructor(socket: RelaySocket, seed: number | SecretKey) {
    this.key = typeof seed === 'number' ? SecretKey.fromBytes(new Uint8Array(32).fill(seed)) : seed;
    this.id = this.key.publicKey.toBytes();
    this.socket = socket;
    const handshake = new ClientHandshake(relayIdentity(this.key));
    socket.onClose = (error) => {
      if (this.state !== 'denied') this.state = 'closed';
      this.closeError = error;
      this.onChange?.();
    };
    socket.onMessage = (message) => {
      if (this.state === 'handshake') {
        const step = handshake.handleMessage(message);
        if (step.type === 'reply') {
          this.wasChallenged = true;
          socket.send(step.message);
        }
        if (step.type === 'confirmed') this.state = 'confirmed';
        if (step.type === 'denied') {
          this.state = 'denied';
          this.denial = step.reason;
        }
      } else this.#handleFrame(message);
      this.onChange?.();
    };
  }

  #handleFrame(message: Uint8Array): void {
    const frame = decodeServerFrame(message, this.socket.protocol as RelayProtocol);
    this.frames.push(frame);
    if (frame.type === 'ping' && this.answersPings) this.socket.send(encodePong(frame.payload));
  }

  /** One datagram. */
  sendTo(peer: RawRelayClient | Uint8Array, contents: Uint8Array, segmentBytes = 0): void {
    const id = peer instanceof RawRelayClient ? peer.id : peer;
    this.socket.send(encodeDatagrams('client', { peer: id, ecn: 2, segmentBytes, contents }));
  }

  /** Frames of one type that have come. */
  received<T extends ServerFrame['type']>(type: T): Extract<ServerFrame, { type: T }>[] {
    return this.frames.filter((frame): frame is Extract<ServerFrame, { type: T }> => frame.type === type);
  }

  /** Resolves once `condition` holds. Rejects when the connection ends first. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (condition()) resolve();
        else if (this.state === 'closed')
          reject(this.closeError ?? new Error('the relay closed the connection'));
        else return;
        this.onChange = undefined;
      };
      this.onChange = look;
      look();
    });
  }
}
