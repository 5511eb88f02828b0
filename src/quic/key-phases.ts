/**
 * 1-RTT keys through their generations: key update in both directions (RFC 9001 §6) and the AEAD limits (§6.6).
 *
 * One phase for the whole connection: all paths flip together. Old read keys stay for three PTOs, so that reordered
 * packets still open.
 *
 * @module
 */
import type { PacketJob } from '#crypto/aead';
import { EMPTY } from '../base/bytes.ts';
import type { PathId } from './engine.ts';
import { TransportError } from './transport-error.ts';
import { PacketKeys } from './wire/protection.ts';
import type { CipherSuiteName } from '../tls/session.ts';

/** Packets before the confidentiality limit at which an update starts; upstream keeps the same distance. */
const UPDATE_MARGIN_PACKETS = 10_000;

/** What `open` found out. */
export interface OpenedPacket {
  payload: Uint8Array;
  /** The packet is the first of the peer's next phase: call {@link KeyPhases.onPeerUpdate}. */
  isPeerUpdate: boolean;
  /** The packet is the first that shows the peer in the current phase: old keys may go after a while (RFC 9001 §6.5). */
  isFirstOfPhase: boolean;
}

/** What {@link KeyPhases.open} returns: one record for all connections, so that an idle one does not keep its last packet. */
const openedPacket: OpenedPacket = { payload: EMPTY, isPeerUpdate: false, isFirstOfPhase: false };

/** Read and write keys of the current 1-RTT phase, and what is kept of its neighbours. */
export class KeyPhases {
  read: PacketKeys;
  write: PacketKeys;
  /** Value of the Key Phase bit that we send. */
  phase: 0 | 1 = 0;
  /** Completed updates, by either side. */
  updates = 0;
  /** A packet of the current phase was acknowledged: another update may start (RFC 9001 §6.1). */
  #acknowledged = false;
  #previousRead: PacketKeys | undefined;
  /** A packet of the current phase was received: the peer knows of it. */
  #hasReceived = false;
  #nextRead: PacketKeys | undefined;
  #sentInPhase = 0;
  #failedOpens = 0;
  #updateAfter: number;

  /** @param firstUpdateAfter - Start the first update after this many sent packets; `Infinity`: only near the limit. */
  constructor(
    suite: CipherSuiteName,
    readSecret: Uint8Array,
    writeSecret: Uint8Array,
    firstUpdateAfter: number,
  ) {
    this.read = PacketKeys.fromSecret(suite, readSecret);
    this.write = PacketKeys.fromSecret(suite, writeSecret);
    this.#updateAfter = Math.min(firstUpdateAfter, this.write.confidentialityLimit - UPDATE_MARGIN_PACKETS);
  }

  /** True while read keys of the phase before are kept; {@link discardPrevious} ends it. */
  get holdsPrevious(): boolean {
    return this.#previousRead !== undefined;
  }

  /** Counts a sealed packet. Returns true when this side should update its keys now. */
  onPacketSent(): boolean {
    return ++this.#sentInPhase >= this.#updateAfter;
  }

  /** A packet that we sent in the current phase was acknowledged. */
  onPhaseAcknowledged(): void {
    this.#acknowledged = true;
  }

  /** RFC 9001 §6.1 and §6.5: not before an acknowledgment in this phase, nor while old keys are kept. */
  get canUpdate(): boolean {
    return this.#acknowledged && this.#previousRead === undefined;
  }

  /** Starts the next phase from this side, or follows the peer into it. */
  #advance(nextRead: PacketKeys): void {
    this.#previousRead = this.read;
    this.read = nextRead;
    this.#nextRead = undefined;
    this.write = this.write.withSecret(this.write.nextSecret());
    this.phase = this.phase === 0 ? 1 : 0;
    this.updates++;
    this.#acknowledged = false;
    this.#hasReceived = false;
    this.#sentInPhase = 0;
    this.#updateAfter = this.write.confidentialityLimit - UPDATE_MARGIN_PACKETS;
  }

  /** Updates from this side. Returns false, doing nothing, while {@link canUpdate} is false. */
  update(): boolean {
    if (!this.canUpdate) return false;
    this.#advance(this.#next());
    return true;
  }

  #next(): PacketKeys {
    return (this.#nextRead ??= this.read.withSecret(this.read.nextSecret()));
  }

  /**
   * Opens a packet whose header protection is removed.
   * @param phaseBit - The packet's Key Phase bit.
   * @returns A shared record, or undefined if the packet does not authenticate.
   * @throws {TransportError} AEAD_LIMIT_REACHED after too many forgeries (RFC 9001 §6.6).
   */
  open(job: PacketJob, phaseBit: 0 | 1, path: PathId, packetNumber: number): OpenedPacket | undefined {
    const opened = openedPacket;
    let keys = this.read;
    let payload: Uint8Array | undefined;
    opened.isPeerUpdate = false;
    opened.isFirstOfPhase = false;
    if (phaseBit === this.phase) {
      keys.writeNonce(job.nonce, path, packetNumber);
      payload = keys.aead.open(job);
      if (!this.#hasReceived && payload !== undefined) this.#hasReceived = opened.isFirstOfPhase = true;
    } else {
      // With several paths, late packets of the old phase arrive among new ones; the number alone does not tell which
      // it is, so try the old keys first, then the next ones.
      if (this.#previousRead !== undefined) {
        keys = this.#previousRead;
        keys.writeNonce(job.nonce, path, packetNumber);
        payload = keys.aead.open(job);
      }
      if (payload === undefined) {
        keys = this.#next();
        keys.writeNonce(job.nonce, path, packetNumber);
        payload = keys.aead.open(job);
        opened.isPeerUpdate = payload !== undefined;
      }
    }
    if (payload === undefined) {
      if (++this.#failedOpens > this.read.integrityLimit) {
        throw new TransportError('AEAD_LIMIT_REACHED', 'too many packets failed authentication');
      }
      return undefined;
    }
    opened.payload = payload;
    return opened;
  }

  /**
   * The peer moved to the next phase.
   * @param isNewest - The packet's number is above all received on its path.
   * @throws {TransportError} KEY_UPDATE_ERROR when the peer may not update yet or goes back (RFC 9001 §6.2, §6.4).
   */
  onPeerUpdate(isNewest: boolean): void {
    if (this.#previousRead !== undefined && this.#sentInPhase === 0) {
      // Nothing that we sent can have confirmed the phase that the peer leaves.
      throw new TransportError('KEY_UPDATE_ERROR', 'key update before the previous one was acknowledged');
    }
    if (!isNewest) throw new TransportError('KEY_UPDATE_ERROR', 'packet number of a new key phase goes back');
    this.#advance(this.#next());
    this.#hasReceived = true;
  }

  /** False while the peer may still be in the phase before. */
  get peerFollowed(): boolean {
    return this.#hasReceived;
  }

  /** Forgets the keys of the phase before (RFC 9001 §6.5). */
  discardPrevious(): void {
    this.#previousRead = undefined;
  }
}
