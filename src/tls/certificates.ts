/**
 * What Certificate and CertificateVerify carry: raw public keys or X.509 chains, and what is signed
 * (RFC 7250, RFC 8446 §4.4.2, §4.4.3).
 *
 * @module
 */
import { concatBytes, equalBytes, fromHex, utf8 } from '../base/bytes.ts';
import { TlsAlert } from './alert.ts';
import { CERTIFICATE_TYPE } from './extensions.ts';
import type { LocalIdentity, PeerIdentity } from './session.ts';

/** SignatureScheme numbers (RFC 8446 §4.2.3). */
export const SIGNATURE_SCHEME = {
  ecdsa_secp256r1_sha256: 0x0403,
  ecdsa_secp384r1_sha384: 0x0503,
  rsa_pss_rsae_sha256: 0x0804,
  rsa_pss_rsae_sha384: 0x0805,
  rsa_pss_rsae_sha512: 0x0806,
  ed25519: 0x0807,
} as const;

/** SubjectPublicKeyInfo of an Ed25519 key up to its 32 bytes (RFC 8410 §4). */
const ED25519_SPKI_PREFIX = fromHex('302a300506032b6570032100');
const ED25519_SPKI_BYTES = 44;

/** The SubjectPublicKeyInfo of an Ed25519 key of 32 bytes; 44 bytes. */
export function encodeEd25519Spki(publicKey: Uint8Array): Uint8Array {
  return concatBytes(ED25519_SPKI_PREFIX, publicKey);
}

/** The 32 key bytes, copied; undefined if `spki` is anything else. Whether they are a point shows at the signature. */
export function decodeEd25519Spki(spki: Uint8Array): Uint8Array | undefined {
  if (spki.length !== ED25519_SPKI_BYTES) return undefined;
  const prefix = spki.subarray(0, ED25519_SPKI_PREFIX.length);
  return equalBytes(prefix, ED25519_SPKI_PREFIX) ? spki.slice(ED25519_SPKI_PREFIX.length) : undefined;
}

/** The entries of our Certificate message. */
export function certificateEntries(identity: LocalIdentity): readonly Uint8Array[] {
  return identity.type === 'x509' ? identity.chain : [encodeEd25519Spki(identity.publicKey)];
}

/**
 * Reads the entries of the peer's Certificate message, at least one, as the negotiated type.
 * @throws {TlsAlert} unknown_ca on more than one raw key, bad_certificate on one that is not Ed25519.
 */
export function toPeerIdentity(type: PeerIdentity['type'], entries: readonly Uint8Array[]): PeerIdentity {
  if (type === 'x509') return { type, chain: entries.map((entry) => entry.slice()) };
  // As iroh answers to intermediates (iroh/src/tls/verifier.rs); RFC 8446 §4.4.2 allows one raw key only.
  if (entries.length > 1) throw new TlsAlert('unknown_ca', 'more than one raw public key');
  const publicKey = decodeEd25519Spki(entries[0]!);
  if (publicKey === undefined) throw new TlsAlert('bad_certificate', 'not an Ed25519 raw public key');
  return { type, publicKey };
}

/** Our scheme of choice among those that the peer takes; undefined when there is none. */
export function chooseScheme(identity: LocalIdentity, accepted: readonly number[]): number | undefined {
  return identity.signer.schemes.find((scheme) => accepted.includes(scheme));
}

/** Number of a certificate type on the wire. */
export function certificateTypeNumber(type: PeerIdentity['type']): number {
  return CERTIFICATE_TYPE[type];
}

/** 64 spaces, context string, 0 (RFC 8446 §4.4.3); the transcript hash follows. */
const SIGNED_PREFIX = {
  client: utf8(`${' '.repeat(64)}TLS 1.3, client CertificateVerify\0`),
  server: utf8(`${' '.repeat(64)}TLS 1.3, server CertificateVerify\0`),
} as const;

/** What `side` signs in its CertificateVerify. @param transcript - Hash up to and including its Certificate. */
export function signedContent(side: 'client' | 'server', transcript: Uint8Array): Uint8Array {
  return concatBytes(SIGNED_PREFIX[side], transcript);
}
