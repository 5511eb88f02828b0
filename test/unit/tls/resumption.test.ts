import { describe, expect, test } from '@jest/globals';
import { EMPTY, fromHex, toHex, utf8 } from '../../../src/base/bytes.ts';
import { TlsAlert } from '../../../src/tls/alert.ts';
import { CIPHER_SUITES } from '../../../src/tls/cipher-suites.ts';
import { MAX_STORED_BYTES, MAX_TICKETS_PER_CONNECTION } from '../../../src/tls/client-tickets.ts';
import { decodeClientHello, encodeClientHello } from '../../../src/tls/client-hello.ts';
import { createClientSession } from '../../../src/tls/client-session.ts';
import { decodeNewSessionTicket, writeNewSessionTicket } from '../../../src/tls/messages.ts';
import { createServerSession } from '../../../src/tls/server-session.ts';
import { MemorySessionStore } from '../../../src/tls/session-store.ts';
import { MemoryTicketStore } from '../../../src/tls/ticket-store.ts';
import type {
  CipherSuiteName,
  ClientTlsConfig,
  PeerVerifier,
  ServerSession,
  ServerTlsConfig,
  SessionStore,
  StoredTicket,
  TicketStore,
} from '../../../src/tls/session.ts';
import {
  NOW,
  TlsPair,
  clientConfig,
  clientKey,
  clientParameters,
  seededRng,
  serverConfig,
  serverKey,
  serverName,
  serverParameters,
  splitMessages,
} from '../../support/tls-pair.ts';
import { PuppetClient, PuppetServer, puppetHello, written } from '../../support/tls-puppets.ts';

const clientPeer = { type: 'rawPublicKey', publicKey: clientKey };
const serverPeer = { type: 'rawPublicKey', publicKey: serverKey };

/** Two endpoints that have met: the client holds two tickets of the server. */
function acquainted(
  clientChanges: Partial<ClientTlsConfig> = {},
  serverChanges: Partial<ServerTlsConfig> = {},
): { client: ClientTlsConfig; server: ServerTlsConfig } {
  const client = clientConfig({ earlyData: true, ...clientChanges });
  const server = serverConfig(serverChanges);
  const pair = new TlsPair({ client, server, seed: 'acquaintance' }).run();
  expect(pair.alert).toBeUndefined();
  expect(pair.one('server', 'complete').resumed).toBe(false);
  return { client, server };
}

/** What a later handshake came to. */
function outcome(pair: TlsPair): { resumed: boolean; offered: boolean; accepted: boolean | undefined } {
  expect(pair.alert).toBeUndefined();
  const resumed = pair.one('server', 'complete').resumed;
  expect(pair.one('client', 'complete').resumed).toBe(resumed);
  expect(pair.one('server', 'complete').peer).toEqual(clientPeer);
  expect(pair.one('client', 'complete').peer).toEqual(serverPeer);
  expect(pair.one('client', 'applicationKeys').secrets.read).toEqual(
    pair.one('server', 'applicationKeys').secrets.write,
  );
  const verdicts = (['client', 'server'] as const).map((side) => pair.all(side, 'earlyData')[0]?.accepted);
  expect(verdicts[0]).toBe(verdicts[1]);
  const offered = pair.all('client', 'earlyKeys').length === 1;
  expect(pair.all('server', 'earlyKeys')).toHaveLength(verdicts[0] === true ? 1 : 0);
  return { resumed, offered, accepted: verdicts[0] };
}

describe('tickets', () => {
  test('the server sends two, each good for one day and early data', () => {
    const pair = new TlsPair().run();
    const messages = splitMessages(pair.sent('server', 'application'));
    const tickets = messages.map(decodeNewSessionTicket);
    expect(tickets.map((t) => [t.lifetimeSeconds, t.ticket.length, t.maxEarlyData])).toEqual([
      [86_400, 32, 0xffff_ffff],
      [86_400, 32, 0xffff_ffff],
    ]);
    expect(tickets[0]!.nonce).not.toEqual(tickets[1]!.nonce);
    expect(tickets[0]!.ageAdd).not.toBe(tickets[1]!.ageAdd);
  });

  test('the client keeps them with all that resumption and early data need', () => {
    const { client } = acquainted();
    const first = client.tickets!.take(serverName, NOW)!;
    const second = client.tickets!.take(serverName, NOW)!;
    expect(client.tickets!.take(serverName, NOW)).toBeUndefined();
    expect(first.psk).not.toEqual(second.psk);
    expect(first).toMatchObject({
      suite: 'TLS_CHACHA20_POLY1305_SHA256',
      lifetimeSeconds: 86_400,
      receivedAt: NOW,
      maxEarlyData: 0xffff_ffff,
      alpn: utf8('test/1'),
      transportParameters: serverParameters,
      peer: serverPeer,
    });
  });

  test('none where nobody wants them', () => {
    for (const server of [serverConfig({ ticketCount: 0 }), serverConfig({ sessions: undefined })])
      expect(
        new TlsPair({ server })
          .run()
          .all('server', 'crypto')
          .map((o) => o.level),
      ).toEqual(['initial', 'handshake']);
  });

  test('without early data at the server they say so', () => {
    const { client } = acquainted({}, { acceptEarlyData: false });
    expect(client.tickets!.take(serverName, NOW)!.maxEarlyData).toBe(0);
  });
});

describe('resumption', () => {
  const suites: CipherSuiteName[] = [
    'TLS_AES_128_GCM_SHA256',
    'TLS_AES_256_GCM_SHA384',
    'TLS_CHACHA20_POLY1305_SHA256',
  ];

  test.each(suites)('goes without certificates and knows the peers, %s', (suite) => {
    const { client, server } = acquainted({ suites: [suite] });
    const pair = new TlsPair({ client, server }).run();
    expect(outcome(pair)).toEqual({ resumed: true, offered: true, accepted: true });
    expect(splitMessages(pair.sent('server', 'handshake')).map((m) => m[0])).toEqual([8, 20]);
    expect(splitMessages(pair.sent('client', 'handshake')).map((m) => m[0])).toEqual([20]);
    // RFC 7250: both types are named when resuming too, or iroh closes.
    expect(toHex(pair.sent('server', 'handshake'))).toContain('00130001020014000102');
    const early = { client: pair.one('client', 'earlyKeys'), server: pair.one('server', 'earlyKeys') };
    expect(early.client.secrets).toEqual({ suite, read: undefined, write: early.server.secrets.read });
    expect(pair.client.exportKeyingMaterial(32, 'x', EMPTY)).toEqual(
      pair.server.exportKeyingMaterial(32, 'x', EMPTY),
    );
  });

  test('tickets chain: a resumed connection earns new ones, and each works once', () => {
    const { client, server } = acquainted();
    for (let i = 0; i < 5; i++) {
      const pair = new TlsPair({ client, server, seed: `again ${i}` }).run();
      expect(outcome(pair)).toMatchObject({ resumed: true, accepted: true });
    }
  });

  test('a used ticket falls back to a full handshake', () => {
    const { client, server } = acquainted();
    const ticket = client.tickets!.take(serverName, NOW)!;
    const replay = (): TlsPair =>
      new TlsPair({ client: { ...client, tickets: always(ticket) }, server, seed: 'replay' }).run();
    expect(outcome(replay())).toEqual({ resumed: true, offered: true, accepted: true });
    expect(outcome(replay())).toEqual({ resumed: false, offered: true, accepted: false });
  });

  test('early keys are logged', () => {
    const { client, server } = acquainted();
    const lines: string[] = [];
    new TlsPair({ client: { ...client, keyLog: (line) => lines.push(line) }, server }).run();
    expect(lines[0]).toMatch(/^CLIENT_EARLY_TRAFFIC_SECRET /);
  });

  test('outputs come in the order in which they must be acted on', () => {
    const { client, server } = acquainted();
    const pair = new TlsPair({ client, server }).run();
    expect(pair.outputs.client.map((o) => o.type).slice(0, 6)).toEqual([
      'crypto',
      'earlyKeys',
      'handshakeKeys',
      'transportParameters',
      'alpn',
      'earlyData',
    ]);
    expect(pair.outputs.server.map((o) => o.type)).toEqual([
      'transportParameters',
      'alpn',
      'earlyData',
      'earlyKeys',
      'crypto',
      'handshakeKeys',
      'crypto',
      'applicationKeys',
      'complete',
      'crypto',
    ]);
  });
});

/** A store that always has the same ticket. */
function always(ticket: StoredTicket | undefined): TicketStore {
  return { put: () => undefined, take: () => ticket };
}

/** A session store that changes what it remembers. */
function altered(change: (session: ServerSession) => ServerSession): SessionStore {
  const store = new MemorySessionStore();
  return {
    put: (session, rng) => store.put(change(session), rng),
    take: (ticket, wallNow) => store.take(ticket, wallNow),
  };
}

describe('early data is refused while the session resumes', () => {
  const resumedOnly = { resumed: true, offered: true, accepted: false };

  test('when the server does not want it (any more)', () => {
    const { client, server } = acquainted();
    expect(outcome(new TlsPair({ client, server: { ...server, acceptEarlyData: false } }).run())).toEqual(
      resumedOnly,
    );
  });

  test('when the server would choose another protocol now', () => {
    const { client, server } = acquainted({ alpns: [utf8('test/1'), utf8('test/2')] });
    const alpns = [utf8('test/2'), utf8('test/1')];
    expect(outcome(new TlsPair({ client, server: { ...server, alpns } }).run())).toEqual(resumedOnly);
  });

  test('when the server would choose another suite of the same hash now', () => {
    const both: CipherSuiteName[] = ['TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256'];
    const { client, server } = acquainted({ suites: both }, { suites: both });
    const changed = { ...client, suites: [...both].reverse() };
    expect(outcome(new TlsPair({ client: changed, server }).run())).toEqual(resumedOnly);
  });

  test.each([
    ['59 s behind', -59_000, true],
    ['61 s behind', -61_000, false],
    ['59 s ahead', 59_000, true],
    ['61 s ahead', 61_000, false],
  ])('when the clocks run apart: server %s', (_name, skew, accepted) => {
    const { client, server } = acquainted();
    const later = NOW + 3_600_000;
    const pair = new TlsPair({ client, server, clientNow: later, serverNow: later + skew }).run();
    expect(outcome(pair)).toEqual({ resumed: true, offered: true, accepted });
  });
});

describe('the client does not offer early data', () => {
  const quiet = { resumed: true, offered: false, accepted: undefined };

  test('when told not to', () => {
    const { client, server } = acquainted();
    expect(outcome(new TlsPair({ client: { ...client, earlyData: false }, server }).run())).toEqual(quiet);
  });

  test('when the ticket does not allow it', () => {
    const { client, server } = acquainted({}, { acceptEarlyData: false });
    expect(outcome(new TlsPair({ client, server }).run())).toEqual(quiet);
  });

  test('when the ticket speaks another protocol than the first that is asked for', () => {
    const { client, server } = acquainted();
    const alpns = [utf8('test/2'), utf8('test/1')];
    expect(outcome(new TlsPair({ client: { ...client, alpns }, server }).run())).toEqual(quiet);
  });

  test('when it no longer offers the suite of the ticket', () => {
    const { client, server } = acquainted({ suites: ['TLS_AES_128_GCM_SHA256'] });
    const changed: ClientTlsConfig = { ...client, suites: ['TLS_CHACHA20_POLY1305_SHA256'] };
    expect(outcome(new TlsPair({ client: changed, server }).run())).toEqual(quiet);
  });
});

describe('the handshake is a full one', () => {
  const full = { resumed: false, offered: false, accepted: undefined };
  const refused = { resumed: false, offered: true, accepted: false };

  test('when the server has restarted', () => {
    const { client, server } = acquainted();
    const restarted = { ...server, sessions: new MemorySessionStore() };
    expect(outcome(new TlsPair({ client, server: restarted }).run())).toEqual(refused);
  });

  test('when the server keeps no sessions', () => {
    const { client, server } = acquainted();
    expect(outcome(new TlsPair({ client, server: { ...server, sessions: undefined } }).run())).toEqual(
      refused,
    );
  });

  test('when the server name differs', () => {
    const { client, server } = acquainted();
    expect(outcome(new TlsPair({ client: { ...client, sni: 'other' }, server }).run())).toEqual(refused);
  });

  test('when the ticket has expired', () => {
    const { client, server } = acquainted();
    const later = NOW + 86_400_000;
    const pair = new TlsPair({ client, server, clientNow: later, serverNow: later }).run();
    expect(outcome(pair)).toEqual(full);
    const late = new TlsPair({ client: acquainted({}, server).client, server, serverNow: later }).run();
    expect(outcome(late)).toEqual(refused);
  });

  test('when the server now chooses a suite of another hash', () => {
    const { client, server } = acquainted();
    const changed: ServerTlsConfig = { ...server, suites: ['TLS_AES_256_GCM_SHA384'] };
    expect(outcome(new TlsPair({ client, server: changed }).run())).toEqual(refused);
  });

  test('when the client has no suite of the ticket’s hash', () => {
    const { client, server } = acquainted({ suites: ['TLS_AES_128_GCM_SHA256'] });
    const changed: ClientTlsConfig = { ...client, suites: ['TLS_AES_256_GCM_SHA384'] };
    expect(outcome(new TlsPair({ client: changed, server }).run())).toEqual(full);
  });

  test('when the session is of an anonymous client and authentication is required now', () => {
    const { client, server } = acquainted({}, { sessions: altered((s) => ({ ...s, peer: undefined })) });
    expect(outcome(new TlsPair({ client, server }).run())).toEqual(refused);
  });

  test('when the session is of a peer whose certificate type is not taken', () => {
    const sessions = altered((s) => ({ ...s, peer: { type: 'x509', chain: [] } }));
    const { client, server } = acquainted({}, { sessions });
    expect(outcome(new TlsPair({ client, server }).run())).toEqual(refused);
  });

  test('when the server would no longer take the peer', () => {
    const { client, server } = acquainted();
    let asked = 0;
    const verifier: PeerVerifier = {
      ...server.verifier,
      verifyIdentity() {
        // At the ticket; the certificate of the full handshake is taken again.
        if (asked++ === 0) throw new TlsAlert('access_denied', 'not now');
      },
    };
    expect(outcome(new TlsPair({ client, server: { ...server, verifier } }).run())).toEqual(refused);
  });

  test('when the ticket is of another server than the one that is dialled', () => {
    const { client, server } = acquainted();
    const ticket = client.tickets!.take(serverName, NOW)!;
    const strange = { ...ticket, peer: { type: 'rawPublicKey', publicKey: clientKey } as const };
    for (const one of [
      strange,
      { ...ticket, peer: undefined },
      { ...ticket, peer: { type: 'x509', chain: [] } as const },
    ])
      expect(outcome(new TlsPair({ client: { ...client, tickets: always(one) }, server }).run())).toEqual(
        full,
      );
  });
});

describe('PSK extension', () => {
  function puppetFor(server: ServerTlsConfig): PuppetClient {
    const session = createServerSession(server, {
      rng: seededRng('psk'),
      wallNow: NOW,
      transportParameters: serverParameters,
    });
    return new PuppetClient(session);
  }
  const psk = (ticket: StoredTicket) =>
    ({ ticket: ticket.ticket, obfuscatedAge: ticket.ageAdd, binderLength: 32 }) as const;

  test('a wrong binder is decrypt_error', () => {
    const { client, server } = acquainted();
    const ticket = client.tickets!.take(serverName, NOW)!;
    const puppet = puppetFor(server);
    expect(() => puppet.hello({ psk: psk(ticket) }, ticket.psk, new Uint8Array(32))).toThrow(
      expect.objectContaining({ alert: 51 }),
    );
  });

  test('a stranger’s ticket is ignored whatever its binder', () => {
    const { server } = acquainted();
    const ticket = { ticket: utf8('unknown'), ageAdd: 0, psk: new Uint8Array(32) } as unknown as StoredTicket;
    const puppet = puppetFor(server).hello({ psk: psk(ticket) }, ticket.psk, new Uint8Array(32));
    expect(puppet.outputs.map((o) => o.type)).toContain('handshakeKeys');
  });

  test('a client that can do nothing but resume, and cannot', () => {
    const { client, server } = acquainted();
    const ticket = client.tickets!.take(serverName, NOW)!;
    const stranger = { ...psk(ticket), ticket: utf8('unknown') };
    const hex = toHex(encodeClientHello({ ...puppetHello, psk: stranger }).message);
    const withoutAlgorithms = fromHex(hex.replace('000d0004', 'fa0d0004'));
    expect(() => puppetFor(server).send('initial', withoutAlgorithms)).toThrow(
      expect.objectContaining({ alert: 40 }),
    );
  });

  test('a resumed handshake by hand, after a HelloRetryRequest: no early data, still resumed', () => {
    const { client, server } = acquainted();
    const ticket = client.tickets!.take(serverName, NOW)!;
    const puppet = puppetFor(server);
    puppet.hello({ x25519Share: undefined, earlyData: true, psk: psk(ticket) }, ticket.psk);
    puppet.takeRetry().hello({ psk: psk(ticket) }, ticket.psk);
    expect(puppet.outputs.find((o) => o.type === 'earlyData')).toEqual({
      type: 'earlyData',
      accepted: false,
    });
    puppet.takeFlight().send('handshake', puppet.finished());
    expect(puppet.outputs[0]).toEqual({ type: 'complete', peer: clientPeer, resumed: true });
  });

  test('our client resumes across a HelloRetryRequest, without early data', () => {
    const { client } = acquainted();
    const ticket = client.tickets!.take(serverName, NOW)!;
    const session = createClientSession({ ...client, tickets: always(ticket) }, serverName, {
      rng: seededRng('retry'),
      wallNow: NOW,
      transportParameters: clientParameters,
    });
    const puppet = new PuppetServer(session);
    expect(decodeClientHello(puppet.hello).earlyData).toBe(true);
    puppet.retry({ cookie: utf8('cookie') });
    const second = decodeClientHello(puppet.hello);
    expect([second.earlyData, second.psk?.identities.length]).toEqual([false, 1]);
    const outputs = puppet.answer({ psk: ticket.psk });
    expect(outputs.find((o) => o.type === 'earlyData')).toEqual({ type: 'earlyData', accepted: false });
    expect(outputs.at(-1)).toEqual({ type: 'complete', peer: serverPeer, resumed: true });
  });

  test('our client drops a PSK whose hash a HelloRetryRequest rules out', () => {
    const { client } = acquainted();
    const ticket = client.tickets!.take(serverName, NOW)!;
    const session = createClientSession({ ...client, tickets: always(ticket) }, serverName, {
      rng: seededRng('retry'),
      wallNow: NOW,
      transportParameters: clientParameters,
    });
    const puppet = new PuppetServer(session, CIPHER_SUITES.TLS_AES_256_GCM_SHA384);
    puppet.retry({ cookie: utf8('cookie') });
    expect(decodeClientHello(puppet.hello).psk).toBeUndefined();
    expect(puppet.answer().at(-1)).toEqual({ type: 'complete', peer: serverPeer, resumed: false });
  });

  test('our client refuses what a server may not do with a PSK', () => {
    const { client } = acquainted();
    const ticket = client.tickets!.take(serverName, NOW)!;
    const start = (config: ClientTlsConfig) =>
      createClientSession(config, serverName, {
        rng: seededRng('psk'),
        wallNow: NOW,
        transportParameters: clientParameters,
      });
    const withTicket = { ...client, tickets: always(ticket) };
    // chosen without an offer
    expect(() =>
      new PuppetServer(start({ ...client, tickets: undefined })).answer({ psk: ticket.psk }),
    ).toThrow(expect.objectContaining({ alert: 110 }));
    // chosen with a suite of another hash
    const other = new PuppetServer(start(withTicket), CIPHER_SUITES.TLS_AES_256_GCM_SHA384);
    expect(() => other.answer({ psk: ticket.psk })).toThrow(expect.objectContaining({ alert: 47 }));
    // early data accepted under another suite of the same hash
    const suite = new PuppetServer(start(withTicket), CIPHER_SUITES.TLS_AES_128_GCM_SHA256);
    expect(() => suite.answer({ psk: ticket.psk, extensions: { earlyData: true } })).toThrow(
      expect.objectContaining({ alert: 47 }),
    );
    // early data accepted without the PSK
    expect(() => new PuppetServer(start(withTicket)).answer({ extensions: { earlyData: true } })).toThrow(
      expect.objectContaining({ alert: 47 }),
    );
    // early data accepted that was not offered
    const quiet = new PuppetServer(start({ ...withTicket, earlyData: false }));
    expect(() => quiet.answer({ psk: ticket.psk, extensions: { earlyData: true } })).toThrow(
      expect.objectContaining({ alert: 110 }),
    );
  });
});

describe('tickets from a hostile server', () => {
  function connected(): { puppet: PuppetServer; store: MemoryTicketStore } {
    const store = new MemoryTicketStore();
    const session = createClientSession(clientConfig({ tickets: store }), serverName, {
      rng: seededRng('hostile'),
      wallNow: NOW,
      transportParameters: clientParameters,
    });
    const puppet = new PuppetServer(session);
    puppet.answer();
    expect(session.isComplete).toBe(true);
    return { puppet, store };
  }
  const ticket = (changes: Partial<Parameters<typeof writeNewSessionTicket>[1]> = {}): Uint8Array =>
    written((w) => {
      writeNewSessionTicket(w, {
        lifetimeSeconds: 100,
        ageAdd: 7,
        nonce: Uint8Array.of(1),
        ticket: utf8('ticket'),
        maxEarlyData: undefined,
        ...changes,
      });
    });
  const count = (store: MemoryTicketStore): number => {
    let tickets = 0;
    while (store.take(serverName, NOW) !== undefined) tickets++;
    return tickets;
  };

  test('a lifetime is capped at seven days, and zero means now', () => {
    const { puppet, store } = connected();
    puppet.send('application', ticket({ lifetimeSeconds: 0xffff_ffff }));
    puppet.send('application', ticket({ lifetimeSeconds: 0 }));
    expect(store.take(serverName, NOW)?.lifetimeSeconds).toBe(604_800);
    expect(count(store)).toBe(0);
  });

  test('a flood is not stored, nor is an enormous one', () => {
    const { puppet, store } = connected();
    puppet.send('application', ticket({ ticket: new Uint8Array(MAX_STORED_BYTES + 1) }));
    expect(count(store)).toBe(0);
    for (let i = 0; i < 50; i++) puppet.send('application', ticket());
    expect(count(store)).toBe(MAX_TICKETS_PER_CONNECTION);
  });

  test('another max_early_data_size breaks the rules of QUIC', () => {
    const { puppet } = connected();
    expect(() => {
      puppet.send('application', ticket({ maxEarlyData: 16_384 }));
    }).toThrow(expect.objectContaining({ alert: 47, protocolViolation: true }));
  });

  test('an empty ticket is malformed', () => {
    const { puppet } = connected();
    expect(() => {
      puppet.send('application', ticket({ ticket: EMPTY }));
    }).toThrow(expect.objectContaining({ alert: 50 }));
  });
});

test('two identities: the second resumes, and early data, which belongs to the first, is refused', () => {
  const { client, server } = acquainted();
  const ticket = client.tickets!.take(serverName, NOW)!;
  const session = createServerSession(server, {
    rng: seededRng('two'),
    wallNow: NOW,
    transportParameters: serverParameters,
  });
  const puppet = new PuppetClient(session);
  puppet.twoIdentities(utf8('somebody else’s'), ticket);
  expect(puppet.outputs.find((o) => o.type === 'earlyData')).toEqual({ type: 'earlyData', accepted: false });
  puppet.takeFlight().send('handshake', puppet.finished());
  expect(puppet.outputs[0]).toEqual({ type: 'complete', peer: clientPeer, resumed: true });
});
