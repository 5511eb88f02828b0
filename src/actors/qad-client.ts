/**
 * Asks relays under which address they see our sockets: QUIC address discovery (`iroh-relay/src/quic.rs`). The connections use
 * the endpoint's own sockets, as the address of another socket would be of no use.
 *
 * @module
 */
import { RootStore } from '#crypto/x509';
import { utf8 } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { RelayUrl } from '../base/relay-url.ts';
import { toAddr, type Addr } from '../base/socket-addr.ts';
import { DEFAULT_TRANSPORT_CONFIG, type TransportConfig } from '../quic/config.ts';
import type { ConnectionEvent, QuicConnection } from '../quic/engine.ts';
import { webPkiVerifier } from '../tls/profile.ts';
import type { PeerVerifier } from '../tls/session.ts';
import type { ResolveHost } from '../transport/platform.ts';
import type { TlsTrust } from '../transport/relay-socket.ts';
import type { EngineDriver } from './engine-driver.ts';

/** The protocol's name (`ALPN_QUIC_ADDR_DISC`). */
const ALPN = utf8('/iroh-qad/0');
/** Code and reason of a close in order (`QUIC_ADDR_DISC_CLOSE_CODE`, `_REASON`). */
const CLOSE_CODE = 1n;
const CLOSE_REASON = utf8('finished');
/** First guess of the RTT, ms: three times less than QUIC's, as relays are near (`iroh-relay/src/quic.rs`). */
export const QAD_INITIAL_RTT_MS = 111;
/** Keeps the NAT's mapping and the connection alive, ms; same file. */
export const QAD_KEEP_ALIVE_MS = 25_000;
/** A relay that is silent for so long is gone, ms; same file. */
export const QAD_MAX_IDLE_MS = 35_000;

const TRANSPORT: TransportConfig = {
  ...DEFAULT_TRANSPORT_CONFIG,
  maxIdleTimeoutMs: QAD_MAX_IDLE_MS,
  keepAliveIntervalMs: QAD_KEEP_ALIVE_MS,
  pathMaxIdleTimeoutMs: undefined,
  pathKeepAliveIntervalMs: undefined,
  maxConcurrentBidiStreams: 0,
  maxConcurrentUniStreams: 0,
  datagramReceiveBufferSize: undefined,
  initialRttMs: QAD_INITIAL_RTT_MS,
  mtuDiscovery: false,
  maxConcurrentPaths: undefined,
  maxNatAddresses: undefined,
  addressDiscovery: 'receive',
};

/** Whom to ask. */
export interface QadTarget {
  readonly url: RelayUrl;
  readonly quicPort: number;
}

/** How a {@link QadClient} is made. */
export interface QadClientOptions {
  readonly driver: EngineDriver;
  readonly resolve: ResolveHost;
  readonly tls: TlsTrust | undefined;
}

/** An open connection to a relay that keeps telling us our address. */
export class QadConnection {
  readonly url: RelayUrl;
  readonly family: 4 | 6;
  /** Our address as seen last. */
  addr: Addr;
  /** Our address is another one now. */
  onMoved: (() => void) | undefined;
  readonly #quic: QuicConnection;
  readonly #driver: EngineDriver;
  #latencyMs: Millis;

  constructor(url: RelayUrl, family: 4 | 6, addr: Addr, quic: QuicConnection, driver: EngineDriver) {
    this.url = url;
    this.family = family;
    this.addr = addr;
    this.#quic = quic;
    this.#driver = driver;
    this.#latencyMs = quic.paths()[0]?.rttMs ?? 0;
    driver.listen(quic, { onEvent: (event) => this.#onEvent(event) });
  }

  get isOpen(): boolean {
    return this.#quic.closeReason === undefined;
  }

  /** Round-trip time to the relay. */
  get latencyMs(): Millis {
    this.#latencyMs = this.#quic.paths()[0]?.rttMs ?? this.#latencyMs;
    return this.#latencyMs;
  }

  #onEvent(event: ConnectionEvent): void {
    if (event.type !== 'observedAddress' || event.addr === this.addr) return;
    // An address of the other family is no answer on this path.
    if (event.addr.family !== this.family) return;
    this.addr = event.addr;
    this.onMoved?.();
  }

  /** Idempotent. */
  close(): void {
    this.onMoved = undefined;
    if (!this.isOpen) return;
    this.#quic.close(CLOSE_CODE, CLOSE_REASON, this.#driver.clock.now());
    this.#driver.wake();
  }
}

/** Makes connections for address discovery. */
export class QadClient {
  readonly #options: QadClientOptions;
  #verifier: PeerVerifier | undefined;

  constructor(options: QadClientOptions) {
    this.#options = options;
  }

  /**
   * Dials a relay and waits until it has told our address.
   * @throws the signal's reason; {@link Error} when the relay cannot be found or reached.
   */
  async connect(target: QadTarget, family: 4 | 6, signal: AbortSignal): Promise<QadConnection> {
    const host = target.url.toUrl().hostname;
    const { literal, name } = splitHost(host);
    const [ip] =
      literal === undefined
        ? await this.#options.resolve(name, family, signal)
        : [literal].filter((each) => each.includes(':') === (family === 6));
    signal.throwIfAborted();
    if (ip === undefined) throw new Error(`${name} has no IPv${family} address`);
    return this.#dial(target, family, toAddr(ip, target.quicPort), name, literal === undefined, signal);
  }

  #dial(
    { url }: QadTarget,
    family: 4 | 6,
    remote: Addr,
    name: string,
    hasName: boolean,
    signal: AbortSignal,
  ): Promise<QadConnection> {
    const { driver } = this.#options;
    const quic = driver.engine.connect(
      { remote, local: undefined },
      name,
      {
        transport: TRANSPORT,
        tls: {
          identity: undefined,
          verifier: (this.#verifier ??= toVerifier(this.#options.tls)),
          alpns: [ALPN],
          // RFC 6066 §3: names only.
          sni: hasName ? name : undefined,
          tickets: undefined,
          earlyData: false,
        },
      },
      driver.clock.now(),
    );
    return new Promise<QadConnection>((resolve, reject) => {
      const abort = (): void => {
        quic.close(CLOSE_CODE, CLOSE_REASON, driver.clock.now());
        driver.wake();
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', abort, { once: true });
      driver.listen(quic, {
        onEvent: (event) => {
          if (event.type === 'closed') {
            signal.removeEventListener('abort', abort);
            reject(new Error(`address discovery at ${url.href} ended: ${event.reason.type}`));
          } else if (event.type === 'observedAddress' && event.addr.family === family) {
            signal.removeEventListener('abort', abort);
            resolve(new QadConnection(url, family, event.addr, quic, driver));
          }
        },
      });
      driver.wake();
    });
  }
}

/** A host of a URL as an IP literal, or as a name without the dot at its end. */
function splitHost(host: string): { readonly literal: string | undefined; readonly name: string } {
  const name = host.replace(/^\[|\]$|\.$/g, '');
  const isLiteral = host.startsWith('[') || /^[\d.]+$/.test(name);
  return { literal: isLiteral ? name : undefined, name };
}

function toVerifier(tls: TlsTrust | undefined): PeerVerifier {
  const usual = webPkiVerifier(tls?.roots && new RootStore(tls.roots));
  return tls?.insecureSkipVerify === true ? { ...usual, verifyIdentity: () => undefined } : usual;
}
