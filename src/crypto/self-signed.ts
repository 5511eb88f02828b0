/**
 * Self-signed Ed25519 certificates (RFC 5280, RFC 8410): the identity of an endpoint towards TLS stacks that know no raw
 * public keys. The certificate says nothing but the key.
 *
 * @module
 */
import { ed25519PublicKey, ed25519Sign } from '#crypto/signature';
import { fromHex, utf8 } from '../base/bytes.ts';
import { randomBytes, type Rng } from '../base/rng.ts';
import { OID } from './certificate.ts';
import { DER, der } from './der.ts';

/** What the certificate says beside the key. */
export interface SelfSignedOptions {
  /** Randomness of the serial number. */
  readonly rng: Rng;
  /** First moment of validity, ms since 1970. */
  readonly notBefore: number;
  /** Last moment of validity, ms since 1970; up to the year 9999. */
  readonly notAfter: number;
  /** Common name of subject and issuer, and the only DNS name; ASCII, at most 64 characters (RFC 5280 §A.1). */
  readonly name: string;
}

const NULL_BITS = Uint8Array.of(0); // no unused bits at the end of a BIT STRING
const ALGORITHM = der(DER.sequence, der(DER.oid, fromHex(OID.ed25519))); // RFC 8410 §3: no parameters
const COMMON_NAME = fromHex('550403');
const YES = der(DER.boolean, Uint8Array.of(0xff));

/**
 * Makes a version 3 certificate for client and server authentication.
 * @param seed - 32 bytes.
 * @returns DER, about 300 bytes.
 * @throws {RangeError} when the name is too long or not ASCII, or the seed has another length.
 */
export function selfSignedEd25519Certificate(seed: Uint8Array, options: SelfSignedOptions): Uint8Array {
  if (!/^[\x21-\x7e]{1,64}$/.test(options.name))
    throw new RangeError('certificate name: 1 to 64 ASCII characters');
  const name = der(
    DER.sequence,
    der(DER.set, der(DER.sequence, der(DER.oid, COMMON_NAME), der(DER.utf8String, utf8(options.name)))),
  );
  const serial = randomBytes(options.rng, 16);
  serial[0] = (serial[0]! & 0x3f) | 0x40; // RFC 5280 §4.1.2.2: positive; the fixed bit keeps the length
  const tbs = der(
    DER.sequence,
    der(0xa0, der(DER.integer, Uint8Array.of(2))), // version 3
    der(DER.integer, serial),
    ALGORITHM,
    name,
    der(DER.sequence, time(options.notBefore), time(options.notAfter)),
    name,
    der(DER.sequence, ALGORITHM, der(DER.bitString, NULL_BITS, ed25519PublicKey(seed))),
    der(
      0xa3,
      der(
        DER.sequence,
        // no CA; signatures only
        extension(OID.basicConstraints, true, der(DER.sequence)),
        extension(OID.keyUsage, true, der(DER.bitString, Uint8Array.of(7, 0x80))),
        extension(
          OID.extendedKeyUsage,
          false,
          der(DER.sequence, der(DER.oid, fromHex(OID.serverAuth)), der(DER.oid, fromHex(OID.clientAuth))),
        ),
        extension(OID.subjectAltName, false, der(DER.sequence, der(0x82, utf8(options.name)))),
      ),
    ),
  );
  return der(DER.sequence, tbs, ALGORITHM, der(DER.bitString, NULL_BITS, ed25519Sign(seed, tbs)));
}

function extension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  const id = der(DER.oid, fromHex(oid));
  const body = der(DER.octetString, value);
  return critical ? der(DER.sequence, id, YES, body) : der(DER.sequence, id, body);
}

/** RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050 on, no fractions. */
function time(ms: number): Uint8Array {
  const digits = new Date(ms).toISOString().replace(/\.\d+/, '').replace(/[-:T]/g, '');
  const year = Number(digits.slice(0, 4));
  return year >= 1950 && year < 2050
    ? der(DER.utcTime, utf8(digits.slice(2)))
    : der(DER.generalizedTime, utf8(digits));
}
