/**
 * X.509 in browsers: self-signed Ed25519 certificates only. WebPKI chains are the browser's business, and nothing that
 * runs in one meets them here, as address discovery at relays needs UDP. The Node twin is `x509.ts`.
 *
 * @module
 */
import type { CertificateSigner, ChainOptions } from './x509.ts';
import { X509Error } from './x509-error.ts';

export { ed25519KeyOfCertificate } from './certificate.ts';
export { selfSignedEd25519Certificate, type SelfSignedOptions } from './self-signed.ts';
export { X509Error, type X509ErrorCode } from './x509-error.ts';
export type { CertificateSigner, ChainOptions } from './x509.ts';

/** No certificate is examined in browsers. */
export const MAX_CHAIN_CERTIFICATES = 0;

/** No signature is checked in browsers. */
export const MAX_SIGNATURE_CHECKS = 0;

/** None in browsers. */
export const CERTIFICATE_SCHEMES: readonly number[] = [];

function unavailable(): X509Error {
  return new X509Error('X509Error.Unavailable', 'certificates are not checked in browser builds');
}

/** Not in browsers. @throws {X509Error} `Unavailable`, always */
export class RootStore {
  constructor(_certificates: Iterable<Uint8Array | string>) {
    throw unavailable();
  }
}

/** Not in browsers. @throws {X509Error} `Unavailable`, always */
export function systemRoots(): RootStore {
  throw unavailable();
}

/** Not in browsers. @throws {X509Error} `Unavailable`, always */
export function parsePrivateKeyPem(_pem: string): CertificateSigner {
  throw unavailable();
}

/** Not in browsers. @throws {X509Error} `Unavailable`, always */
export function parseChainPem(_pem: string): Uint8Array[] {
  throw unavailable();
}

/** Not in browsers. @throws {X509Error} `Unavailable`, always */
export function verifyWithCertificate(
  _certificate: Uint8Array,
  _scheme: number,
  _message: Uint8Array,
  _signature: Uint8Array,
): boolean {
  throw unavailable();
}

/** Not in browsers. @throws {X509Error} `Unavailable`, always */
export function verifyServerChain(_chain: readonly Uint8Array[], _options: ChainOptions): void {
  throw unavailable();
}
