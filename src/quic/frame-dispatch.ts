/**
 * Frames to their owners: one switch, so that what each frame does is found in one place (RFC 9000 §19).
 *
 * Legality per space and syntax were checked by the decoder; rules that need state are checked by the owners.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { ConnectionCore } from './connection-core.ts';
import type { Datagram } from './engine.ts';
import type { Handshake } from './handshake.ts';
import type { FrameOwners, LossRecovery } from './loss-recovery.ts';
import type { Multipath } from './multipath.ts';
import { notNegotiated } from './paths/path-table.ts';
import { MIN_INITIAL_DATAGRAM_BYTES } from './packet-builder.ts';
import { ANTI_AMPLIFICATION_FACTOR, type Path } from './paths/path.ts';
import type { SentFrame } from './sent-frame.ts';
import type { PacketSpace } from './spaces.ts';
import { TransportError } from './transport-error.ts';
import type { Frame } from './wire/frames.ts';

/** Hands received frames to their owners, and the fate of sent ones too. */
export class FrameDispatch implements FrameOwners {
  readonly #core: ConnectionCore;
  #handshake!: Handshake;
  #recovery!: LossRecovery;
  #multipath!: Multipath;

  constructor(core: ConnectionCore) {
    this.#core = core;
  }

  /** The parts refer to each other; this closes the circle. */
  connect(handshake: Handshake, recovery: LossRecovery, multipath: Multipath): void {
    this.#handshake = handshake;
    this.#recovery = recovery;
    this.#multipath = multipath;
  }

  /**
   * Acts on one frame.
   * @param path - Whose packet carried it.
   * @param datagram - Where that packet came from; may differ from the path's addresses.
   * @throws {TransportError | TlsAlert} to close the connection.
   */
  handle(frame: Frame, space: PacketSpace, path: Path, datagram: Datagram, now: Millis): void {
    const core = this.#core;
    switch (frame.type) {
      case 'stream':
        core.streams.handleStream(frame.id, frame.offset, frame.data, frame.fin);
        return;
      case 'ack':
        // draft-ietf-quic-multipath §4.1: a plain ACK stands for path 0, in whichever packet it comes.
        this.#handleAck(space.name === 'oneRtt' ? 0 : undefined, space, path, frame.ranges, frame.delay, now);
        return;
      case 'pathAck':
        if (!core.multipath) throw notNegotiated('PATH_ACK');
        this.#handleAck(frame.pathId, space, path, frame.ranges, frame.delay, now);
        return;
      case 'padding':
      case 'ping':
        return;
      case 'crypto':
        this.#handleCrypto(frame.offset, frame.data, space, now);
        return;
      case 'maxData':
        core.streams.handleMaxData(frame.limit);
        return;
      case 'maxStreamData':
        core.streams.handleMaxStreamData(frame.id, frame.limit);
        return;
      case 'maxStreams':
        core.streams.handleMaxStreams(frame.dir, frame.limit);
        return;
      case 'resetStream':
        core.streams.handleResetStream(frame.id, frame.code, frame.finalSize);
        return;
      case 'stopSending':
        core.streams.handleStopSending(frame.id, frame.code);
        return;
      case 'dataBlocked':
        core.streams.handleDataBlocked();
        return;
      case 'streamDataBlocked':
        core.streams.handleStreamDataBlocked(frame.id);
        return;
      case 'streamsBlocked':
        core.streams.handleStreamsBlocked(frame.dir);
        return;
      case 'datagram':
        core.datagrams.handle(frame.data);
        return;
      case 'newToken':
        if (core.side === 'server') throw new TransportError('PROTOCOL_VIOLATION', 'NEW_TOKEN from a client');
        core.host.storeToken(core.serverName, frame.token.slice());
        return;
      case 'handshakeDone':
        this.#handshake.onHandshakeDone(now);
        return;
      case 'newConnectionId':
        this.#handleNewConnectionId(0, frame.sequence, frame.retirePriorTo, frame.cid, frame.resetToken, now);
        return;
      case 'pathNewConnectionId':
        if (!core.multipath) throw notNegotiated('PATH_NEW_CONNECTION_ID');
        core.paths.checkAllowed(frame.pathId, 'PATH_NEW_CONNECTION_ID');
        this.#handleNewConnectionId(
          frame.pathId,
          frame.sequence,
          frame.retirePriorTo,
          frame.cid,
          frame.resetToken,
          now,
        );
        return;
      case 'retireConnectionId':
        this.#handleRetire(0, frame.sequence);
        return;
      case 'pathRetireConnectionId':
        if (!core.multipath) throw notNegotiated('PATH_RETIRE_CONNECTION_ID');
        this.#handleRetire(frame.pathId, frame.sequence);
        return;
      case 'pathChallenge':
        this.#handleChallenge(frame.data, path, datagram);
        return;
      case 'pathResponse':
        this.#handleResponse(frame.data, path, datagram, now);
        return;
      case 'connectionClose':
        core.closedByPeer(
          {
            type: 'connectionClosed',
            code: frame.code,
            frameType: frame.frameType,
            reason: frame.reason.slice(),
          },
          now,
        );
        return;
      case 'applicationClose':
        core.closedByPeer({ type: 'applicationClosed', code: frame.code, reason: frame.reason.slice() }, now);
        return;
      case 'immediateAck':
        space.received.requestImmediateAck();
        return;
      case 'ackFrequency':
        if (
          core.ackFrequency.handleFrame(
            frame.sequence,
            frame.ackElicitingThreshold,
            frame.maxAckDelay,
            frame.reorderingThreshold,
          )
        ) {
          for (const each of core.paths.list) each.space.received.setPolicy(core.ackFrequency.policy);
        }
        return;
      case 'pathAbandon':
        if (!core.multipath) throw notNegotiated('PATH_ABANDON');
        this.#multipath.handleAbandon(frame.pathId, frame.code, now);
        return;
      case 'pathStatus':
        if (!core.multipath) throw notNegotiated('PATH_STATUS');
        this.#multipath.handleStatus(frame.pathId, frame.sequence, frame.status);
        return;
      case 'maxPathId':
        if (!core.multipath) throw notNegotiated('MAX_PATH_ID');
        if (core.paths.handleMaxPathId(frame.max)) {
          this.#multipath.issueCids();
          this.#multipath.retryWanted(now);
        }
        return;
      case 'pathsBlocked':
        if (!core.multipath) throw notNegotiated('PATHS_BLOCKED');
        core.paths.checkAllowed(frame.max, 'PATHS_BLOCKED');
        return;
      case 'pathCidsBlocked':
        if (!core.multipath) throw notNegotiated('PATH_CIDS_BLOCKED');
        core.paths.checkAllowed(frame.pathId, 'PATH_CIDS_BLOCKED');
        return;
      case 'observedAddress':
        if (core.addressDiscovery.handleReport(path.id, frame.sequence)) {
          core.emit({ type: 'observedAddress', path: path.id, addr: frame.addr });
        }
        return;
      case 'addAddress':
        this.#nat('ADD_ADDRESS').handleAddAddress(frame.sequence, frame.addr);
        this.#forwardNatEvents();
        return;
      case 'removeAddress':
        this.#nat('REMOVE_ADDRESS').handleRemoveAddress(frame.sequence);
        this.#forwardNatEvents();
        return;
      case 'reachOut':
        this.#nat('REACH_OUT').handleReachOut(frame.round, frame.addr, now);
        return;
    }
  }

  #nat(frame: string): NonNullable<ConnectionCore['nat']> {
    const { nat } = this.#core;
    if (nat === undefined) {
      throw new TransportError('PROTOCOL_VIOLATION', `${frame}: NAT traversal was not negotiated`);
    }
    return nat;
  }

  #forwardNatEvents(): void {
    const { nat } = this.#core;
    for (let event = nat?.pollEvent(); event !== undefined; event = nat?.pollEvent()) this.#core.emit(event);
  }

  #handleAck(
    pathId: number | undefined,
    space: PacketSpace,
    carrier: Path,
    ranges: readonly number[],
    delay: number,
    now: Millis,
  ): void {
    const core = this.#core;
    if (pathId === undefined) {
      this.#recovery.onAck(carrier, space, ranges, 0, now);
      return;
    }
    const path = core.paths.get(pathId);
    if (path === undefined) {
      // For an abandoned path: late, and ignored. For one that never was: draft-ietf-quic-multipath §4.1.
      if (core.paths.wasUsed(pathId)) return;
      throw new TransportError('PROTOCOL_VIOLATION', `PATH_ACK for unused path ${pathId}`);
    }
    // RFC 9000 §19.3: microseconds, scaled by the sender's exponent.
    const delayMs = (delay * 2 ** (core.peer?.ackDelayExponent ?? 3)) / 1_000;
    this.#recovery.onAck(path, path.space, ranges, delayMs, now);
  }

  #handleCrypto(offset: number, data: Uint8Array, space: PacketSpace, now: Millis): void {
    // The frame before, in the same packet, may have ended the handshake: this one repeats something, and its stream is gone.
    if (space.name !== 'oneRtt' && this.#core.crypto[space.name].discarded) return;
    this.#cryptoStream(space).handleFrame(offset, data);
    this.#handshake.advance(space.name === 'oneRtt' ? 'application' : space.name, now);
  }

  #handleNewConnectionId(
    pathId: number,
    sequence: number,
    retirePriorTo: number,
    cid: Uint8Array,
    resetToken: Uint8Array,
    now: Millis,
  ): void {
    const core = this.#core;
    if (core.paths.wasUsed(pathId) && core.paths.get(pathId)?.abandoned !== undefined) return;
    if (core.paths.wasUsed(pathId) && core.paths.get(pathId) === undefined) return;
    const { remote } = core.cidsOf(pathId);
    const path = core.paths.get(pathId);
    // Only a path in use has an active id; asking for it makes one of the spare ones active.
    const before = path === undefined ? undefined : remote.active;
    if (before?.cid.length === 0) {
      throw new TransportError('PROTOCOL_VIOLATION', 'NEW_CONNECTION_ID to a zero-length connection id');
    }
    remote.handleNew(sequence, retirePriorTo, cid, resetToken);
    if (path !== undefined) {
      if (remote.active !== before) {
        if (before !== undefined) core.unregisterResetToken(path, before);
        core.registerResetToken(path, remote.active);
      }
      // A server leaves the handshake's id, which the client chose blindly, as upstream does.
      if (core.side === 'server' && pathId === 0 && remote.active?.sequence === 0 && remote.hasSpare) {
        this.#multipath.switchCid(path);
      }
    }
    this.#multipath.retryWanted(now);
  }

  #handleRetire(pathId: number, sequence: number): void {
    const core = this.#core;
    const cids = core.cids.get(pathId);
    // A path id that is unknown or long gone: ignored, as upstream does.
    if (cids === undefined) return;
    if (!cids.local.handleRetire(sequence, core)) return;
    if (core.paths.get(pathId)?.abandoned === undefined) core.fillCids(pathId);
  }

  #handleChallenge(data: Uint8Array, path: Path, datagram: Datagram): void {
    // RFC 9000 §8.2.2: the answer goes to where the challenge came from, whatever the path's addresses are.
    const limit = this.#core.side === 'server' ? datagram.data.length * ANTI_AMPLIFICATION_FACTOR : Infinity;
    path.queueResponse({
      token: data.slice(),
      remote: datagram.from,
      local: datagram.local,
      padTo: Math.min(MIN_INITIAL_DATAGRAM_BYTES, limit),
    });
  }

  #handleResponse(data: Uint8Array, path: Path, datagram: Datagram, now: Millis): void {
    const core = this.#core;
    if (datagram.from === path.remote && path.validation !== undefined) {
      const roundTripMs = path.validation.onResponse(data, now);
      if (roundTripMs !== undefined) {
        this.#multipath.onValidated(path, roundTripMs, now);
        return;
      }
    }
    if (core.nat?.handleResponse(data, datagram.from) === true && core.side === 'client') {
      this.#multipath.openWanted({ remote: datagram.from, local: datagram.local }, now);
    }
  }

  onFrameAcked(frame: SentFrame, path: Path, space: PacketSpace): void {
    const core = this.#core;
    switch (frame.type) {
      case 'ack':
        (space.name === 'oneRtt' ? core.paths.get(frame.path)?.space : space)?.received.onAckAcked(
          frame.largest,
        );
        return;
      case 'crypto':
        this.#cryptoStream(space).onFrameAcked(frame);
        return;
      case 'stream':
      case 'resetStream':
      case 'stopSending':
      case 'maxData':
      case 'maxStreamData':
      case 'maxStreams':
      case 'streamsBlocked':
      case 'dataBlocked':
      case 'streamDataBlocked':
        core.streams.onFrameAcked(frame);
        return;
      case 'pathAbandon': {
        const abandoned = core.paths.get(frame.path)?.abandoned;
        if (abandoned !== undefined) abandoned.frameAcked = true;
        return;
      }
      default:
        // The others need no memory of having arrived.
        void path;
    }
  }

  onFrameLost(frame: SentFrame, path: Path, space: PacketSpace): void {
    const core = this.#core;
    switch (frame.type) {
      case 'ack':
      case 'datagram':
        // RFC 9000 §13.3, RFC 9221 §5: never sent again.
        return;
      case 'crypto':
        this.#cryptoStream(space).onFrameLost(frame);
        return;
      case 'stream':
      case 'resetStream':
      case 'stopSending':
      case 'maxData':
      case 'maxStreamData':
      case 'maxStreams':
      case 'streamsBlocked':
      case 'dataBlocked':
      case 'streamDataBlocked':
        core.streams.onFrameLost(frame);
        return;
      case 'handshakeDone':
        core.handshakeDonePending = true;
        return;
      case 'newToken':
        core.newTokenPending = frame.token;
        return;
      case 'newConnectionId':
        core.cids.get(frame.path)?.local.onFrameLost(frame.sequence);
        return;
      case 'retireConnectionId':
        core.cids.get(frame.path)?.remote.onFrameLost(frame.sequence);
        return;
      case 'pathAbandon': {
        const abandoned = core.paths.get(frame.path)?.abandoned;
        if (abandoned !== undefined) abandoned.framePending = true;
        return;
      }
      case 'pathStatus': {
        const about = core.paths.get(frame.path);
        if (about !== undefined && about.abandoned === undefined) about.statusPending = true;
        return;
      }
      case 'maxPathId':
        core.paths.maxPathIdPending = true;
        return;
      case 'pathsBlocked':
        core.paths.pathsBlockedPending = core.paths.nextId() > core.paths.maxPathId;
        return;
      case 'pathCidsBlocked': {
        const cids = core.cids.get(frame.path);
        if (cids !== undefined) cids.blockedPending = cids.remote.isEmpty;
        return;
      }
      case 'addAddress':
      case 'removeAddress':
      case 'reachOut':
        core.nat?.onFrameLost(frame);
        return;
      case 'observedAddress':
        core.addressDiscovery.queueReport(path.id);
        return;
    }
  }

  #cryptoStream(space: PacketSpace): ConnectionCore['crypto']['application'] {
    const { crypto } = this.#core;
    return space.name === 'oneRtt'
      ? crypto.application
      : space.name === 'initial'
        ? crypto.initial.stream
        : crypto.handshake.stream;
  }
}
