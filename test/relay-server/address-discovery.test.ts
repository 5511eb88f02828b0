/** Address discovery of the relay server, asked with the engine over UDP as an endpoint's net report does. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { systemPlatform } from '#transport/system-platform';
import { EngineDriver } from '../../src/actors/engine-driver.ts';
import { utf8 } from '../../src/base/bytes.ts';
import { toAddr, type Addr } from '../../src/base/socket-addr.ts';
import { RootStore } from '../../src/crypto/x509.ts';
import { DEFAULT_TRANSPORT_CONFIG } from '../../src/quic/config.ts';
import type { CloseReason, Datagram, QuicConnection, Transmit } from '../../src/quic/engine.ts';
import { QuicEndpoint } from '../../src/quic/endpoint.ts';
import { RelayServer } from '../../src/relay-server.ts';
import { webPkiVerifier } from '../../src/tls/profile.ts';
import { bindUdp } from '../../src/transport/udp.ts';
import type { DatagramTransport } from '../../src/transport/datagram.ts';
import { makeServerCertificate, type TestCertificate } from '../support/certificates.ts';

const { clock, rng } = systemPlatform;
const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Client {
  readonly localAddr: Addr;
  readonly quic: QuicConnection;
  readonly driver: EngineDriver;
  /** What the server says our address is. */
  readonly observed: Promise<Addr>;
  /** Before that an application's close is sent as one of the transport (RFC 9000 §10.2.3). */
  readonly confirmed: Promise<void>;
  readonly closed: Promise<CloseReason>;
}

class OneSocket {
  onDatagrams: ((batch: readonly Datagram[]) => void) | undefined;
  onDrained: (() => void) | undefined;
  readonly #socket: DatagramTransport;

  constructor(socket: DatagramTransport) {
    this.#socket = socket;
    socket.onDatagrams = (batch) => this.onDatagrams?.(batch);
  }

  get queued(): number {
    return this.#socket.queued;
  }

  send(batch: readonly Transmit[]): void {
    this.#socket.send(batch, 0, batch.length);
  }
}

async function ask(
  port: number,
  root: string,
  serverName = 'localhost',
  alpn = '/iroh-qad/0',
): Promise<Client> {
  const socket = await bindUdp({ ip: '127.0.0.1', port: 0 }, clock);
  const engine = new QuicEndpoint({ rng, wallOffsetMs: clock.wallNow() - clock.now() });
  const driver = new EngineDriver(engine, new OneSocket(socket), clock);
  closers.push(async () => {
    driver.stop();
    await socket.close();
  });
  const quic = engine.connect(
    { remote: toAddr('127.0.0.1', port), local: undefined },
    serverName,
    {
      transport: { ...DEFAULT_TRANSPORT_CONFIG, addressDiscovery: 'receive', initialRttMs: 111 },
      tls: {
        identity: undefined,
        verifier: webPkiVerifier(new RootStore([root])),
        alpns: [utf8(alpn)],
        sni: serverName,
        tickets: undefined,
        earlyData: false,
      },
    },
    clock.now(),
  );
  let onObserved: (addr: Addr) => void;
  let onConfirmed: () => void;
  let onClosed: (reason: CloseReason) => void;
  const observed = new Promise<Addr>((resolve) => (onObserved = resolve));
  const confirmed = new Promise<void>((resolve) => (onConfirmed = resolve));
  const closed = new Promise<CloseReason>((resolve) => (onClosed = resolve));
  driver.listen(quic, {
    onEvent: (event) => {
      if (event.type === 'observedAddress') onObserved(event.addr);
      if (event.type === 'handshakeConfirmed') onConfirmed();
      if (event.type === 'closed') onClosed(event.reason);
    },
  });
  driver.wake();
  return { localAddr: socket.localAddr, quic, driver, observed, confirmed, closed };
}

async function serve(
  kind: 'EC P-256' | 'RSA' = 'EC P-256',
): Promise<{ server: RelayServer; pem: TestCertificate }> {
  const pem = await makeServerCertificate(kind);
  const server = await RelayServer.listen({
    tls: { bind: '127.0.0.1:0', cert: pem.chain, key: pem.key },
    addressDiscovery: { bind: '127.0.0.1:0' },
  });
  closers.push(() => server.close());
  return { server, pem };
}

describe.each(['EC P-256', 'RSA'] as const)('with a certificate of %s', (kind) => {
  test('a client learns under which address it is seen, and closes in order', async () => {
    const { server, pem } = await serve(kind);
    const client = await ask(server.quicPort!, pem.root);
    expect(await client.observed).toBe(client.localAddr);
    expect(client.quic.multipath).toBe(false);
    expect(client.quic.openStream('bi')).toBeUndefined();
    await client.confirmed;
    client.quic.close(1n, utf8('finished'), clock.now());
    client.driver.wake();
    expect((await client.closed).type).toBe('locallyClosed');
    while (server.metrics().qad_connections_closed === 0)
      await new Promise((resolve) => setImmediate(resolve));
    expect(server.metrics()).toMatchObject({
      qad_incoming: 1,
      qad_connections: 1,
      qad_connections_errored: 0,
    });
  });
});

test('a server that closes says so with the code of both sides', async () => {
  const { server, pem } = await serve();
  const client = await ask(server.quicPort!, pem.root);
  await Promise.all([client.observed, client.confirmed]);
  await server.close();
  const reason = await client.closed;
  expect(reason.type).toBe('applicationClosed');
  if (reason.type === 'applicationClosed') {
    expect(reason.code).toBe(1n);
    expect(Buffer.from(reason.reason).toString()).toBe('finished');
  }
});

test('another protocol, another name, an authority that is not believed: no connection', async () => {
  const { server, pem } = await serve();
  const other = await makeServerCertificate();
  for (const client of [
    await ask(server.quicPort!, pem.root, 'localhost', 'h3'),
    await ask(server.quicPort!, pem.root, 'elsewhere.example'),
    await ask(server.quicPort!, other.root),
  ])
    expect(['transportError', 'connectionClosed']).toContain((await client.closed).type);
  expect(server.metrics().qad_connections).toBe(0);
});
