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
import { isStrictPoint } from '../crypto/strict-ed25519.ts';
import type { SecretKey } from '../crypto/keys.ts';
import { TlsAlert } from '../tls/alert.ts';
import { endpointKeyOf, endpointVerifier, selfSignedIdentity } from '../tls/profile.ts';
import type { PeerIdentity } from '../tls/session.ts';
import type { Connection } from './native.ts';

const verifier = endpointVerifier(['x509']);

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

/**
 * Who the peer is. BoringSSL has checked that it has the key of its certificate; here, whose key that is.
 * @param serverName - TLS name of the endpoint that was dialled.
 * @throws {TlsAlert}
 */
export function identifyPeer(
  native: Connection,
  serverName: string | undefined,
  wallNow: Millis,
): PeerIdentity {
  const chain = native.peerCertChain()?.map((certificate) => Uint8Array.from(certificate));
  if (chain === undefined) throw new TlsAlert('certificate_required', 'no certificate');
  const peer: PeerIdentity = { type: 'x509', chain };
  verifier.verifyIdentity(peer, serverName, wallNow);
  // BoringSSL takes signatures of keys for which anybody can make one; iroh does not.
  const key = endpointKeyOf(peer);
  if (key === undefined || !isStrictPoint(key))
    throw new TlsAlert('bad_certificate', 'not a key to sign with');
  return peer;
}

function pem(label: string, bytes: Uint8Array): Uint8Array {
  const url = encodeBase64Url(bytes).replaceAll('-', '+').replaceAll('_', '/');
  const text = url.padEnd(Math.ceil(url.length / 4) * 4, '=');
  let lines = '';
  for (let i = 0; i < text.length; i += PEM_LINE) lines += `${text.slice(i, i + PEM_LINE)}\n`;
  return utf8(`-----BEGIN ${label}-----\n${lines}-----END ${label}-----\n`);
}
