/**
 * X.509 for TLS on `node:crypto`: PEM in, signatures with private keys, WebPKI chains (RFC 5280 §6 as far as the web uses
 * it). The browser twin only makes and reads self-signed Ed25519 certificates.
 *
 * Not done, like most TLS clients that are no browsers: revocation (CRL, OCSP) and certificate transparency.
 *
 * @module
 */
import { X509Certificate, constants, createPrivateKey, sign, verify, type KeyObject } from 'node:crypto';
import { rootCertificates } from 'node:tls';
import { fromUtf8 } from '../base/bytes.ts';
import { toAddr } from '../base/socket-addr.ts';
import { OID, readCertificate, type CertificateFields } from './certificate.ts';
import { exportPublicKey } from './okp-keys.ts';
import { ed25519Verify } from './signature.ts';
import { X509Error } from './x509-error.ts';

export { ed25519KeyOfCertificate } from './certificate.ts';
export { selfSignedEd25519Certificate, type SelfSignedOptions } from './self-signed.ts';
export { X509Error, type X509ErrorCode } from './x509-error.ts';

/** Longest chain that we look at. The web's have two to four certificates; more is somebody's attempt to keep us busy. */
export const MAX_CHAIN_CERTIFICATES = 10;

/** Signature checks per chain, so that certificates of equal names cannot make the search exponential. */
export const MAX_SIGNATURE_CHECKS = 40;

/** Smallest RSA modulus in bits (CA/Browser Forum baseline requirements §6.1.5). */
const MIN_RSA_BITS = 2048;

interface SchemeKind {
  readonly keyType: 'ec' | 'rsa' | 'ed25519';
  readonly curve?: string;
  readonly hash?: string;
}

/** RFC 8446 §4.2.3: ecdsa_secp256r1_sha256, ecdsa_secp384r1_sha384, rsa_pss_rsae_sha256/384/512, ed25519. */
const SCHEMES: ReadonlyMap<number, SchemeKind> = new Map<number, SchemeKind>([
  [0x0403, { keyType: 'ec', curve: 'prime256v1', hash: 'sha256' }],
  [0x0503, { keyType: 'ec', curve: 'secp384r1', hash: 'sha384' }],
  [0x0804, { keyType: 'rsa', hash: 'sha256' }],
  [0x0805, { keyType: 'rsa', hash: 'sha384' }],
  [0x0806, { keyType: 'rsa', hash: 'sha512' }],
  [0x0807, { keyType: 'ed25519' }],
]);

/** The TLS SignatureSchemes that {@link verifyWithCertificate} checks, to offer in this order. */
export const CERTIFICATE_SCHEMES: readonly number[] = [0x0403, 0x0503, 0x0807, 0x0804, 0x0805, 0x0806];

/** Algorithms of signatures between certificates: SHA-2 with ECDSA or RSA PKCS #1, and Ed25519. */
const CHAIN_ALGORITHMS: ReadonlySet<string> = new Set([
  '2a8648ce3d040302', // ecdsa-with-SHA256
  '2a8648ce3d040303',
  '2a8648ce3d040304',
  '2a864886f70d01010b', // sha256WithRSAEncryption
  '2a864886f70d01010c',
  '2a864886f70d01010d',
  OID.ed25519,
]);

/** Signs TLS handshakes with the private key behind a certificate. */
export interface CertificateSigner {
  /** TLS SignatureSchemes (RFC 8446 §4.2.3) that the key can make, best first. */
  readonly schemes: readonly number[];
  /** @throws {RangeError} when `scheme` is none of {@link schemes}. */
  sign(scheme: number, message: Uint8Array): Uint8Array;
}

/**
 * Reads an unencrypted private key: Ed25519, EC P-256 or P-384, RSA.
 * @throws {X509Error} `UnsupportedKey`
 */
export function parsePrivateKeyPem(pem: string): CertificateSigner {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    // The cause is left out: it might quote the key.
    throw new X509Error('X509Error.UnsupportedKey', 'private key: not readable as unencrypted PEM');
  }
  const schemes = [...SCHEMES].filter(([, kind]) => fits(key, kind)).map(([scheme]) => scheme);
  if (schemes.length === 0)
    throw new X509Error('X509Error.UnsupportedKey', `private key: ${describeKey(key)} is not supported`);
  return {
    schemes,
    sign(scheme, message) {
      const kind = SCHEMES.get(scheme);
      if (kind === undefined || !schemes.includes(scheme))
        throw new RangeError(`signature scheme ${scheme} does not fit a key of ${describeKey(key)}`);
      return new Uint8Array(sign(kind.hash, message, signingInput(key, kind)));
    },
  };
}

/** Reads certificates from PEM text, in the order given: DER, leaf first. @throws {X509Error} `BadCertificate` */
export function parseChainPem(pem: string): Uint8Array[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new X509Error('X509Error.BadCertificate', 'pem: no certificate in it');
  return blocks.map((block) => new Uint8Array(parse(block).raw));
}

/**
 * Checks a CertificateVerify signature with the key of a certificate (DER).
 * @param scheme - TLS SignatureScheme; one that does not fit the key is a plain false (RFC 8446 §4.4.3).
 * @throws {X509Error} `BadCertificate`
 */
export function verifyWithCertificate(
  certificate: Uint8Array,
  scheme: number,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const kind = SCHEMES.get(scheme);
  const key = publicKeyOf(parse(certificate));
  if (kind === undefined || !fits(key, kind)) return false;
  if (kind.keyType === 'ed25519') return ed25519Verify(exportPublicKey(key), message, signature);
  try {
    return verify(kind.hash, message, signingInput(key, kind), signature);
  } catch {
    return false;
  }
}

function fits(key: KeyObject, kind: SchemeKind): boolean {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType !== kind.keyType) return false;
  if (kind.keyType === 'ec') return details?.namedCurve === kind.curve;
  return kind.keyType === 'ed25519' || (details?.modulusLength ?? 0) >= MIN_RSA_BITS;
}

function signingInput(key: KeyObject, kind: SchemeKind): Parameters<typeof verify>[2] & { key: KeyObject } {
  if (kind.keyType !== 'rsa') return { key, dsaEncoding: 'der' };
  // RFC 8446 §4.2.3: the salt is as long as the digest, MGF1 uses the same hash.
  return {
    key,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
  };
}

function describeKey(key: KeyObject): string {
  const details = key.asymmetricKeyDetails;
  return [key.asymmetricKeyType, details?.namedCurve ?? details?.modulusLength].filter(Boolean).join(' ');
}

function parse(certificate: Uint8Array | string): X509Certificate {
  try {
    return new X509Certificate(certificate);
  } catch (cause) {
    throw new X509Error('X509Error.BadCertificate', 'certificate: malformed', cause);
  }
}

function publicKeyOf(certificate: X509Certificate): KeyObject {
  try {
    return certificate.publicKey;
  } catch (cause) {
    throw new X509Error('X509Error.BadCertificate', 'certificate: unreadable key', cause);
  }
}

/** A certificate with both views of it. */
interface ParsedCertificate {
  readonly x509: X509Certificate;
  readonly fields: CertificateFields;
}

function parseBoth(certificate: Uint8Array | string): ParsedCertificate {
  const x509 = parse(certificate);
  return { x509, fields: readCertificate(x509.raw) };
}

/** Certificates that are trusted without being signed by another one. */
export class RootStore {
  /** By subject, as Node prints it. */
  readonly #bySubject = new Map<string, ParsedCertificate[]>();

  /** @param certificates - DER or PEM, one certificate each. @throws {X509Error} `BadCertificate` */
  constructor(certificates: Iterable<Uint8Array | string>) {
    for (const certificate of certificates) {
      const parsed = parseBoth(certificate);
      const subject = parsed.x509.subject;
      this.#bySubject.set(subject, [...(this.#bySubject.get(subject) ?? []), parsed]);
    }
  }

  /** @internal */
  candidates(subject: string): readonly ParsedCertificate[] {
    return this.#bySubject.get(subject) ?? [];
  }
}

let system: RootStore | undefined;

/** The roots that Node brings (Mozilla's). Parsed at the first call, some 10 ms. */
export function systemRoots(): RootStore {
  return (system ??= new RootStore(rootCertificates));
}

/** What a chain is checked against. */
export interface ChainOptions {
  readonly roots: RootStore;
  /** DNS name (a dot at the end is dropped) or IP literal that the leaf must be for; undefined: any. */
  readonly serverName: string | undefined;
  /** Wall-clock ms since 1970. */
  readonly wallNow: number;
}

/**
 * Checks the chain of a TLS server: names, dates, purposes, signatures up to a root.
 * @param chain - DER, leaf first; the others in any order.
 * @throws {X509Error} any code but `UnsupportedKey` and `Unavailable`
 */
export function verifyServerChain(chain: readonly Uint8Array[], options: ChainOptions): void {
  if (chain.length === 0 || chain.length > MAX_CHAIN_CERTIFICATES)
    throw new X509Error('X509Error.BadCertificate', `chain: ${chain.length} certificates`);
  const [leaf, ...others] = chain.map(parseBoth);
  const host = options.serverName === undefined ? undefined : parseHost(options.serverName);
  checkUsable(leaf!, options.wallNow);
  // RFC 8446 §4.4.2.2: the key must be allowed to sign.
  if (leaf!.fields.keyUsage !== undefined && (leaf!.fields.keyUsage & 0x80) === 0)
    throw new X509Error('X509Error.WrongPurpose', 'certificate: not for signatures');
  if (host !== undefined && !host.matches(leaf!.x509))
    throw new X509Error('X509Error.WrongHost', `certificate: not for ${host.name}`);
  new PathSearch(options.roots, host, options.wallNow, others).run(leaf!);
}

/** What must hold for the leaf and each intermediate. */
function checkUsable({ fields }: ParsedCertificate, wallNow: number): void {
  if (wallNow < fields.notBefore) throw new X509Error('X509Error.NotYetValid', 'certificate: not valid yet');
  if (wallNow > fields.notAfter) throw new X509Error('X509Error.Expired', 'certificate: expired');
  if (fields.unknownCritical !== undefined)
    throw new X509Error(
      'X509Error.Unsupported',
      `certificate: unknown critical extension ${fields.unknownCritical}`,
    );
  const uses = fields.extendedKeyUsage;
  if (uses !== undefined && !uses.includes(OID.serverAuth) && !uses.includes(OID.anyExtendedKeyUsage))
    throw new X509Error('X509Error.WrongPurpose', 'certificate: not for TLS servers');
}

/** Looks for a path from a leaf to a root, depth first, within a budget of signature checks. */
class PathSearch {
  readonly #roots: RootStore;
  readonly #host: Host | undefined;
  readonly #wallNow: number;
  readonly #others: readonly ParsedCertificate[];
  #budget = MAX_SIGNATURE_CHECKS;
  /** Why the most promising attempt failed: says more than "no path". */
  #failure: X509Error | undefined;

  constructor(
    roots: RootStore,
    host: Host | undefined,
    wallNow: number,
    others: readonly ParsedCertificate[],
  ) {
    this.#roots = roots;
    this.#host = host;
    this.#wallNow = wallNow;
    this.#others = others;
  }

  run(leaf: ParsedCertificate): void {
    // A leaf that was itself made a root, as people do with self-signed ones.
    const pinned = this.#roots
      .candidates(leaf.x509.subject)
      .some((root) => Buffer.compare(root.x509.raw, leaf.x509.raw) === 0);
    if (pinned || this.#climb(leaf, 0, [])) return;
    throw this.#failure ?? new X509Error('X509Error.UnknownIssuer', 'chain: does not lead to a known root');
  }

  /** @param below - Intermediates between `certificate`'s issuer-to-be and the leaf. */
  #climb(certificate: ParsedCertificate, depth: number, below: readonly ParsedCertificate[]): boolean {
    for (const root of this.#roots.candidates(certificate.x509.issuer))
      if (this.#isIssuedBy(certificate, root, depth)) return true;
    if (depth >= MAX_CHAIN_CERTIFICATES) return false;
    for (const other of this.#others) {
      if (below.includes(other) || other.x509.subject !== certificate.x509.issuer) continue;
      if (this.#isIssuedBy(certificate, other, depth) && this.#climb(other, depth + 1, [...below, other]))
        return true;
    }
    return false;
  }

  #isIssuedBy(certificate: ParsedCertificate, issuer: ParsedCertificate, depth: number): boolean {
    // Names, key identifiers and the keyCertSign bit.
    if (!certificate.x509.checkIssued(issuer.x509)) return false;
    try {
      this.#checkSignature(certificate, issuer);
      checkUsable(issuer, this.#wallNow);
      checkMayIssue(issuer, depth);
      this.#host?.checkConstraints(issuer.fields);
      return true;
    } catch (error) {
      if (!(error instanceof X509Error)) throw error;
      this.#failure = error;
      return false;
    }
  }

  #checkSignature(certificate: ParsedCertificate, issuer: ParsedCertificate): void {
    if (!CHAIN_ALGORITHMS.has(certificate.fields.signatureAlgorithm))
      throw new X509Error(
        'X509Error.Unsupported',
        `certificate: signature algorithm ${certificate.fields.signatureAlgorithm}`,
      );
    const key = publicKeyOf(issuer.x509);
    if (key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA_BITS)
      throw new X509Error('X509Error.Unsupported', `issuer: ${describeKey(key)}`);
    if (this.#budget-- <= 0)
      throw new X509Error('X509Error.BadCertificate', 'chain: too many possible paths');
    if (!certificate.x509.verify(key))
      throw new X509Error('X509Error.BadSignature', 'certificate: not signed by its issuer');
  }
}

/** RFC 5280 §6.1.4 (k), (m). @param depth - CA certificates between the issuer and the leaf. */
function checkMayIssue({ fields }: ParsedCertificate, depth: number): void {
  if (!fields.isCa) throw new X509Error('X509Error.WrongPurpose', 'issuer: no certificate authority');
  if (fields.pathLength !== undefined && depth > fields.pathLength)
    throw new X509Error('X509Error.WrongPurpose', 'issuer: path length exceeded');
}

/** The name that a server must prove. */
interface Host {
  readonly name: string;
  matches(certificate: X509Certificate): boolean;
  /** RFC 5280 §4.2.1.10, for the one name that we rely on. @throws {X509Error} `WrongHost` */
  checkConstraints(ca: CertificateFields): void;
}

function parseHost(serverName: string): Host {
  let ip: Uint8Array | undefined;
  try {
    ip = toAddr(serverName, 0).bytes;
  } catch {
    // A DNS name. The dot at the end of a full name is no part of it in certificates (RFC 6066 §3).
  }
  const name = ip === undefined ? serverName.replace(/\.$/, '').toLowerCase() : toAddr(serverName, 0).ip;
  const type = ip === undefined ? 'dns' : 'ip';
  return {
    name,
    matches: (certificate) =>
      ip === undefined
        ? // RFC 9525 §6.3: no common names, `*` as a whole label only.
          certificate.checkHost(name, { subject: 'never', partialWildcards: false }) !== undefined
        : certificate.checkIP(name) !== undefined,
    checkConstraints(ca) {
      const relevant = ca.nameConstraints.filter((constraint) => constraint.type === type);
      const within = (value: Uint8Array): boolean =>
        ip === undefined ? isWithinDomain(name, fromUtf8(value).toLowerCase()) : isWithinNetwork(ip, value);
      const permitted = relevant.filter((constraint) => constraint.kind === 'permitted');
      const excluded = relevant.some(
        (constraint) => constraint.kind === 'excluded' && within(constraint.value),
      );
      if (excluded || (permitted.length > 0 && !permitted.some((constraint) => within(constraint.value))))
        throw new X509Error('X509Error.WrongHost', `issuer: must not vouch for ${name}`);
    },
  };
}

/** `example.com` covers itself and what is below, `.example.com` only what is below, the empty name all. */
function isWithinDomain(name: string, domain: string): boolean {
  if (domain === '' || name === domain) return true;
  return name.endsWith(domain.startsWith('.') ? domain : `.${domain}`);
}

/** @param network - Address and mask, each as long as `ip`. */
function isWithinNetwork(ip: Uint8Array, network: Uint8Array): boolean {
  return (
    network.length === 2 * ip.length &&
    ip.every((byte, i) => ((byte ^ network[i]!) & network[ip.length + i]!) === 0)
  );
}
