/**
 * The three cipher suites of TLS 1.3 that QUIC can use (RFC 8446 §B.4, RFC 9001 §5.3), as TLS sees them: number and hash.
 * Their AEADs belong to QUIC packet protection.
 *
 * @module
 */
import { fastestAead } from '#crypto/aead';
import type { HashName } from '#crypto/kdf';
import type { CipherSuiteName } from './session.ts';

/** One row of the table. */
export interface CipherSuite {
  readonly name: CipherSuiteName;
  /** Number on the wire. */
  readonly id: number;
  /** Of the transcript and the key schedule. */
  readonly hash: HashName;
}

export const CIPHER_SUITES: Readonly<Record<CipherSuiteName, CipherSuite>> = {
  TLS_AES_128_GCM_SHA256: { name: 'TLS_AES_128_GCM_SHA256', id: 0x1301, hash: 'sha256' },
  TLS_AES_256_GCM_SHA384: { name: 'TLS_AES_256_GCM_SHA384', id: 0x1302, hash: 'sha384' },
  TLS_CHACHA20_POLY1305_SHA256: { name: 'TLS_CHACHA20_POLY1305_SHA256', id: 0x1303, hash: 'sha256' },
};

const CHACHA_FIRST: readonly CipherSuiteName[] = [
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
];
const AES_FIRST: readonly CipherSuiteName[] = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
];

/**
 * All suites, what is fastest here first. As client we offer them in this order, which rustls follows; as server we take the
 * first when the client offers it. A native peer hardly feels the difference, here it is a factor of three.
 */
export function defaultSuites(): readonly CipherSuiteName[] {
  return fastestAead() === 'chacha20-poly1305' ? CHACHA_FIRST : AES_FIRST;
}

/** Finds the suite with number `id` among `names`. */
export function suiteById(names: readonly CipherSuiteName[], id: number): CipherSuite | undefined {
  for (const name of names) {
    const suite = CIPHER_SUITES[name];
    if (suite.id === id) return suite;
  }
  return undefined;
}
