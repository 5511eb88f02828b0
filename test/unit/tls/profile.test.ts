import 'reflect-metadata';
import { beforeAll, describe, expect, test } from '@jest/globals';
import * as x509 from '@peculiar/x509';
import { webcrypto } from 'node:crypto';
import { RootStore, ed25519KeyOfCertificate } from '#crypto/x509';
import { ed25519PublicKey } from '#crypto/signature';
import { utf8 } from '../../../src/base/bytes.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';
import { endpointTlsName } from '../../../src/tls/endpoint-name.ts';
import {
  endpointKeyOf,
  endpointVerifier,
  noPeerVerifier,
  pemIdentity,
  rawPublicKeyIdentity,
  rawPublicKeyVerifier,
  selfSignedIdentity,
  webPkiVerifier,
} from '../../../src/tls/profile.ts';
import { MemoryTicketStore } from '../../../src/tls/ticket-store.ts';
import type { ClientTlsConfig, LocalIdentity, ServerTlsConfig } from '../../../src/tls/session.ts';
import {
  NOW,
  TlsPair,
  clientConfig,
  clientKey,
  clientSeed,
  seededRng,
  serverConfig,
  serverKey,
  serverSeed,
  splitMessages,
} from '../../support/tls-pair.ts';

const options = { rng: seededRng('certificate'), wallNow: NOW };
const selfSignedClient = selfSignedIdentity(clientSeed, options);
const selfSignedServer = selfSignedIdentity(serverSeed, options);

describe('identities of endpoints', () => {
  test('a seed and a secret key are the same identity', () => {
    const fromSeed = rawPublicKeyIdentity(clientSeed);
    const fromKey = rawPublicKeyIdentity(SecretKey.fromBytes(clientSeed));
    const message = utf8('message');
    expect(fromSeed.signer.sign(0x0807, message)).toEqual(fromKey.signer.sign(0x0807, message));
    expect([fromSeed.type, fromSeed.signer.schemes]).toEqual(['rawPublicKey', [0x0807]]);
    expect({ ...fromSeed, signer: 0 }).toEqual({ ...fromKey, signer: 0 });
  });

  test('the seed is copied', () => {
    const seed = clientSeed.slice();
    const identity = rawPublicKeyIdentity(seed);
    const before = identity.signer.sign(0x0807, utf8('x'));
    seed.fill(0);
    expect(identity.signer.sign(0x0807, utf8('x'))).toEqual(before);
  });

  test('a self-signed certificate is about the key', () => {
    if (selfSignedServer.type !== 'x509') throw new Error('x509');
    expect(ed25519KeyOfCertificate(selfSignedServer.chain[0]!)).toEqual(serverKey);
    expect(endpointKeyOf({ type: 'x509', chain: selfSignedServer.chain })).toEqual(serverKey);
    expect(endpointKeyOf({ type: 'x509', chain: [] })).toBeUndefined();
    expect(endpointKeyOf({ type: 'rawPublicKey', publicKey: clientKey })).toEqual(clientKey);
    expect(() => endpointKeyOf({ type: 'x509', chain: [utf8('no certificate')] })).toThrow(
      expect.objectContaining({ alertName: 'bad_certificate' }),
    );
  });
});

describe('endpoints that also take self-signed certificates', () => {
  const both = endpointVerifier(['rawPublicKey', 'x509']);
  const raw = { client: rawPublicKeyIdentity(clientSeed), server: rawPublicKeyIdentity(serverSeed) };
  /** Raw keys first, certificates for those who need them. */
  const flexible: { client: Partial<ClientTlsConfig>; server: Partial<ServerTlsConfig> } = {
    client: { verifier: both, identity: raw.client, alternativeIdentity: selfSignedClient },
    server: { verifier: both, identity: raw.server, alternativeIdentity: selfSignedServer },
  };
  const x509Only: { client: Partial<ClientTlsConfig>; server: Partial<ServerTlsConfig> } = {
    client: { verifier: endpointVerifier(['x509']), identity: selfSignedClient },
    server: { verifier: endpointVerifier(['x509']), identity: selfSignedServer },
  };
  const rawOnly: { client: Partial<ClientTlsConfig>; server: Partial<ServerTlsConfig> } = {
    client: {},
    server: {},
  };
  const profiles = { flexible, x509Only, rawOnly };

  test.each([
    ['flexible', 'flexible', 'rawPublicKey'],
    ['flexible', 'rawOnly', 'rawPublicKey'],
    ['rawOnly', 'flexible', 'rawPublicKey'],
    ['flexible', 'x509Only', 'x509'],
    ['x509Only', 'flexible', 'x509'],
    ['x509Only', 'x509Only', 'x509'],
  ] as const)('%s client, %s server: %s', (client, server, type) => {
    const configs = {
      client: clientConfig({ ...profiles[client].client, earlyData: true }),
      server: serverConfig(profiles[server].server),
    };
    for (const resumed of [false, true]) {
      const pair = new TlsPair({ ...configs, seed: `${resumed}` }).run();
      expect(pair.alert).toBeUndefined();
      const seen = { client: pair.one('client', 'complete'), server: pair.one('server', 'complete') };
      expect([seen.client.resumed, seen.server.resumed]).toEqual([resumed, resumed]);
      expect([seen.client.peer?.type, seen.server.peer?.type]).toEqual([type, type]);
      expect(endpointKeyOf(seen.client.peer!)).toEqual(serverKey);
      expect(endpointKeyOf(seen.server.peer!)).toEqual(clientKey);
    }
  });

  test.each([
    ['x509Only', 'rawOnly'],
    ['rawOnly', 'x509Only'],
  ] as const)('%s client, %s server: nothing in common', (client, server) => {
    const pair = new TlsPair({
      client: clientConfig(profiles[client].client),
      server: serverConfig(profiles[server].server),
    }).run();
    expect(pair.alert).toMatchObject({ side: 'server', error: { alertName: 'handshake_failure' } });
  });

  test('a mixed pair: raw client key, certificate of the server', () => {
    const pair = new TlsPair({
      client: clientConfig({ verifier: endpointVerifier(['x509']) }),
      server: serverConfig({ identity: selfSignedServer }),
    }).run();
    expect(pair.alert).toBeUndefined();
    expect(pair.one('client', 'complete').peer?.type).toBe('x509');
    expect(pair.one('server', 'complete').peer?.type).toBe('rawPublicKey');
  });

  test('a certificate of another key than the one dialled is unknown_ca', () => {
    const pair = new TlsPair({
      client: clientConfig(x509Only.client),
      server: serverConfig(x509Only.server),
      serverName: endpointTlsName(clientKey),
    }).run();
    expect(pair.alert).toMatchObject({ side: 'client', error: { alertName: 'unknown_ca' } });
  });

  test('a signature that the certificate’s key did not make is decrypt_error', () => {
    if (selfSignedServer.type !== 'x509') throw new Error('x509');
    const thief: LocalIdentity = { ...selfSignedServer, signer: rawPublicKeyIdentity(clientSeed).signer };
    const pair = new TlsPair({
      client: clientConfig(x509Only.client),
      server: serverConfig({ ...x509Only.server, identity: thief }),
    }).run();
    expect(pair.alert).toMatchObject({ side: 'client', error: { alertName: 'decrypt_error' } });
  });

  test('two certificates are no endpoint', () => {
    if (selfSignedServer.type !== 'x509') throw new Error('x509');
    const [certificate] = selfSignedServer.chain;
    const double: LocalIdentity = { ...selfSignedServer, chain: [certificate!, certificate!] };
    const pair = new TlsPair({
      client: clientConfig(x509Only.client),
      server: serverConfig({ ...x509Only.server, identity: double }),
    }).run();
    expect(pair.alert).toMatchObject({ side: 'client', error: { alertName: 'unsupported_certificate' } });
  });
});

x509.cryptoProvider.set(webcrypto as unknown as Crypto);

const KEYS = {
  p256: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  p384: { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' },
  rsa: {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    publicExponent: Uint8Array.of(1, 0, 1),
    modulusLength: 2048,
  },
  ed25519: { name: 'Ed25519' },
} as const;
type KeyKind = keyof typeof KEYS;

interface Issued {
  readonly keys: CryptoKeyPair;
  readonly certificate: x509.X509Certificate;
}

const DAY = 86_400_000;
let serial = 1;

async function issue(
  kind: KeyKind,
  issuer: Issued | undefined,
  host: string | undefined,
  days = 1,
): Promise<Issued> {
  const keys = (await webcrypto.subtle.generateKey(KEYS[kind], true, ['sign', 'verify'])) as CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: (serial++).toString(16).padStart(4, '0'),
    subject: host === undefined ? 'CN=Test CA' : `CN=${host}`,
    issuer: 'CN=Test CA',
    notBefore: new Date(NOW - 2 * DAY),
    notAfter: new Date(NOW + days * DAY),
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    signingAlgorithm: KEYS[issuer === undefined ? kind : 'p256'],
    extensions:
      host === undefined
        ? [new x509.BasicConstraintsExtension(true, undefined, true)]
        : [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: host }])],
  });
  return { keys, certificate };
}

async function toIdentity(issued: Issued): Promise<LocalIdentity> {
  const der = new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', issued.keys.privateKey));
  return pemIdentity(issued.certificate.toString('pem'), x509.PemConverter.encode(der, 'PRIVATE KEY'));
}

describe('ordinary servers', () => {
  const host = 'relay.example.org';
  let roots: RootStore;
  let ca: Issued;
  const identities = new Map<KeyKind | 'expired' | 'otherHost' | 'forged', LocalIdentity>();

  beforeAll(async () => {
    ca = await issue('p256', undefined, undefined);
    roots = new RootStore([new Uint8Array(ca.certificate.rawData)]);
    for (const kind of Object.keys(KEYS) as KeyKind[])
      identities.set(kind, await toIdentity(await issue(kind, ca, host)));
    identities.set('expired', await toIdentity(await issue('p256', ca, host, -1)));
    identities.set('otherHost', await toIdentity(await issue('p256', ca, 'other.example.org')));
    const stranger = await issue('p256', undefined, undefined);
    identities.set('forged', await toIdentity(await issue('p256', stranger, host)));
  });

  function dial(identity: LocalIdentity, changes: Partial<ClientTlsConfig> = {}): TlsPair {
    return new TlsPair({
      client: clientConfig({ identity: undefined, verifier: webPkiVerifier(roots), sni: host, ...changes }),
      server: serverConfig({ identity, verifier: noPeerVerifier(), clientAuth: 'none' }),
      serverName: host,
    }).run();
  }

  test.each(Object.keys(KEYS) as KeyKind[])('%s', (kind) => {
    const pair = dial(identities.get(kind)!);
    expect(pair.alert).toBeUndefined();
    expect(pair.one('client', 'complete')).toMatchObject({ peer: { type: 'x509' }, resumed: false });
    expect(pair.one('server', 'complete').peer).toBeUndefined();
    // Nobody mentions certificate types where there is only the default.
    const [extensions] = splitMessages(pair.sent('server', 'handshake'));
    expect(extensions).toHaveLength(4 + 2 + 13 + (4 + 6) + 4);
  });

  test.each([
    ['expired', 'certificate_expired'],
    ['otherHost', 'bad_certificate'],
    ['forged', 'bad_certificate'],
  ] as const)('%s: %s', (kind, alertName) => {
    expect(dial(identities.get(kind)!).alert).toMatchObject({ side: 'client', error: { alertName } });
  });

  test('the system’s roots do not know our CA', () => {
    const { alert } = dial(identities.get('p256')!, { verifier: webPkiVerifier() });
    expect(alert).toMatchObject({ side: 'client', error: { alertName: 'unknown_ca' } });
  });

  test('a client that cannot check the server’s kind of key', () => {
    const verifier = { ...webPkiVerifier(roots), schemes: [0x0403] };
    expect(dial(identities.get('rsa')!, { verifier }).alert).toMatchObject({
      side: 'server',
      error: { alertName: 'handshake_failure' },
    });
  });

  test('a session resumes while the certificate is good, not afterwards', () => {
    const tickets = new MemoryTicketStore();
    const server = serverConfig({
      identity: identities.get('p256')!,
      verifier: noPeerVerifier(),
      clientAuth: 'none',
    });
    const client = clientConfig({ identity: undefined, verifier: webPkiVerifier(roots), sni: host, tickets });
    const dialAt = (now: number, seed: string): boolean => {
      const pair = new TlsPair({
        client,
        server,
        serverName: host,
        clientNow: now,
        serverNow: now,
        seed,
      }).run();
      // Expired: the full handshake then fails at the certificate.
      return pair.alert === undefined && pair.one('client', 'complete').resumed;
    };
    expect([dialAt(NOW, 'a'), dialAt(NOW + DAY / 2, 'b'), dialAt(NOW + DAY + 1000, 'c')]).toEqual([
      false,
      true,
      false,
    ]);
  });

  test('one server for endpoints and for ordinary clients', () => {
    const server = serverConfig({
      identity: rawPublicKeyIdentity(serverSeed),
      alternativeIdentity: identities.get('p256')!,
      clientAuth: 'none',
      verifier: rawPublicKeyVerifier(),
    });
    const web = new TlsPair({
      client: clientConfig({ identity: undefined, verifier: webPkiVerifier(roots), sni: host }),
      server,
      serverName: host,
    }).run();
    expect(web.alert).toBeUndefined();
    const endpoint = new TlsPair({ server }).run();
    expect(endpoint.alert).toBeUndefined();
    expect(endpoint.one('client', 'complete').peer?.type).toBe('rawPublicKey');
  });

  test('verifiers take only their own kind', () => {
    const rawPeer = { type: 'rawPublicKey', publicKey: ed25519PublicKey(clientSeed) } as const;
    expect(() => {
      webPkiVerifier(roots).verifyIdentity(rawPeer, host, NOW);
    }).toThrow(expect.objectContaining({ alertName: 'unsupported_certificate' }));
    expect(webPkiVerifier(roots).verifySignature(rawPeer, 0x0403, utf8('m'), utf8('s'))).toBe(false);
    expect(() => {
      noPeerVerifier().verifyIdentity(rawPeer, undefined, NOW);
    }).toThrow(expect.objectContaining({ alertName: 'unsupported_certificate' }));
    expect(noPeerVerifier().verifySignature(rawPeer, 0x0807, utf8('m'), utf8('s'))).toBe(false);
    expect(() => {
      rawPublicKeyVerifier().verifyIdentity({ type: 'x509', chain: [] }, undefined, NOW);
    }).toThrow(expect.objectContaining({ alertName: 'unsupported_certificate' }));
  });
});
