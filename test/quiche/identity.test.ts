import { createPrivateKey, X509Certificate } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { SecretKey } from '../../src/crypto/keys.ts';
import { endpointIdentity, identifyPeer } from '../../src/quiche/identity.ts';
import {
  MAX_SESSION_BYTES,
  MAX_SESSION_NAMES,
  MAX_SESSIONS_PER_NAME,
  Sessions,
} from '../../src/quiche/sessions.ts';
import { quicheEngine } from '../../src/quiche/provider.ts';
import { endpointTlsName } from '../../src/tls/endpoint-name.ts';
import { SimRng } from '../support/sim-rng.ts';

const WALL_NOW = 1_790_000_000_000;
const secretKey = SecretKey.generate(new SimRng(1));
const id = secretKey.publicKey.toBytes();
const made = endpointIdentity(secretKey, new SimRng(2), WALL_NOW);

/** A connection whose peer has shown these certificates. */
function showing(...chain: Uint8Array[]): Parameters<typeof identifyPeer>[0] {
  return { peerCertChain: () => (chain.length === 0 ? null : chain) } as never;
}

describe('who an endpoint is towards quiche', () => {
  const certificate = new X509Certificate(made.certificate);

  test('certificate and key are PEM that OpenSSL reads, and belong together', () => {
    expect(certificate.checkPrivateKey(createPrivateKey(Buffer.from(made.key)))).toBe(true);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
  });

  test('the peer is who its key is', () => {
    const peer = identifyPeer(showing(certificate.raw), endpointTlsName(id), WALL_NOW);
    expect(peer).toEqual({ type: 'x509', chain: [Uint8Array.from(certificate.raw)] });
  });

  test('another key, no certificate, and a key that anybody can sign for are refused', () => {
    const other = endpointTlsName(SecretKey.generate(new SimRng(3)).publicKey.toBytes());
    expect(() => identifyPeer(showing(certificate.raw), other, WALL_NOW)).toThrow(
      expect.objectContaining({ alertName: 'unknown_ca' }),
    );
    expect(() => identifyPeer(showing(), undefined, WALL_NOW)).toThrow(
      expect.objectContaining({ alertName: 'certificate_required' }),
    );
    // The neutral element: a point of order 1.
    const smallOrder = new Uint8Array(32);
    smallOrder[0] = 1;
    const forged = Uint8Array.from(certificate.raw);
    forged.set(smallOrder, Buffer.from(forged).indexOf(Buffer.from(id)));
    expect(() => identifyPeer(showing(forged), undefined, WALL_NOW)).toThrow(
      expect.objectContaining({ alertName: 'bad_certificate' }),
    );
  });
});

test('sessions are used once, newest first, and bounded', () => {
  const sessions = new Sessions();
  const of = (n: number): Uint8Array => Uint8Array.of(n);
  for (let n = 0; n <= MAX_SESSIONS_PER_NAME; n++) sessions.put('a', of(n));
  for (let n = MAX_SESSIONS_PER_NAME; n > 0; n--) expect(sessions.take('a')).toEqual(of(n));
  expect(sessions.take('a')).toBeUndefined();
  sessions.put('a', new Uint8Array(MAX_SESSION_BYTES + 1));
  expect(sessions.size).toBe(0);
  for (let n = 0; n <= MAX_SESSION_NAMES; n++) sessions.put(`name ${n}`, of(n));
  expect(sessions.size).toBe(MAX_SESSION_NAMES);
  expect(sessions.take('name 0')).toBeUndefined();
});

test('the engine loads, and says what it can do', async () => {
  const make = await quicheEngine().load();
  const engine = make({ rng: new SimRng(1), wallOffsetMs: WALL_NOW, secretKey });
  expect(engine.capabilities).toEqual({
    multipath: false,
    natTraversal: false,
    addressDiscovery: false,
    rawPublicKeys: false,
    migration: true,
    exporter: false,
    virtualTime: false,
  });
});
