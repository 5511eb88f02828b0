/**
 * Who an endpoint is towards quiche: the key in a self-signed Ed25519 certificate, in PEM as BoringSSL wants it.
 *
 * @module
 */
import { fromHex, utf8 } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import { encodeBase64Url } from '../base/encoding.ts';
import type { Rng } from '../base/rng.ts';
import { OID } from '../crypto/certificate.ts';
import { DER, der } from '../crypto/der.ts';
import type { SecretKey } from '../crypto/keys.ts';
import { selfSignedIdentity } from '../tls/profile.ts';

/** RFC 7468 §2: base64 characters per line. */
const PEM_LINE = 64;

/** Two PEM texts, in bytes. */
export interface PemIdentity {
  readonly certificate: Uint8Array;
  readonly key: Uint8Array;
}

/** The certificate is the same that our own engine shows where it cannot show the bare key. @param wallNow - ms since 1970, within years. */
export function endpointIdentity(secretKey: SecretKey, rng: Rng, wallNow: Millis): PemIdentity {
  const seed = secretKey.toBytes();
  const identity = selfSignedIdentity(seed, { rng, wallNow });
  if (identity.type !== 'x509') throw new TypeError('not a certificate');
  // RFC 8410 §7: version 0, the algorithm, and the seed in an OCTET STRING of its own.
  const key = der(
    DER.sequence,
    der(DER.integer, Uint8Array.of(0)),
    der(DER.sequence, der(DER.oid, fromHex(OID.ed25519))),
    der(DER.octetString, der(DER.octetString, seed)),
  );
  return { certificate: pem('CERTIFICATE', identity.chain[0]!), key: pem('PRIVATE KEY', key) };
}

function pem(label: string, bytes: Uint8Array): Uint8Array {
  const url = encodeBase64Url(bytes).replaceAll('-', '+').replaceAll('_', '/');
  const text = url.padEnd(Math.ceil(url.length / 4) * 4, '=');
  let lines = '';
  for (let i = 0; i < text.length; i += PEM_LINE) lines += `${text.slice(i, i + PEM_LINE)}\n`;
  return utf8(`-----BEGIN ${label}-----\n${lines}-----END ${label}-----\n`);
}
