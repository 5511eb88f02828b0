/**
 * Certificates of an authority of one's own.
 *
 * @module
 */
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { webcrypto } from 'node:crypto';

x509.cryptoProvider.set(webcrypto as unknown as Crypto);

const DAY_MS = 86_400_000;
const ALGORITHMS = {
  'EC P-256': { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  RSA: {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    publicExponent: Uint8Array.of(1, 0, 1),
    modulusLength: 2_048,
  },
} as const;

/** PEM texts. */
export interface TestCertificate {
  /** The authority, for those who are to believe it. */
  readonly root: string;
  /** Leaf and root. */
  readonly chain: string;
  readonly key: string;
}

/** A certificate for `localhost` and `127.0.0.1`. @param serial - Tells one from another. */
export async function makeServerCertificate(
  kind: keyof typeof ALGORITHMS = 'EC P-256',
  serial = '02',
): Promise<TestCertificate> {
  const algorithm = ALGORITHMS[kind];
  const generate = async (): Promise<CryptoKeyPair> =>
    await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const [rootKeys, keys] = await Promise.all([generate(), generate()]);
  const dates = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: 'CN=Test authority',
    ...dates,
    keys: rootKeys,
    signingAlgorithm: algorithm,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  const leaf = await x509.X509CertificateGenerator.create({
    serialNumber: serial,
    subject: 'CN=localhost',
    issuer: root.subject,
    ...dates,
    publicKey: keys.publicKey,
    signingKey: rootKeys.privateKey,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.SubjectAlternativeNameExtension([
        { type: 'dns', value: 'localhost' },
        { type: 'ip', value: '127.0.0.1' },
      ]),
      new x509.ExtendedKeyUsageExtension(['1.3.6.1.5.5.7.3.1']),
    ],
  });
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    root: root.toString('pem'),
    chain: `${leaf.toString('pem')}\n${root.toString('pem')}`,
    key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY'),
  };
}
