/**
 * Ready-made identities and verifiers for a `TlsProfile`: endpoints that prove an Ed25519 key, raw (RFC 7250) or in a
 * self-signed certificate, and ordinary WebPKI servers.
 *
 * @module
 */
import { ed25519PublicKey, ed25519Sign, ed25519Verify } from '#crypto/signature';
import {
  CERTIFICATE_SCHEMES,
  X509Error,
  ed25519KeyOfCertificate,
  parseChainPem,
  parsePrivateKeyPem,
  selfSignedEd25519Certificate,
  systemRoots,
  verifyServerChain,
  verifyWithCertificate,
  type RootStore,
  type X509ErrorCode,
} from '#crypto/x509';
import { equalBytes } from '../base/bytes.ts';
import type { Millis } from '../base/clock.ts';
import type { Rng } from '../base/rng.ts';
import type { SecretKey } from '../crypto/keys.ts';
import { TlsAlert, type AlertName } from './alert.ts';
import { SIGNATURE_SCHEME } from './certificates.ts';
import { endpointIdFromTlsName } from './endpoint-name.ts';
import type { LocalIdentity, PeerIdentity, PeerVerifier, Signer } from './session.ts';

/** Validity of a self-signed certificate around the moment it is made. Nobody should look at it: the key is what counts. */
const SELF_SIGNED_VALIDITY_MS = 10 * 365 * 86_400_000;

/** An Ed25519 signer for TLS. @param key - A seed of 32 bytes, copied, or a secret key. */
function ed25519Signer(key: Uint8Array | SecretKey): { publicKey: Uint8Array; signer: Signer } {
  const schemes = [SIGNATURE_SCHEME.ed25519];
  if (!(key instanceof Uint8Array)) {
    const sign = (_scheme: number, message: Uint8Array): Uint8Array => key.sign(message).toBytes();
    return { publicKey: key.publicKey.toBytes(), signer: { schemes, sign } };
  }
  // One array for ever: the signature module remembers its imported form by identity.
  const seed = key.slice();
  const sign = (_scheme: number, message: Uint8Array): Uint8Array => ed25519Sign(seed, message);
  return { publicKey: ed25519PublicKey(seed), signer: { schemes, sign } };
}

/** How endpoints present themselves to iroh: the bare key. @param key - A seed of 32 bytes, copied, or a secret key. */
export function rawPublicKeyIdentity(key: Uint8Array | SecretKey): LocalIdentity {
  const { publicKey, signer } = ed25519Signer(key);
  return { type: 'rawPublicKey', publicKey, signer };
}

/**
 * How endpoints present themselves to TLS stacks without raw keys: the key in a self-signed certificate.
 * @param seed - 32 bytes, copied.
 * @param options - `wallNow`: ms since 1970, around which the certificate is valid.
 */
export function selfSignedIdentity(
  seed: Uint8Array,
  options: { readonly rng: Rng; readonly wallNow: Millis },
): LocalIdentity {
  const certificate = selfSignedEd25519Certificate(seed, {
    rng: options.rng,
    notBefore: options.wallNow - SELF_SIGNED_VALIDITY_MS,
    notAfter: options.wallNow + SELF_SIGNED_VALIDITY_MS,
    name: 'iroh.invalid',
  });
  return { type: 'x509', chain: [certificate], signer: ed25519Signer(seed).signer };
}

/**
 * An ordinary server certificate. Node only.
 * @param chainPem - Leaf first.
 * @param keyPem - Its private key, not encrypted: Ed25519, EC P-256 or P-384, RSA.
 * @throws {X509Error} `BadCertificate`, `UnsupportedKey`
 */
export function pemIdentity(chainPem: string, keyPem: string): LocalIdentity {
  return { type: 'x509', chain: parseChainPem(chainPem), signer: parsePrivateKeyPem(keyPem) };
}

/**
 * The Ed25519 key (32 bytes) that an endpoint proved, raw or in a self-signed certificate; undefined if `peer` is something
 * else. @throws {TlsAlert} bad_certificate when the certificate is malformed.
 */
export function endpointKeyOf(peer: PeerIdentity): Uint8Array | undefined {
  if (peer.type === 'rawPublicKey') return peer.publicKey;
  if (peer.chain.length !== 1) return undefined;
  return orAlert(() => ed25519KeyOfCertificate(peer.chain[0]!));
}

/**
 * Checks endpoints: an Ed25519 key and a proof of it. Clients demand the key that the server name spells; servers take any
 * key and leave it to the application whom they talk to.
 * @param types - Forms in which keys are taken, best first.
 */
export function endpointVerifier(types: PeerVerifier['certificateTypes'] = ['rawPublicKey']): PeerVerifier {
  return {
    certificateTypes: types,
    schemes: [SIGNATURE_SCHEME.ed25519],
    verifyIdentity(peer, serverName) {
      const key = types.includes(peer.type) ? endpointKeyOf(peer) : undefined;
      if (key === undefined) throw new TlsAlert('unsupported_certificate', 'not an endpoint key');
      if (serverName === undefined) return;
      const expected = endpointIdFromTlsName(serverName);
      // The alerts are iroh's (iroh/src/tls/verifier.rs).
      if (expected === undefined)
        throw new TlsAlert('bad_certificate', `not the TLS name of an endpoint: ${serverName}`);
      if (!equalBytes(expected, key)) throw new TlsAlert('unknown_ca', 'peer has another key than dialled');
    },
    verifySignature(peer, scheme, message, signature) {
      const key = endpointKeyOf(peer);
      return (
        key !== undefined && scheme === SIGNATURE_SCHEME.ed25519 && ed25519Verify(key, message, signature)
      );
    },
  };
}

/** Checks iroh endpoints: {@link endpointVerifier} for raw keys. */
export function rawPublicKeyVerifier(): PeerVerifier {
  return endpointVerifier(['rawPublicKey']);
}

/**
 * Checks ordinary servers: chain to a root, dates, and that the certificate is for the server name, a host name or IP
 * literal. Clients on Node only.
 * @param roots - Default: the roots that Node brings, parsed at the first use.
 */
export function webPkiVerifier(roots?: RootStore): PeerVerifier {
  return {
    certificateTypes: ['x509'],
    schemes: CERTIFICATE_SCHEMES,
    verifyIdentity(peer, serverName, wallNow) {
      if (peer.type !== 'x509') throw new TlsAlert('unsupported_certificate', 'not an X.509 certificate');
      orAlert(() => {
        verifyServerChain(peer.chain, { roots: roots ?? systemRoots(), serverName, wallNow });
      });
    },
    verifySignature(peer, scheme, message, signature) {
      return (
        peer.type === 'x509' &&
        orAlert(() => verifyWithCertificate(peer.chain[0]!, scheme, message, signature))
      );
    },
  };
}

/** For servers with `clientAuth: 'none'` whose clients are no endpoints: takes nobody. */
export function noPeerVerifier(): PeerVerifier {
  return {
    certificateTypes: [],
    schemes: [],
    verifyIdentity() {
      throw new TlsAlert('unsupported_certificate', 'no certificate is taken');
    },
    verifySignature: () => false,
  };
}

/** As rustls maps its certificate errors (rustls/src/error.rs). */
const X509_ALERTS: Readonly<Record<X509ErrorCode, AlertName>> = {
  'X509Error.BadCertificate': 'bad_certificate',
  'X509Error.UnsupportedKey': 'unsupported_certificate',
  'X509Error.Unsupported': 'unsupported_certificate',
  'X509Error.Expired': 'certificate_expired',
  'X509Error.NotYetValid': 'certificate_expired',
  'X509Error.WrongHost': 'bad_certificate',
  'X509Error.WrongPurpose': 'unsupported_certificate',
  'X509Error.UnknownIssuer': 'unknown_ca',
  'X509Error.BadSignature': 'bad_certificate',
  'X509Error.Unavailable': 'internal_error',
};

function orAlert<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    throw new TlsAlert(X509_ALERTS[error.code], error.message, { cause: error });
  }
}
