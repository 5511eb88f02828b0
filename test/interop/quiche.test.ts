import { beforeAll, describe, expect, test } from '@jest/globals';
import { toAddr } from '../../src/base/socket-addr.ts';
import { RootStore } from '../../src/crypto/x509.ts';
import { endpointVerifier, noPeerVerifier, pemIdentity, webPkiVerifier } from '../../src/tls/profile.ts';
import { MemorySessionStore } from '../../src/tls/session-store.ts';
import type { ClientTlsConfig, ServerTlsConfig } from '../../src/tls/session.ts';
import { MemoryTicketStore } from '../../src/tls/ticket-store.ts';
import { SimRng } from '../support/sim-rng.ts';
import {
  quicheConfig,
  QuicheLink,
  QUICHE_ALPN,
  QUICHE_ALPNS,
  QUICHE_HOST,
  type Pem,
  type QuicheOptions,
} from '../support/quiche-peer.ts';
import { KEY_KINDS, makeCertificate, type KeyKind } from './quiche-certificates.ts';

const MIB = 1024 * 1024;
/** Streams of the client and of the server (RFC 9000 §2.1). */
const CLIENT_BIDI = 0;
const SERVER_BIDI = 1;
const SERVER_UNI = 3;
const CLIENT_UNI = 2;

const pems = new Map<KeyKind, Pem>();
const pem = (kind: KeyKind): Pem => pems.get(kind)!;

beforeAll(async () => {
  for (const kind of KEY_KINDS) pems.set(kind, await makeCertificate(kind));
});

/** How we dial a quiche server that shows `server`. */
function clientTls(server: Pem, changes: Partial<ClientTlsConfig> = {}): ClientTlsConfig {
  return {
    identity: undefined,
    verifier: webPkiVerifier(new RootStore([server.certificate])),
    alpns: QUICHE_ALPNS,
    sni: QUICHE_HOST,
    tickets: undefined,
    earlyData: false,
    ...changes,
  };
}

function serverTls(server: Pem, changes: Partial<ServerTlsConfig> = {}): ServerTlsConfig {
  return {
    identity: pemIdentity(server.certificate, server.key),
    verifier: noPeerVerifier(),
    alpns: QUICHE_ALPNS,
    clientAuth: 'none',
    sessions: undefined,
    ticketCount: 0,
    acceptEarlyData: false,
    ...changes,
  };
}

/** We dial; both sides are done with the handshake. */
function dial(link: QuicheLink, tls: ClientTlsConfig, options: QuicheOptions): void {
  link.weDial(tls, quicheConfig(options));
  link.run(() => link.ours!.has('handshakeConfirmed') && link.peer!.native.isEstablished(), 'handshake');
}

/** quiche dials. */
function accept(link: QuicheLink, tls: ServerTlsConfig, options: QuicheOptions, session?: Uint8Array): void {
  const { peer } = link.quicheDials(quicheConfig(options), tls, session);
  link.run(() => peer.native.isEstablished() && link.ours?.has('handshakeConfirmed') === true, 'handshake');
}

const bytes = (length: number, seed: number): Uint8Array => new SimRng(seed).bytes(length);
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

describe.each(KEY_KINDS)('%s certificates', (kind) => {
  test('we dial', () => {
    const link = new QuicheLink();
    dial(link, clientTls(pem(kind)), { identity: pem(kind) });
    expect(link.ours!.quic.alpn).toEqual(QUICHE_ALPNS[0]);
    expect(link.ours!.quic.peerIdentity?.type).toBe('x509');
    expect(Buffer.from(link.peer!.native.applicationProto()).toString()).toBe(QUICHE_ALPN);
  });

  test('quiche dials', () => {
    const link = new QuicheLink();
    accept(link, serverTls(pem(kind)), { roots: pem(kind).certificate });
    expect(link.ours!.quic.alpn).toEqual(QUICHE_ALPNS[0]);
    expect(link.ours!.quic.peerIdentity).toBeUndefined();
    expect(link.peer!.native.peerCertChain()).toHaveLength(1);
  });

  test('we dial and show a certificate too', () => {
    const link = new QuicheLink();
    const mine = pem(kind);
    dial(link, clientTls(mine, { identity: pemIdentity(mine.certificate, mine.key) }), {
      identity: mine,
      roots: mine.certificate,
    });
    expect(link.peer!.native.peerCertChain()).toHaveLength(1);
  });
});

describe('certificates that are refused', () => {
  test('we do not trust the server', () => {
    const link = new QuicheLink();
    link.weDial(clientTls(pem('RSA')), quicheConfig({ identity: pem('EC P-256') }));
    link.run(() => link.ours!.has('closed'), 'close');
    expect(link.ours!.closeReason).toMatchObject({ type: 'transportError', error: { code: 'CRYPTO_ERROR' } });
    link.run(() => link.peer!.native.peerError() !== null, 'quiche learns');
    expect(link.peer!.native.peerError()).toMatchObject({ isApp: false, errorCode: 0x100 + 48 }); // unknown_ca
  });

  test('quiche does not trust us', () => {
    const link = new QuicheLink();
    link.quicheDials(quicheConfig({ roots: pem('RSA').certificate }), serverTls(pem('EC P-256')));
    link.run(() => link.ours?.has('closed') === true, 'close');
    expect(link.ours!.closeReason).toMatchObject({ type: 'connectionClosed', code: 0x100n + 48n });
    expect(link.peer!.failure).toMatchObject({ message: 'TlsFail' });
  });

  test('quiche shows no certificate where one is asked for', () => {
    const link = new QuicheLink();
    const tls = serverTls(pem('Ed25519'), { clientAuth: 'required', verifier: endpointVerifier(['x509']) });
    link.quicheDials(quicheConfig({ roots: pem('Ed25519').certificate }), tls);
    link.run(() => link.ours?.has('closed') === true, 'close');
    expect(link.ours!.closeReason).toMatchObject({
      type: 'transportError',
      error: { wireCode: 0x100 + 116 },
    });
  });
});

test('both show certificates, quiche dials', () => {
  const link = new QuicheLink();
  const mine = pem('Ed25519');
  const tls = serverTls(mine, { clientAuth: 'required', verifier: endpointVerifier(['x509']) });
  accept(link, tls, { identity: mine, roots: mine.certificate });
  expect(link.ours!.quic.peerIdentity).toMatchObject({ type: 'x509' });
});

/** The two ways to be connected. */
const ROLES = {
  'we dial': (link: QuicheLink) => dial(link, clientTls(pem('EC P-256')), { identity: pem('EC P-256') }),
  'quiche dials': (link: QuicheLink) =>
    accept(link, serverTls(pem('EC P-256')), { roots: pem('EC P-256').certificate }),
} as const;

describe.each(Object.keys(ROLES) as (keyof typeof ROLES)[])('%s', (role) => {
  const connect = ROLES[role];
  const isClient = role === 'we dial';

  test('1 MiB each way on one stream, and on streams that the other side opens', () => {
    const link = new QuicheLink();
    connect(link);
    const { ours, peer } = link;
    const [up, down, one, another] = [bytes(MIB, 1), bytes(MIB, 2), bytes(5_000, 3), bytes(7_000, 4)];
    const bidi = ours!.open('bi');
    ours!.send(bidi, up);
    ours!.sendNew(one, 'uni');
    link.run(() => peer!.finished.has(bidi), 'all at quiche');
    peer!.send(bidi, down);
    const theirBidi = isClient ? SERVER_BIDI : CLIENT_BIDI;
    const theirUni = isClient ? SERVER_UNI : CLIENT_UNI;
    peer!.send(theirUni, another);
    peer!.send(theirBidi, another);
    link.run(() => [bidi, theirUni, theirBidi].every((id) => ours!.isFinished(id)), 'all at our side');
    expect(same(peer!.received(bidi), up)).toBe(true);
    expect(same(peer!.received(isClient ? CLIENT_UNI : SERVER_UNI), one)).toBe(true);
    expect(same(ours!.data(bidi), down)).toBe(true);
    expect(same(ours!.data(theirUni), another)).toBe(true);
    expect(same(ours!.data(theirBidi), another)).toBe(true);
  });

  test('datagrams, up to the largest', () => {
    const link = new QuicheLink();
    connect(link);
    const { ours, peer } = link;
    const mine = [bytes(1, 1), bytes(500, 2), bytes(ours!.quic.maxDatagramSize!, 3)];
    const theirs = [bytes(1, 4), bytes(500, 5), bytes(peer!.native.dgramMaxWritableLen()!, 6)];
    for (const data of mine) ours!.quic.sendDatagram(data, false);
    for (const data of theirs) peer!.native.dgramSend(data);
    link.run(() => peer!.datagrams.length === 3 && ours!.datagrams.length === 3, 'datagrams');
    expect(peer!.datagrams).toEqual(mine);
    expect(ours!.datagrams).toEqual(theirs);
  });

  test('RESET_STREAM, STOP_SENDING and closes with their codes', () => {
    const link = new QuicheLink();
    connect(link);
    const { ours, peer } = link;
    const id = ours!.open('bi');
    ours!.send(id, bytes(10, 1), { fin: false });
    link.run(() => peer!.received(id).length === 10, 'first bytes');
    peer!.native.streamShutdown(id, 0, 77);
    peer!.native.streamShutdown(id, 1, 78);
    link.run(() => ours!.has('streamStopped') && ours!.inbound(id).error !== undefined, 'stop and reset');
    expect(ours!.all('streamStopped')).toMatchObject([{ id, code: 77n }]);
    expect(ours!.inbound(id).error).toMatchObject({ kind: 'reset', code: 78n });
    if (isClient) {
      peer!.native.close(true, 9, Buffer.from('enough'));
      link.run(() => ours!.has('closed'), 'close of quiche');
      expect(ours!.closeReason).toMatchObject({ type: 'applicationClosed', code: 9n });
    } else {
      ours!.close(9n, Buffer.from('enough'));
      link.run(() => peer!.native.peerError() !== null, 'our close');
      expect(peer!.native.peerError()).toMatchObject({ isApp: true, errorCode: 9 });
    }
  });

  test('Retry, then a connection', () => {
    const link = new QuicheLink();
    link.isRetrying = true;
    connect(link);
    expect(link.retries).toBe(1);
    const data = bytes(20_000, 1);
    const id = link.ours!.sendNew(data, 'uni');
    link.run(() => link.peer!.finished.has(id), 'data after a Retry');
    expect(same(link.peer!.received(id), data)).toBe(true);
  });
});

describe('resumption', () => {
  test.each([false, true])('we dial again; early data: %s', (earlyData) => {
    const link = new QuicheLink();
    const tickets = new MemoryTicketStore();
    const tls = clientTls(pem('EC P-256'), { tickets, earlyData });
    const config = quicheConfig({
      identity: pem('EC P-256'),
      earlyData,
      ticketKey: new Uint8Array(48).fill(5),
    });
    link.weDial(tls, config);
    link.run(() => link.ours!.has('handshakeConfirmed'), 'first handshake');
    link.settle();
    link.ours!.close();
    link.settle();

    const again = link.weDial(tls, config);
    const data = bytes(600, 1);
    if (earlyData) {
      expect(again.quic.has0Rtt).toBe(true);
      again.sendNew(data, 'uni');
    }
    link.run(() => again.has('handshakeConfirmed'), 'second handshake');
    expect(link.peer!.native.isResumed()).toBe(true);
    if (!earlyData) return;
    link.run(() => link.peer!.finished.has(CLIENT_UNI), 'early data');
    expect(again.quic.accepted0Rtt).toBe(true);
    expect(same(link.peer!.received(CLIENT_UNI), data)).toBe(true);
  });

  test.each([false, true])('quiche dials again; early data: %s', (earlyData) => {
    const link = new QuicheLink();
    const tls = serverTls(pem('EC P-256'), {
      sessions: new MemorySessionStore(),
      ticketCount: 2,
      acceptEarlyData: earlyData,
    });
    const options = { roots: pem('EC P-256').certificate, earlyData };
    accept(link, tls, options);
    link.settle();
    const session = link.peer!.native.session();
    expect(session).not.toBeNull();
    link.ours!.close();
    link.settle();

    const { peer } = link.quicheDials(quicheConfig(options), tls, session!);
    const data = bytes(600, 1);
    peer.send(CLIENT_UNI, data);
    link.run(() => link.ours?.isFinished(CLIENT_UNI) === true && peer.native.isEstablished(), 'data');
    expect(peer.native.isResumed()).toBe(true);
    expect(link.ours!.quic.accepted0Rtt).toBe(earlyData ? true : undefined);
    expect(same(link.ours!.data(CLIENT_UNI), data)).toBe(true);
  });
});

test('our close reaches quiche although we do not know yet that the handshake is confirmed', () => {
  const link = new QuicheLink();
  const ours = link.weDial(clientTls(pem('Ed25519')), quicheConfig({ identity: pem('Ed25519') }));
  link.run(() => ours.has('connected'), 'its flight');
  link.areWeDeaf = true;
  link.run(() => link.peer?.native.isEstablished() === true, 'ours');
  expect(ours.has('handshakeConfirmed')).toBe(false);
  ours.close(9n, Buffer.from('enough'));
  link.run(() => link.peer!.native.peerError() !== null, 'our close');
  expect(link.peer!.native.peerError()).toMatchObject({ isApp: true, errorCode: 9 });
});

describe('migration', () => {
  const elsewhere = toAddr('127.0.0.1', 4_099);

  test('a quiche client moves to another port', () => {
    const link = new QuicheLink();
    ROLES['quiche dials'](link);
    link.settle();
    const { ours, peer } = link;
    // quiche wants a spare connection id from us, and gives us one.
    while (peer!.native.sourceCidsLeft() > 0) {
      peer!.native.newSourceCid(
        Buffer.from(bytes(16, 50 + peer!.native.sourceCidsLeft())),
        123_456_789n,
        false,
      );
    }
    link.settle();
    peer!.native.migrateSource({ host: elsewhere.ip, port: elsewhere.port });
    link.run(() => ours!.has('pathMigrated'), 'our server sees it');
    expect(ours!.all('pathMigrated')[0]!.to.remote).toBe(elsewhere);
    const data = bytes(100_000, 1);
    peer!.send(CLIENT_BIDI, data);
    link.run(() => ours!.isFinished(CLIENT_BIDI), 'data over the new path');
    expect(same(ours!.data(CLIENT_BIDI), data)).toBe(true);
    link.run(() => ours!.quic.paths()[0]!.validated, 'validation');
    expect(ours!.quic.paths()).toMatchObject([{ remote: elsewhere }]);
  });

  test('a NAT gives our client another port', () => {
    const link = new QuicheLink();
    ROLES['we dial'](link);
    link.settle();
    const { ours, peer } = link;
    link.seenAs = elsewhere;
    const data = bytes(100_000, 1);
    const id = ours!.open('bi');
    ours!.send(id, data);
    link.run(() => peer!.finished.has(id), 'data from the new address');
    peer!.send(id, data);
    link.run(() => ours!.isFinished(id), 'data to the new address');
    expect(same(peer!.received(id), data)).toBe(true);
    expect(same(ours!.data(id), data)).toBe(true);
    const active = peer!.native.pathStats().filter((path) => path.active);
    expect(active).toMatchObject([{ peerHost: { host: elsewhere.ip, port: elsewhere.port } }]);
  });
});
