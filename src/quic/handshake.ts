/**
 * What the TLS handshake means for the connection: parameters, keys, confirmation, early data, Retry
 * (RFC 9001 §4, RFC 9000 §7 and §17.2.5).
 *
 * @module
 */
import { equalBytes } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { PeerIdentity } from '../tls/session.ts';
import type { TransportConfig } from './config.ts';
import { DRAIN_PTO_COUNT, type ConnectionCore } from './connection-core.ts';
import type { HandshakeLevel, HandshakeListener } from './crypto-levels.ts';
import type { Side } from './engine.ts';
import type { LossRecovery } from './loss-recovery.ts';
import type { Multipath } from './multipath.ts';
import { AddressDiscovery } from './paths/address-discovery.ts';
import { ACTIVE_CID_LIMIT } from './paths/cids.ts';
import { NatTraversal } from './paths/nat-traversal.ts';
import { MIN_ACK_DELAY_US } from './recovery/ack-frequency.ts';
import { TransportError } from './transport-error.ts';
import {
  checkZeroRttAccepted,
  decodeTransportParameters,
  forZeroRtt,
  type TransportParameters,
} from './wire/transport-parameters.ts';

/** The connection ids that the transport parameters must name (RFC 9000 §7.3). */
export interface HandshakeCids {
  /** Destination of the client's very first Initial. */
  originalDcid: Uint8Array;
  /** Source cid of the Retry, if there was one. */
  retryScid: Uint8Array | undefined;
  /** Source cid of the peer's first Initial. */
  remoteScid: Uint8Array | undefined;
}

/** Our transport parameters that do not depend on the handshake's connection ids. */
export function localParameters(config: TransportConfig, side: Side): Partial<TransportParameters> {
  return {
    maxIdleTimeout: config.maxIdleTimeoutMs,
    maxUdpPayloadSize: config.maxUdpPayloadSize,
    initialMaxData: config.receiveWindow,
    initialMaxStreamDataBidiLocal: config.streamReceiveWindow,
    initialMaxStreamDataBidiRemote: config.streamReceiveWindow,
    initialMaxStreamDataUni: config.streamReceiveWindow,
    initialMaxStreamsBidi: config.maxConcurrentBidiStreams,
    initialMaxStreamsUni: config.maxConcurrentUniStreams,
    activeConnectionIdLimit: ACTIVE_CID_LIMIT,
    minAckDelay: MIN_ACK_DELAY_US,
    disableActiveMigration: side === 'server' && !config.migration,
    // RFC 9221 §3: bytes of a DATAGRAM frame; upstream announces 65535 whatever its buffer.
    maxDatagramFrameSize: config.datagramReceiveBufferSize === undefined ? undefined : 65_535,
    initialMaxPathId: config.maxConcurrentPaths === undefined ? undefined : config.maxConcurrentPaths - 1,
    addressDiscovery: config.addressDiscovery,
    // Without multipath the extension has no meaning, and upstream ignores it.
    natTraversal: config.maxConcurrentPaths === undefined ? undefined : config.maxNatAddresses,
  };
}

/** Reacts to TLS and to the packets that steer the handshake. */
export class Handshake implements HandshakeListener {
  readonly #core: ConnectionCore;
  readonly #recovery: LossRecovery;
  readonly #multipath: Multipath;
  readonly cids: HandshakeCids;
  /** Parameters remembered with the ticket whose early data we send. */
  #remembered: TransportParameters | undefined;
  /** Fresh parameters that wait for the verdict about early data. */
  #pendingCheck: TransportParameters | undefined;
  /** Set for the duration of a call into TLS. */
  #now: Millis;

  constructor(core: ConnectionCore, recovery: LossRecovery, multipath: Multipath, cids: HandshakeCids) {
    this.#core = core;
    this.#recovery = recovery;
    this.#multipath = multipath;
    this.cids = cids;
    this.#now = core.startedAt;
  }

  /** Client: makes TLS produce its ClientHello, and early keys if a ticket allows them. */
  start(now: Millis): void {
    const core = this.#core;
    this.#now = now;
    core.crypto.drain(this);
    const early = core.crypto.tls.earlyTransportParameters;
    if (core.crypto.zeroRtt === undefined || early === undefined) return;
    try {
      this.#remembered = forZeroRtt(decodeTransportParameters(early, 'server'));
    } catch {
      // A ticket of another build, say: early data is an optimisation, so go on without it.
      core.crypto.zeroRtt = undefined;
      return;
    }
    core.peer = this.#remembered;
    this.#applyPeerLimits(this.#remembered);
  }

  /** CRYPTO data of a level arrived in order. @throws {TlsAlert | TransportError} */
  advance(level: 'initial' | 'handshake' | 'application', now: Millis): void {
    this.#now = now;
    this.#core.crypto.advance(level, this, this.#core.host.wallTime(now));
  }

  onPeerTransportParameters(data: Uint8Array): void {
    const core = this.#core;
    const peer = decodeTransportParameters(data, core.side === 'client' ? 'server' : 'client');
    this.#authenticateCids(peer);
    if (peer.initialMaxPathId !== undefined && peer.initialSourceConnectionId?.length === 0) {
      // draft-ietf-quic-multipath §2.1.
      throw new TransportError('PROTOCOL_VIOLATION', 'multipath with a zero-length connection id');
    }
    if (this.#remembered !== undefined && core.crypto.zeroRtt !== undefined) {
      // RFC 9000 §7.4.1; only an accepted offer binds the server, which `onEarlyData` finds out.
      this.#pendingCheck = peer;
    }
    core.peer = peer;
    const path = core.paths.get(0);
    if (path !== undefined) path.mtu.onPeerMaxUdpPayloadSize(peer.maxUdpPayloadSize);
    const handshakeCid = core.cids.get(0)?.remote.active;
    if (path !== undefined && handshakeCid !== undefined && peer.statelessResetToken !== undefined) {
      handshakeCid.resetToken = peer.statelessResetToken;
      core.registerResetToken(path, handshakeCid);
    }
    core.addressDiscovery = new AddressDiscovery(core.config.addressDiscovery, peer.addressDiscovery);
    core.addressDiscovery.queueReport(0);
    core.datagrams.setPeerLimit(peer.maxDatagramFrameSize);
    if (core.side === 'server' || this.#remembered === undefined) this.#applyPeerLimits(peer);
  }

  #applyPeerLimits(peer: TransportParameters): void {
    this.#core.streams.setPeerLimits({
      initialMaxData: peer.initialMaxData,
      initialMaxStreamDataBidiLocal: peer.initialMaxStreamDataBidiLocal,
      initialMaxStreamDataBidiRemote: peer.initialMaxStreamDataBidiRemote,
      initialMaxStreamDataUni: peer.initialMaxStreamDataUni,
      initialMaxStreamsBidi: peer.initialMaxStreamsBidi,
      initialMaxStreamsUni: peer.initialMaxStreamsUni,
    });
    this.#core.datagrams.setPeerLimit(peer.maxDatagramFrameSize);
  }

  /** RFC 9000 §7.3: the parameters, which TLS authenticates, must name the connection ids that were really used. */
  #authenticateCids(peer: TransportParameters): void {
    const { originalDcid, retryScid, remoteScid } = this.cids;
    const matches = (named: Uint8Array | undefined, used: Uint8Array | undefined): boolean =>
      named === undefined || used === undefined ? named === used : equalBytes(named, used);
    if (
      !matches(peer.initialSourceConnectionId, remoteScid) ||
      (this.#core.side === 'client' &&
        (!matches(peer.originalDestinationConnectionId, originalDcid) ||
          !matches(peer.retrySourceConnectionId, retryScid)))
    ) {
      throw new TransportError('TRANSPORT_PARAMETER_ERROR', 'CID authentication failure');
    }
  }

  onAlpn(alpn: Uint8Array): void {
    this.#core.alpn = alpn;
    this.#core.emit({ type: 'handshakeData' });
  }

  onEarlyData(accepted: boolean): void {
    const core = this.#core;
    core.accepted0Rtt = accepted;
    if (core.side === 'server') {
      if (!accepted) core.crypto.zeroRtt = undefined;
      return;
    }
    const peer = this.#pendingCheck;
    if (accepted) {
      if (peer !== undefined && this.#remembered !== undefined) {
        checkZeroRttAccepted(this.#remembered, peer);
        this.#applyPeerLimits(peer);
      }
      return;
    }
    // Rejected: what was sent early never happened; the application sends again (quic-wire: noq starts over).
    core.crypto.zeroRtt = undefined;
    const path = core.paths.get(0);
    if (path !== undefined) this.#recovery.forgetSpace(path, path.space, false);
    core.streams.onZeroRttRejected();
    core.datagrams.onZeroRttRejected();
    if (peer !== undefined) this.#applyPeerLimits(peer);
    core.emit({ type: 'zeroRttRejected' });
  }

  onOneRttKeys(): void {
    const core = this.#core;
    // RFC 9001 §4.9.3: a client sends no more 0-RTT packets once it has 1-RTT keys.
    if (core.side === 'client') core.crypto.zeroRtt = undefined;
    // 0.5-RTT: the client may need other ids before it is done.
    if (core.side === 'server') this.#multipath.issueCids();
  }

  onHandshakeComplete(peer: PeerIdentity | undefined): void {
    const core = this.#core;
    const now = this.#now;
    if (!core.onHandshakeComplete()) return;
    core.peerIdentity = peer;
    core.handshakeMs = now - core.startedAt;
    core.streams.onHandshakeComplete();
    const path = core.paths.get(0)!;
    const parameters = core.peer!;
    core.restartIdle(path, now);
    core.restartKeepAlive(path, now);
    if (core.side === 'server') {
      // RFC 9001 §4.1.2: the client's Finished confirms the handshake for the server.
      core.handshakeDonePending = true;
      core.newTokenPending = core.host.newToken(path.remote, now);
      this.#confirm(now);
    }
    const localMax =
      core.config.maxConcurrentPaths === undefined ? undefined : core.config.maxConcurrentPaths - 1;
    if (localMax !== undefined && parameters.initialMaxPathId !== undefined) {
      this.#multipath.start(localMax, parameters.initialMaxPathId, now);
      const { maxNatAddresses } = core.config;
      if (maxNatAddresses !== undefined && parameters.natTraversal !== undefined) {
        core.nat = new NatTraversal(
          core.side,
          maxNatAddresses,
          parameters.natTraversal,
          core.config.initialRttMs,
        );
      }
    } else {
      this.#multipath.issueCids();
    }
    core.emit({ type: 'connected' });
    if (!path.validated) this.#multipath.onValidated(path, undefined, now);
    else if (!path.established) {
      path.established = true;
      core.emit({ type: 'pathEstablished', path: 0 });
      path.mtu.start(now);
    }
    core.wake();
  }

  /** HANDSHAKE_DONE arrived (RFC 9000 §19.20). */
  onHandshakeDone(now: Millis): void {
    if (this.#core.side === 'server')
      throw new TransportError('PROTOCOL_VIOLATION', 'HANDSHAKE_DONE from a client');
    if (!this.#core.confirmed) this.#confirm(now);
  }

  #confirm(now: Millis): void {
    const core = this.#core;
    core.confirmed = true;
    this.discard(core.crypto.handshake);
    // A 0-RTT packet that was delayed may still come; its keys go with the next key discard (RFC 9001 §4.9.3).
    if (core.crypto.zeroRtt !== undefined) this.scheduleKeyDiscard(now);
    core.emit({ type: 'handshakeConfirmed' });
  }

  scheduleKeyDiscard(now: Millis): void {
    this.#core.discardKeysAt = now + DRAIN_PTO_COUNT * this.#core.maxPto;
  }

  onDiscardKeys(): void {
    const { crypto } = this.#core;
    // The timer may be that of the 0-RTT keys.
    if (crypto.oneRtt?.peerFollowed === true) crypto.oneRtt.discardPrevious();
    if (this.#core.confirmed) crypto.zeroRtt = undefined;
  }

  /** Drops a level's keys and everything about its packets (RFC 9001 §4.9). */
  discard(level: HandshakeLevel): void {
    if (level.discarded) return;
    const path = this.#core.paths.get(0);
    if (path !== undefined) this.#recovery.forgetSpace(path, level.space, false);
    this.#core.crypto.discard(level);
  }

  /**
   * Client: an authentic Retry arrived (RFC 9000 §17.2.5.2).
   * @param scid - The server's new connection id: next destination, and source of new Initial keys.
   */
  onRetry(scid: Uint8Array, token: Uint8Array): void {
    const core = this.#core;
    const path = core.paths.get(0)!;
    this.cids.retryScid = scid;
    core.token = token;
    core.cidsOf(0).remote.replaceHandshakeCid(scid);
    core.crypto.setInitialKeys(scid);
    // Packet numbers go on (§17.2.5.3); what was sent is sent again, early data too.
    this.#recovery.forgetSpace(path, core.crypto.initial.space, true);
    this.#recovery.forgetSpace(path, path.space, true);
    path.ptoCount = 0;
    core.wake();
  }

  /** The peer's first Initial names the connection id to use from now on (RFC 9000 §7.2). */
  onFirstInitial(scid: Uint8Array): void {
    if (this.cids.remoteScid !== undefined) return;
    this.cids.remoteScid = scid;
    if (this.#core.side === 'client') this.#core.cidsOf(0).remote.replaceHandshakeCid(scid);
  }

  get mayAcceptRetry(): boolean {
    return (
      this.#core.side === 'client' && this.cids.retryScid === undefined && this.cids.remoteScid === undefined
    );
  }
}
