/**
 * Our configuration as quiche's, and what becomes of the parts that quiche has no word for.
 *
 * Not taken over: MTU discovery (packets keep `initialMtu`), key updates by this side, NAT traversal, multipath, address
 * discovery, `initialRttMs`. Datagram queues are counted in datagrams, not bytes.
 *
 * @module
 */
import { concatBytes, toLatin1 } from '../base/bytes.ts';
import type { TransportConfig } from '../quic/config.ts';
import { MIN_INITIAL_DATAGRAM_BYTES } from '../quic/incoming-table.ts';
import type { PemIdentity } from './identity.ts';
import type { Config, Quiche } from './native.ts';

/**
 * Connection ids at a time, and so addresses of the peer that quiche keeps state for over the life of a connection: it frees none
 * of them. A client uses those again that it closed; a server that has seen this many addresses hears no further one.
 */
export const ACTIVE_CID_LIMIT = 32;
/** Signature schemes: nothing else than the keys of endpoints is taken. */
const SIGNATURE_ALGORITHMS = 'ed25519';
/** What a DATAGRAM takes at most on a path of the usual size: turns a limit in bytes into one in datagrams. */
const DATAGRAM_BYTES = 1_200;
/** Configurations kept for reuse; making one parses the certificate. */
const MAX_CONFIGS = 32;

/** How long ACKs are held back at most: RFC 9000's default (§18.2), as in our own engine. */
export const MAX_ACK_DELAY_MS = 25;

/** What a {@link Config} is for. */
export interface NativeConfigOptions {
  readonly side: 'client' | 'server';
  readonly transport: TransportConfig;
  /** Protocols in the order of preference. */
  readonly alpns: readonly Uint8Array[];
  readonly earlyData: boolean;
  /** False: a server that asks for no certificate. */
  readonly wantsPeer: boolean;
}

/** Makes and keeps the configurations of one endpoint. */
export class NativeConfigs {
  readonly #quiche: Quiche;
  readonly #identity: PemIdentity;
  readonly #ticketKey: Uint8Array;
  readonly #transports = new Map<TransportConfig, Map<string, Config>>();
  #count = 0;

  /** @param ticketKey - 48 secret bytes that seal the session tickets of all connections. */
  constructor(quiche: Quiche, identity: PemIdentity, ticketKey: Uint8Array) {
    this.#quiche = quiche;
    this.#identity = identity;
    this.#ticketKey = ticketKey;
  }

  get(options: NativeConfigOptions): Config {
    const key = [
      options.side,
      options.earlyData,
      options.wantsPeer,
      ...options.alpns.map((alpn) => `${alpn.length}:${toLatin1(alpn)}`),
    ].join();
    const known = this.#transports.get(options.transport)?.get(key);
    if (known !== undefined) return known;
    if (this.#count >= MAX_CONFIGS) {
      this.#transports.clear();
      this.#count = 0;
    }
    const configs = this.#transports.get(options.transport) ?? new Map<string, Config>();
    this.#transports.set(options.transport, configs);
    const config = this.#make(options);
    configs.set(key, config);
    this.#count++;
    return config;
  }

  #make({ side, transport, alpns, earlyData, wantsPeer }: NativeConfigOptions): Config {
    const { certificate, key } = this.#identity;
    // Any certificate passes here, once its key has signed: whose key it is, is checked by the connection.
    const config = this.#quiche.Config.withBoringSslCtx(
      wantsPeer,
      true,
      null,
      [key],
      [certificate],
      SIGNATURE_ALGORITHMS,
    );
    config.setApplicationProtosWireFormat(
      concatBytes(...alpns.flatMap((alpn) => [Uint8Array.of(alpn.length), alpn])),
    );
    config.grease(false);
    if (earlyData) config.enableEarlyData();
    if (side === 'server') config.setTicketKey(this.#ticketKey);
    config.setMaxIdleTimeout(Math.ceil(transport.maxIdleTimeoutMs));
    config.setMaxAckDelay(MAX_ACK_DELAY_MS);
    config.setMaxRecvUdpPayloadSize(transport.maxUdpPayloadSize);
    config.setMaxSendUdpPayloadSize(sendSize(transport));
    config.setInitialMaxData(transport.receiveWindow);
    config.setInitialMaxStreamDataBidiLocal(transport.streamReceiveWindow);
    config.setInitialMaxStreamDataBidiRemote(transport.streamReceiveWindow);
    config.setInitialMaxStreamDataUni(transport.streamReceiveWindow);
    config.setMaxConnectionWindow(transport.maxReceiveWindow);
    config.setMaxStreamWindow(transport.maxReceiveWindow);
    config.setInitialMaxStreamsBidi(transport.maxConcurrentBidiStreams);
    config.setInitialMaxStreamsUni(transport.maxConcurrentUniStreams);
    config.setActiveConnectionIdLimit(ACTIVE_CID_LIMIT);
    config.setDisableActiveMigration(!transport.migration);
    config.setCcAlgorithmName(transport.congestionControl === 'cubic' ? 'cubic' : 'reno');
    // Its pace is an instant of the system's clock, which the binding cannot tell us.
    config.enablePacing(false);
    const { datagramReceiveBufferSize: received, datagramSendBufferSize: sent } = transport;
    if (received !== undefined) config.enableDgram(true, datagrams(received), datagrams(sent));
    return config;
  }
}

/** The largest packet that we send. */
export function sendSize(transport: TransportConfig): number {
  return Math.max(MIN_INITIAL_DATAGRAM_BYTES, transport.initialMtu);
}

function datagrams(bytes: number): number {
  return Math.max(1, Math.floor(bytes / DATAGRAM_BYTES));
}
