import { describe, expect, test } from '@jest/globals';
import { x25519FromSecret } from '#crypto/key-exchange';
import { concatBytes, fromHex, toHex, utf8 } from '../../../src/base/bytes.ts';
import type { Rng } from '../../../src/base/rng.ts';
import { decodeEd25519Spki, toPeerIdentity } from '../../../src/tls/certificates.ts';
import { decodeClientHello, peekClientHello } from '../../../src/tls/client-hello.ts';
import { createClientSession } from '../../../src/tls/client-session.ts';
import { endpointTlsName } from '../../../src/tls/endpoint-name.ts';
import { checkCertificateVerify, checkFinished } from '../../../src/tls/handshake-session.ts';
import { KeySchedule, ticketPsk } from '../../../src/tls/key-schedule.ts';
import { decodeCertificate, decodeNewSessionTicket } from '../../../src/tls/messages.ts';
import { rawPublicKeyIdentity, rawPublicKeyVerifier } from '../../../src/tls/profile.ts';
import { decodeServerHello } from '../../../src/tls/server-hello.ts';
import { createServerSession } from '../../../src/tls/server-session.ts';
import type { PeerIdentity, StoredTicket, TlsOutput, TlsSession } from '../../../src/tls/session.ts';
import { MemoryTicketStore } from '../../../src/tls/ticket-store.ts';
import { Transcript } from '../../../src/tls/transcript.ts';
import { NOW, seededRng, serverConfig } from '../../support/tls-pair.ts';
import { loadVectors } from '../../support/vectors.ts';

interface RecordedTicket {
  readonly lifetime: number;
  readonly age_add: number;
  readonly nonce: string;
  readonly ticket: string;
  readonly psk: string;
}

interface RecordedHandshake {
  readonly alpn: string;
  readonly identities: {
    readonly client_endpoint_id: string;
    readonly server_endpoint_id: string;
    readonly js_side_ed25519_seed: string;
  };
  readonly js_side_x25519_private: string;
  readonly secrets: Readonly<Record<string, string>>;
  readonly transport_parameters: {
    readonly client: { readonly hex: string };
    readonly server: { readonly hex: string };
  };
  readonly tickets?: readonly RecordedTicket[];
  readonly tls_messages: readonly {
    readonly dir: 'c2s' | 's2c';
    readonly level: 'initial' | 'handshake' | '1rtt';
    readonly type: string;
    readonly hex: string;
  }[];
}

const asClient = [
  'client-plain',
  'client-multipath-nat',
  'client-retry',
  'client-peer-key-update',
  'client-resumed-0rtt',
];
const asServer = ['server-real-iroh-client', 'server-nat-traversal'];

const load = (name: string): RecordedHandshake => loadVectors<RecordedHandshake>(`transcripts/${name}`);

function messagesOf(recorded: RecordedHandshake, dir: 'c2s' | 's2c', level: string): Uint8Array {
  const hexes = recorded.tls_messages.filter((m) => m.dir === dir && m.level === level).map((m) => m.hex);
  return concatBytes(...hexes.map(fromHex));
}

function drain(session: TlsSession): TlsOutput[] {
  const outputs: TlsOutput[] = [];
  for (let output = session.poll(); output !== undefined; output = session.poll()) outputs.push(output);
  return outputs;
}

function cryptoOf(outputs: readonly TlsOutput[], level: string): string {
  return outputs
    .map((output) => (output.type === 'crypto' && output.level === level ? toHex(output.data) : ''))
    .join('');
}

function secretsOf(outputs: readonly TlsOutput[], type: 'earlyKeys' | 'handshakeKeys' | 'applicationKeys') {
  const found = outputs.find((output) => output.type === type);
  if (found === undefined || !('secrets' in found)) throw new Error(`no ${type}`);
  const hex = (secret: Uint8Array | undefined): string | undefined => secret && toHex(secret);
  return { read: hex(found.secrets.read), write: hex(found.secrets.write) };
}

/** Gives out what the recorded client had drawn: the random of its hello, then its x25519 secret. */
function recordedRng(...draws: readonly Uint8Array[]): Rng {
  const left = [...draws];
  return {
    fill(target) {
      target.set(left.shift()!);
      return target;
    },
  };
}

/** Ticket and age with which client-resumed-0rtt resumed a session of client-plain. */
function recordedTicket(recorded: RecordedHandshake): StoredTicket | undefined {
  const hello = decodeClientHello(messagesOf(recorded, 'c2s', 'initial'));
  const identity = hello.psk?.identities[0];
  if (identity === undefined) return undefined;
  const earlier = load('client-plain');
  const ticket = earlier.tickets!.find((one) => one.ticket === toHex(identity.ticket))!;
  expect(ticket.psk).toBe(recorded.secrets['resumption_psk']);
  return {
    ticket: identity.ticket,
    psk: fromHex(ticket.psk),
    suite: 'TLS_AES_128_GCM_SHA256',
    lifetimeSeconds: ticket.lifetime,
    ageAdd: ticket.age_add,
    receivedAt: NOW - ((identity.obfuscatedAge - ticket.age_add) >>> 0),
    maxEarlyData: 0xffff_ffff,
    alpn: utf8(earlier.alpn),
    transportParameters: fromHex(earlier.transport_parameters.server.hex),
    peer: { type: 'rawPublicKey', publicKey: fromHex(earlier.identities.server_endpoint_id) },
  };
}

describe('our client replays the handshake with a real iroh server byte for byte', () => {
  test.each(asClient)('%s', (name) => {
    const recorded = load(name);
    const recordedHello = messagesOf(recorded, 'c2s', 'initial');
    const tickets = new MemoryTicketStore();
    const serverName = endpointTlsName(fromHex(recorded.identities.server_endpoint_id));
    const ticket = recordedTicket(recorded);
    if (ticket !== undefined) tickets.put(serverName, ticket);
    const logged: string[] = [];
    const session = createClientSession(
      {
        identity: rawPublicKeyIdentity(fromHex(recorded.identities.js_side_ed25519_seed)),
        verifier: rawPublicKeyVerifier(),
        alpns: [utf8(recorded.alpn)],
        suites: ['TLS_AES_128_GCM_SHA256'],
        sni: undefined,
        tickets,
        earlyData: true,
        keyLog: (line) => logged.push(line),
      },
      serverName,
      {
        rng: recordedRng(recordedHello.slice(6, 38), fromHex(recorded.js_side_x25519_private)),
        wallNow: NOW,
        transportParameters: fromHex(recorded.transport_parameters.client.hex),
      },
    );
    const hello = drain(session);
    expect(cryptoOf(hello, 'initial')).toBe(toHex(recordedHello));
    if (ticket !== undefined) {
      expect(secretsOf(hello, 'earlyKeys').write).toBe(recorded.secrets['client_early_traffic']);
      expect(session.earlyTransportParameters).toEqual(ticket.transportParameters);
    }

    session.handleCrypto('initial', messagesOf(recorded, 's2c', 'initial'), NOW);
    const afterHello = drain(session);
    expect(secretsOf(afterHello, 'handshakeKeys')).toEqual({
      read: recorded.secrets['server_handshake_traffic'],
      write: recorded.secrets['client_handshake_traffic'],
    });

    session.handleCrypto('handshake', messagesOf(recorded, 's2c', 'handshake'), NOW);
    const outputs = drain(session);
    expect(cryptoOf(outputs, 'handshake')).toBe(toHex(messagesOf(recorded, 'c2s', 'handshake')));
    expect(secretsOf(outputs, 'applicationKeys')).toEqual({
      read: recorded.secrets['server_application_traffic_0'],
      write: recorded.secrets['client_application_traffic_0'],
    });
    expect(outputs.filter((output) => output.type !== 'crypto' && output.type !== 'applicationKeys')).toEqual(
      [
        { type: 'transportParameters', data: fromHex(recorded.transport_parameters.server.hex) },
        { type: 'alpn', alpn: utf8(recorded.alpn) },
        ...(ticket === undefined ? [] : [{ type: 'earlyData', accepted: true }]),
        {
          type: 'complete',
          peer: { type: 'rawPublicKey', publicKey: fromHex(recorded.identities.server_endpoint_id) },
          resumed: ticket !== undefined,
        },
      ],
    );

    session.handleCrypto('application', messagesOf(recorded, 's2c', '1rtt'), NOW);
    const received = [...recorded.tickets!].reverse();
    for (const { psk, nonce, age_add, lifetime, ...rest } of received) {
      expect(nonce).toHaveLength(64);
      expect(tickets.take(serverName, NOW)).toMatchObject({
        ticket: fromHex(rest.ticket),
        psk: fromHex(psk),
        ageAdd: age_add,
        lifetimeSeconds: lifetime,
        maxEarlyData: 0xffff_ffff,
      });
    }
    expect(tickets.take(serverName, NOW)).toBeUndefined();
    const random = toHex(recordedHello.subarray(6, 38));
    expect(logged).toContain(`EXPORTER_SECRET ${random} ${recorded.secrets['exporter_master']}`);
  });
});

describe('our key schedule, signature and Finished checks agree with every message', () => {
  test.each([...asClient, ...asServer])('%s', (name) => {
    const recorded = load(name);
    const { secrets } = recorded;
    const psk = secrets['resumption_psk'];
    const schedule = new KeySchedule('sha256', psk === undefined ? undefined : fromHex(psk));
    const transcript = new Transcript('sha256');
    const verifier = rawPublicKeyVerifier();
    const ephemeral = x25519FromSecret(fromHex(recorded.js_side_x25519_private));
    let clientShare: Uint8Array | undefined;
    let peer: PeerIdentity | undefined;
    for (const { dir, type, hex } of recorded.tls_messages) {
      const message = fromHex(hex);
      const side = dir === 'c2s' ? 'client' : 'server';
      switch (type) {
        case 'Certificate':
          peer = toPeerIdentity('rawPublicKey', decodeCertificate(message));
          expect(toHex(decodeEd25519Spki(message.subarray(11, 55))!)).toBe(
            recorded.identities[`${side}_endpoint_id`],
          );
          break;
        case 'CertificateVerify':
          checkCertificateVerify(message, side, peer!, verifier, transcript);
          break;
        case 'Finished':
          checkFinished(message, fromHex(secrets[`${side}_handshake_traffic`]!), transcript);
          break;
        case 'NewSessionTicket': {
          const ticket = decodeNewSessionTicket(message);
          const known = recorded.tickets!.find((one) => one.ticket === toHex(ticket.ticket))!;
          expect(toHex(ticketPsk('sha256', fromHex(secrets['resumption_master']!), ticket.nonce))).toBe(
            known.psk,
          );
          continue;
        }
      }
      transcript.update(message);
      if (type === 'ClientHello') clientShare = decodeClientHello(message).x25519Share;
      if (type === 'ServerHello') {
        const { key } = decodeServerHello(message).keyShare!;
        const shared = ephemeral.sharedSecret(asClient.includes(name) ? key : clientShare!)!;
        const traffic = schedule.enterHandshake(shared, transcript.digest());
        expect(toHex(traffic.client)).toBe(secrets['client_handshake_traffic']);
        expect(toHex(traffic.server)).toBe(secrets['server_handshake_traffic']);
      }
      if (type === 'Finished' && side === 'server') {
        const traffic = schedule.enterApplication(transcript.digest());
        expect(toHex(traffic.client)).toBe(secrets['client_application_traffic_0']);
        expect(toHex(traffic.server)).toBe(secrets['server_application_traffic_0']);
        expect(toHex(schedule.exporter(transcript.digest()))).toBe(secrets['exporter_master']);
      }
      if (type === 'Finished' && side === 'client' && secrets['resumption_master'] !== undefined)
        expect(toHex(schedule.resumption(transcript.digest()))).toBe(secrets['resumption_master']);
    }
  });
});

describe('our server takes the ClientHello of a real iroh client', () => {
  test.each(asServer)('%s', (name) => {
    const recorded = load(name);
    const hello = messagesOf(recorded, 'c2s', 'initial');
    const clientId = fromHex(recorded.identities.client_endpoint_id);
    const serverId = fromHex(recorded.identities.server_endpoint_id);
    expect(peekClientHello(hello)).toEqual({
      alpns: [utf8(recorded.alpn)],
      sni: endpointTlsName(serverId),
    });
    const session = createServerSession(
      serverConfig({
        identity: rawPublicKeyIdentity(fromHex(recorded.identities.js_side_ed25519_seed)),
        alpns: [utf8(recorded.alpn)],
      }),
      { rng: seededRng(name), wallNow: NOW, transportParameters: Uint8Array.of(1, 0) },
    );
    session.handleCrypto('initial', hello, NOW);
    const outputs = drain(session);
    expect(outputs.map((output) => output.type)).toEqual([
      'transportParameters',
      'alpn',
      'crypto',
      'handshakeKeys',
      'crypto',
      'applicationKeys',
    ]);
    expect(outputs[0]).toEqual({
      type: 'transportParameters',
      data: fromHex(recorded.transport_parameters.client.hex),
    });
    // Our first choice, not the client's.
    expect(outputs[3]).toMatchObject({ secrets: { suite: 'TLS_CHACHA20_POLY1305_SHA256' } });
    expect(clientId).toHaveLength(32);
  });
});
