/**
 * The fields of an X.509 certificate (RFC 5280 §4.1) that decide whether it is accepted, read from DER. Names, keys and
 * signatures are left to the platform.
 *
 * @module
 */
import { DecodeError, Reader, toHex } from '../base/bytes.ts';
import { DER, expectDer, optionalDer, readBitString, readDer, readOid, readTime } from './der.ts';
import { X509Error } from './x509-error.ts';

/** Object identifiers as hex of their DER content. */
export const OID = {
  ed25519: '2b6570',
  keyUsage: '551d0f',
  subjectAltName: '551d11',
  basicConstraints: '551d13',
  nameConstraints: '551d1e',
  certificatePolicies: '551d20',
  policyConstraints: '551d24',
  extendedKeyUsage: '551d25',
  inhibitAnyPolicy: '551d36',
  anyExtendedKeyUsage: '551d2500',
  serverAuth: '2b06010505070301',
  clientAuth: '2b06010505070302',
} as const;

/** A name constraint that matters for server identity (RFC 5280 §4.2.1.10). */
export interface NameConstraint {
  readonly kind: 'permitted' | 'excluded';
  readonly type: 'dns' | 'ip';
  /** A domain in ASCII, or address and mask (8 or 32 bytes). */
  readonly value: Uint8Array;
}

/** What a certificate says about itself. */
export interface CertificateFields {
  /** {@link OID} hex of the algorithm of the issuer's signature. */
  readonly signatureAlgorithm: string;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  /** Milliseconds since 1970, inclusive. */
  readonly notAfter: number;
  /** {@link OID} hex of the subject's key. */
  readonly keyAlgorithm: string;
  /** Raw content of the subjectPublicKey bit string. */
  readonly publicKey: Uint8Array;
  readonly isCa: boolean;
  /** Most CA certificates allowed between this one and the leaf; undefined: no limit. */
  readonly pathLength: number | undefined;
  /** First byte of the KeyUsage bits (0x80 digitalSignature, 0x04 keyCertSign); undefined: any use. */
  readonly keyUsage: number | undefined;
  /** {@link OID} hexes; undefined: any use. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly nameConstraints: readonly NameConstraint[];
  /** {@link OID} hex of a critical extension that we do not know; forces refusal (RFC 5280 §4.2). */
  readonly unknownCritical: string | undefined;
}

// Policies are accepted whatever they are, as every policy is fine with us.
const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.keyUsage,
  OID.subjectAltName,
  OID.basicConstraints,
  OID.nameConstraints,
  OID.certificatePolicies,
  OID.policyConstraints,
  OID.extendedKeyUsage,
  OID.inhibitAnyPolicy,
]);

/** Reads a certificate. @throws {X509Error} `BadCertificate` */
export function readCertificate(certificate: Uint8Array): CertificateFields {
  try {
    return read(certificate);
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new X509Error('X509Error.BadCertificate', `certificate: ${cause.message}`, cause);
  }
}

/** The Ed25519 key (32 bytes) that a certificate is about; undefined when it is about another kind of key. @throws {X509Error} `BadCertificate` */
export function ed25519KeyOfCertificate(certificate: Uint8Array): Uint8Array | undefined {
  const { keyAlgorithm, publicKey } = readCertificate(certificate);
  return keyAlgorithm === OID.ed25519 && publicKey.length === 32 ? publicKey.slice() : undefined;
}

function read(certificate: Uint8Array): CertificateFields {
  const outer = expectDer(new Reader(certificate), DER.sequence);
  const tbs = expectDer(outer, DER.sequence);
  const signatureAlgorithm = readOid(expectDer(outer, DER.sequence));

  optionalDer(tbs, 0xa0); // version
  expectDer(tbs, DER.integer); // serial number
  expectDer(tbs, DER.sequence); // signature algorithm, again
  expectDer(tbs, DER.sequence); // issuer
  const validity = expectDer(tbs, DER.sequence);
  const notBefore = readTime(validity);
  const notAfter = readTime(validity);
  expectDer(tbs, DER.sequence); // subject
  const spki = expectDer(tbs, DER.sequence);
  const keyAlgorithm = readOid(expectDer(spki, DER.sequence));
  const publicKey = readBitString(spki);
  optionalDer(tbs, 0x81); // issuer unique id
  optionalDer(tbs, 0x82); // subject unique id
  const extensions = optionalDer(tbs, 0xa3);
  return {
    signatureAlgorithm,
    notBefore,
    notAfter,
    keyAlgorithm,
    publicKey,
    ...readExtensions(extensions && expectDer(extensions, DER.sequence)),
  };
}

type ExtensionFields = Pick<
  CertificateFields,
  'isCa' | 'pathLength' | 'keyUsage' | 'extendedKeyUsage' | 'nameConstraints' | 'unknownCritical'
>;

function readExtensions(list: Reader | undefined): ExtensionFields {
  let isCa = false;
  let pathLength: number | undefined;
  let keyUsage: number | undefined;
  let extendedKeyUsage: string[] | undefined;
  let nameConstraints: NameConstraint[] = [];
  let unknownCritical: string | undefined;
  const seen = new Set<string>();
  while (list !== undefined && list.remaining > 0) {
    const extension = expectDer(list, DER.sequence);
    const id = readOid(extension);
    // RFC 5280 §4.2: at most once; otherwise two readers may see two certificates.
    if (seen.has(id)) throw new DecodeError(`extension ${id} twice`);
    seen.add(id);
    const criticalFlag = optionalDer(extension, DER.boolean);
    const critical = criticalFlag !== undefined && criticalFlag.u8() !== 0;
    const value = expectDer(extension, DER.octetString);
    switch (id) {
      case OID.basicConstraints: {
        const body = expectDer(value, DER.sequence);
        const flag = optionalDer(body, DER.boolean);
        isCa = flag !== undefined && flag.u8() !== 0;
        pathLength = smallInteger(optionalDer(body, DER.integer));
        break;
      }
      case OID.keyUsage: {
        const bits = expectDer(value, DER.bitString);
        bits.u8(); // unused bits at the end
        keyUsage = bits.remaining > 0 ? bits.u8() : 0;
        break;
      }
      case OID.extendedKeyUsage: {
        const uses = expectDer(value, DER.sequence);
        extendedKeyUsage = [];
        while (uses.remaining > 0) extendedKeyUsage.push(readOid(uses));
        break;
      }
      case OID.nameConstraints:
        nameConstraints = readNameConstraints(expectDer(value, DER.sequence));
        break;
      default:
        if (critical && !UNDERSTOOD.has(id)) unknownCritical = id;
    }
  }
  return { isCa, pathLength, keyUsage, extendedKeyUsage, nameConstraints, unknownCritical };
}

/** Only DNS and IP constraints are kept: we identify servers by nothing else, so that no other kind can be evaded. */
function readNameConstraints(body: Reader): NameConstraint[] {
  const constraints: NameConstraint[] = [];
  while (body.remaining > 0) {
    const { tag, body: subtrees } = readDer(body);
    if (tag !== 0xa0 && tag !== 0xa1) throw new DecodeError('name constraints: foreign tag');
    const kind = tag === 0xa0 ? 'permitted' : 'excluded';
    while (subtrees.remaining > 0) {
      const base = readDer(expectDer(subtrees, DER.sequence));
      if (base.tag === 0x82) constraints.push({ kind, type: 'dns', value: base.body.rest() });
      if (base.tag === 0x87) constraints.push({ kind, type: 'ip', value: base.body.rest() });
    }
  }
  return constraints;
}

function smallInteger(body: Reader | undefined): number | undefined {
  if (body === undefined) return undefined;
  const bytes = body.rest();
  if (bytes.length === 0 || bytes.length > 2 || bytes[0]! >= 0x80)
    throw new DecodeError('path length out of range');
  return Number.parseInt(toHex(bytes), 16);
}
