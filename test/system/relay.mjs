// Our relay server in a namespace: HTTP for relayed traffic, QUIC for address discovery.
//   in:  { cmd: 'listen', name, port, quicPort, seed? } → { root: DER of the certificate, Base64; seed: hex }
// The same seed gives the same key, so that a restarted relay is the one that clients trust.
import { createPrivateKey, randomBytes } from 'node:crypto';
import { selfSignedEd25519Certificate } from '../../dist/crypto/self-signed.js';
import { RelayServer } from '../../dist/relay-server.js';
import { serve } from './json-lines.mjs';

/** PKCS #8 around an Ed25519 seed (RFC 8410 §7). */
const PKCS8_PREFIX = '302e020100300506032b657004220420';
const DAY_MS = 86_400_000;

function pem(label, der) {
  const lines = Buffer.from(der)
    .toString('base64')
    .match(/.{1,64}/g);
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

let server;

serve({
  async listen({
    name,
    port,
    quicPort,
    seed = randomBytes(32).toString('hex'),
    notBefore = Date.now() - DAY_MS,
  }) {
    const der = selfSignedEd25519Certificate(Buffer.from(seed, 'hex'), {
      rng: { fill: (bytes) => bytes.fill(1) },
      notBefore,
      notAfter: notBefore + 10 * DAY_MS,
      name,
    });
    const key = createPrivateKey({
      key: Buffer.from(PKCS8_PREFIX + seed, 'hex'),
      format: 'der',
      type: 'pkcs8',
    }).export({ type: 'pkcs8', format: 'pem' });
    const certificate = { cert: pem('CERTIFICATE', der), key };
    server = await RelayServer.listen({
      bind: `[::]:${port}`,
      hostname: name,
      addressDiscovery: { bind: `[::]:${quicPort}`, certificate },
    });
    return { root: Buffer.from(der).toString('base64'), seed, notBefore };
  },
  async close() {
    await server.close();
  },
});
