import 'reflect-metadata';
import { beforeAll, describe, expect, test } from '@jest/globals';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import { X509Certificate, webcrypto } from 'node:crypto';
import { rootCertificates } from 'node:tls';
import { fromHex, toHex, utf8 } from '../../../src/base/bytes.ts';
import { systemRng } from '../../../src/crypto/random.ts';
import { ed25519PublicKey, ed25519Sign } from '../../../src/crypto/signature.ts';
import * as browser from '../../../src/crypto/x509.browser.ts';
import {
  CERTIFICATE_SCHEMES,
  MAX_CHAIN_CERTIFICATES,
  MAX_SIGNATURE_CHECKS,
  RootStore,
  X509Error,
  ed25519KeyOfCertificate,
  parseChainPem,
  parsePrivateKeyPem,
  selfSignedEd25519Certificate,
  systemRoots,
  verifyServerChain,
  verifyWithCertificate,
} from '../../../src/crypto/x509.ts';

x509.cryptoProvider.set(webcrypto as unknown as Crypto);

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 10, 1);

const ALGORITHMS = {
  ed25519: { name: 'Ed25519' },
  p256: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  p384: { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' },
  p521: { name: 'ECDSA', namedCurve: 'P-521', hash: 'SHA-512' },
  rsa: {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    publicExponent: Uint8Array.of(1, 0, 1),
    modulusLength: 2048,
  },
  rsaSmall: {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    publicExponent: Uint8Array.of(1, 0, 1),
    modulusLength: 1024,
  },
  rsaSha1: {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-1',
    publicExponent: Uint8Array.of(1, 0, 1),
    modulusLength: 2048,
  },
} as const;
type KeyKind = keyof typeof ALGORITHMS;

/** A certificate with the key that may sign with it. */
interface Issued {
  readonly der: Uint8Array;
  readonly pem: string;
  readonly name: string;
  readonly keys: CryptoKeyPair;
  readonly kind: KeyKind;
}

interface Shape {
  name: string;
  kind?: KeyKind;
  keys?: CryptoKeyPair;
  issuer?: Issued;
  /** Signs in the issuer's name with another key. */
  forgedBy?: Issued;
  ca?: boolean;
  pathLength?: number;
  hosts?: x509.JsonGeneralName[];
  from?: number;
  to?: number;
  extensions?: x509.Extension[];
}

let serial = 1;

async function generateKeys(kind: KeyKind): Promise<CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(ALGORITHMS[kind], true, ['sign', 'verify'])) as CryptoKeyPair;
}

async function issue(shape: Shape): Promise<Issued> {
  const kind = shape.kind ?? 'p256';
  const keys = shape.keys ?? (await generateKeys(kind));
  const issuer = shape.forgedBy ?? shape.issuer;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: (serial++).toString(16).padStart(4, '0'),
    subject: `CN=${shape.name}`,
    issuer: `CN=${(shape.issuer ?? shape).name}`,
    notBefore: new Date(shape.from ?? NOW - DAY),
    notAfter: new Date(shape.to ?? NOW + DAY),
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    signingAlgorithm: ALGORITHMS[issuer?.kind ?? kind],
    extensions: [
      ...(shape.ca ? [new x509.BasicConstraintsExtension(true, shape.pathLength, true)] : []),
      ...(shape.hosts ? [new x509.SubjectAlternativeNameExtension(shape.hosts)] : []),
      ...(shape.extensions ?? []),
    ],
  });
  return {
    der: new Uint8Array(certificate.rawData),
    pem: certificate.toString('pem'),
    name: shape.name,
    keys,
    kind,
  };
}

const dns = (value: string): x509.JsonGeneralName => ({ type: 'dns', value });

function outcome(
  chain: readonly Issued[],
  roots: readonly Issued[],
  serverName: string | undefined = 'relay.example.com',
  wallNow = NOW,
): string {
  try {
    const store = new RootStore(roots.map((root) => root.der));
    verifyServerChain(
      chain.map((certificate) => certificate.der),
      { roots: store, serverName, wallNow },
    );
    return 'ok';
  } catch (error) {
    if (error instanceof X509Error) return error.code.slice('X509Error.'.length);
    throw error;
  }
}

async function privateKeyPem(keys: CryptoKeyPair): Promise<string> {
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return x509.PemConverter.encode(pkcs8, 'PRIVATE KEY');
}

let root: Issued;
let intermediate: Issued;
let leaf: Issued;

beforeAll(async () => {
  root = await issue({ name: 'root', ca: true });
  intermediate = await issue({ name: 'intermediate', issuer: root, ca: true, pathLength: 0 });
  leaf = await issue({ name: 'leaf', issuer: intermediate, hosts: [dns('relay.example.com')] });
});

describe('a chain is accepted', () => {
  test.each([
    ['ed25519', 'ed25519'],
    ['p256', 'p384'],
    ['p384', 'p256'],
    ['p521', 'p256'],
    ['rsa', 'rsa'],
    ['rsa', 'ed25519'],
  ] as const)('of %s and %s', async (authority, kind) => {
    const top = await issue({ name: 'top', kind: authority, ca: true });
    const middle = await issue({ name: 'middle', kind: authority, issuer: top, ca: true });
    const end = await issue({ name: 'end', kind, issuer: middle, hosts: [dns('relay.example.com')] });
    expect(outcome([end, middle], [top])).toBe('ok');
  });

  test('in any order, with the root or strangers in it', () => {
    expect(outcome([leaf, intermediate], [root])).toBe('ok');
    expect(outcome([leaf, root, intermediate], [root])).toBe('ok');
    expect(outcome([leaf, leaf, root, intermediate, intermediate], [root])).toBe('ok');
  });

  test('up to an intermediate that was made a root', () => {
    expect(outcome([leaf], [intermediate])).toBe('ok');
  });

  test('if the leaf itself was made a root', async () => {
    const own = await issue({ name: 'own', hosts: [dns('relay.example.com')] });
    expect(outcome([own], [own])).toBe('ok');
    expect(outcome([own], [own], 'other.example.com')).toBe('WrongHost');
    expect(outcome([own], [own], undefined, NOW + 2 * DAY)).toBe('Expired');
    expect(outcome([own], [root])).toBe('UnknownIssuer');
    expect(outcome([own], [])).toBe('UnknownIssuer');
  });

  test('through the one of two equally named intermediates that works', async () => {
    const stale = await issue({ name: 'intermediate', issuer: root, ca: true, to: NOW - DAY / 2 });
    expect(outcome([leaf, stale, intermediate], [root])).toBe('ok');
    expect(outcome([leaf, stale], [root])).not.toBe('ok');
  });
});

describe('names', () => {
  test('match as RFC 9525 says', async () => {
    const many = await issue({
      name: 'relay.cn.example', // the common name is no name
      issuer: root,
      hosts: [
        dns('a.example.com'),
        dns('*.wild.example.com'),
        dns('p*.part.example.com'),
        { type: 'ip', value: '192.0.2.1' },
        { type: 'ip', value: '2001:db8::1' },
      ],
    });
    const expected: Record<string, string> = {
      'a.example.com': 'ok',
      'A.Example.COM': 'ok',
      'a.example.com.': 'ok',
      'b.wild.example.com': 'ok',
      '192.0.2.1': 'ok',
      '2001:db8:0::1': 'ok',
      'example.com': 'WrongHost',
      'b.a.example.com': 'WrongHost',
      'wild.example.com': 'WrongHost',
      'c.b.wild.example.com': 'WrongHost',
      'px.part.example.com': 'WrongHost',
      'relay.cn.example': 'WrongHost',
      '192.0.2.2': 'WrongHost',
      '2001:db8::2': 'WrongHost',
    };
    for (const [name, result] of Object.entries(expected))
      expect({ name, result: outcome([many], [root], name) }).toEqual({ name, result });
  });

  test('a certificate without names matches nothing, and anything if no name is asked for', async () => {
    const nameless = await issue({ name: 'relay.example.com', issuer: root });
    expect(outcome([nameless], [root])).toBe('WrongHost');
    const store = new RootStore([root.pem]);
    verifyServerChain([nameless.der], { roots: store, serverName: undefined, wallNow: NOW });
  });

  test('stay within the constraints of each authority', async () => {
    const constrained = async (permitted: string[], excluded: string[]): Promise<Issued[]> => {
      const extension = new x509.Extension('2.5.29.30', true, nameConstraints(permitted, excluded));
      const authority = await issue({ name: 'limited', issuer: root, ca: true, extensions: [extension] });
      return [
        await issue({
          name: 'end',
          issuer: authority,
          hosts: [dns('relay.example.com'), { type: 'ip', value: '192.0.2.1' }],
        }),
        authority,
      ];
    };
    expect(outcome(await constrained(['example.com'], []), [root])).toBe('ok');
    expect(outcome(await constrained(['.example.com'], []), [root])).toBe('ok');
    expect(outcome(await constrained(['relay.example.com'], []), [root])).toBe('ok');
    expect(outcome(await constrained([''], []), [root])).toBe('ok');
    expect(outcome(await constrained(['other.com', 'example.com'], []), [root])).toBe('ok');
    expect(outcome(await constrained(['other.com'], []), [root])).toBe('WrongHost');
    expect(outcome(await constrained(['ample.com'], []), [root])).toBe('WrongHost');
    expect(outcome(await constrained(['.relay.example.com'], []), [root])).toBe('WrongHost');
    expect(outcome(await constrained([], ['example.com']), [root])).toBe('WrongHost');
    expect(outcome(await constrained(['example.com'], ['relay.example.com']), [root])).toBe('WrongHost');
    expect(outcome(await constrained([], ['other.com']), [root])).toBe('ok');
    expect(outcome(await constrained(['192.0.2.0/255.255.255.0'], []), [root], '192.0.2.1')).toBe('ok');
    expect(outcome(await constrained(['192.0.3.0/255.255.255.0'], []), [root], '192.0.2.1')).toBe(
      'WrongHost',
    );
    expect(outcome(await constrained([], ['0.0.0.0/0.0.0.0']), [root], '192.0.2.1')).toBe('WrongHost');
    expect(outcome(await constrained([], ['0.0.0.0/0.0.0.0']), [root])).toBe('ok');
  });
});

describe('a chain is refused', () => {
  test('outside its dates, of leaf, intermediate or root', async () => {
    expect(outcome([leaf, intermediate], [root], undefined, NOW + 2 * DAY)).toBe('Expired');
    expect(outcome([leaf, intermediate], [root], undefined, NOW - 2 * DAY)).toBe('NotYetValid');
    expect(outcome([leaf, intermediate], [root], undefined, NOW - DAY)).toBe('ok');
    expect(outcome([leaf, intermediate], [root], undefined, NOW + DAY)).toBe('ok');
    expect(outcome([leaf, intermediate], [root], undefined, NOW + DAY + 1000)).toBe('Expired');
    const early = await issue({ name: 'early', issuer: root, ca: true, from: NOW + DAY / 2, to: NOW + DAY });
    const end = await issue({ name: 'end', issuer: early, hosts: [dns('relay.example.com')] });
    expect(outcome([end, early], [root])).toBe('NotYetValid');
    const oldRoot = await issue({ name: 'old', ca: true, to: NOW - DAY / 2 });
    const ofOld = await issue({ name: 'end', issuer: oldRoot, hosts: [dns('relay.example.com')] });
    expect(outcome([ofOld], [oldRoot])).toBe('Expired');
  });

  test('with an unknown root or a missing intermediate', async () => {
    const stranger = await issue({ name: 'stranger', ca: true });
    expect(outcome([leaf, intermediate], [stranger])).toBe('UnknownIssuer');
    expect(outcome([leaf, intermediate, root], [stranger])).toBe('UnknownIssuer');
    expect(outcome([leaf], [root])).toBe('UnknownIssuer');
  });

  test('with a signature of another key, from leaf or intermediate', async () => {
    const stranger = await issue({ name: 'stranger', ca: true });
    const hosts = [dns('relay.example.com')];
    const forged = await issue({ name: 'forged', issuer: intermediate, forgedBy: stranger, hosts });
    expect(outcome([forged, intermediate], [root])).toBe('BadSignature');
    const fakeAuthority = await issue({ name: 'fake', issuer: root, forgedBy: stranger, ca: true });
    const end = await issue({ name: 'end', issuer: fakeAuthority, hosts });
    expect(outcome([end, fakeAuthority], [root])).toBe('BadSignature');
    // a root of the right name but another key
    const impostor = await issue({ name: 'root', ca: true });
    expect(outcome([leaf, intermediate], [impostor])).toBe('BadSignature');
  });

  test('with any bit of the leaf changed', () => {
    const accepted: number[] = [];
    for (let bit = 0; bit < 8 * leaf.der.length; bit++) {
      const der = leaf.der.slice();
      der[bit >> 3]! ^= 1 << (bit & 7);
      if (outcome([{ ...leaf, der }, intermediate], [root]) === 'ok') accepted.push(bit);
    }
    expect(accepted).toEqual([]);
  });

  test('if an issuer is no authority', async () => {
    const plain = await issue({ name: 'plain', issuer: root });
    const end = await issue({ name: 'end', issuer: plain, hosts: [dns('relay.example.com')] });
    expect(outcome([end, plain], [root])).toBe('WrongPurpose');
    const noSigning = await issue({
      name: 'no-signing',
      issuer: root,
      ca: true,
      extensions: [new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true)],
    });
    const below = await issue({ name: 'end', issuer: noSigning, hosts: [dns('relay.example.com')] });
    expect(outcome([below, noSigning], [root])).toBe('UnknownIssuer');
  });

  test('beyond a path length', async () => {
    const second = await issue({ name: 'second', issuer: intermediate, ca: true });
    const end = await issue({ name: 'end', issuer: second, hosts: [dns('relay.example.com')] });
    expect(outcome([end, second, intermediate], [root])).toBe('WrongPurpose');
    const wide = await issue({ name: 'wide', issuer: root, ca: true, pathLength: 1 });
    const under = await issue({ name: 'under', issuer: wide, ca: true, pathLength: 0 });
    const ok = await issue({ name: 'end', issuer: under, hosts: [dns('relay.example.com')] });
    expect(outcome([ok, under, wide], [root])).toBe('ok');
  });

  test('for other purposes', async () => {
    const hosts = [dns('relay.example.com')];
    const make = (...extensions: x509.Extension[]): Promise<Issued> =>
      issue({ name: 'end', issuer: root, hosts, extensions });
    const uses = (...list: string[]): x509.Extension => new x509.ExtendedKeyUsageExtension(list);
    expect(outcome([await make(uses('1.3.6.1.5.5.7.3.2'))], [root])).toBe('WrongPurpose'); // clientAuth
    expect(outcome([await make(uses('1.3.6.1.5.5.7.3.2', '1.3.6.1.5.5.7.3.1'))], [root])).toBe('ok');
    expect(outcome([await make(uses('2.5.29.37.0'))], [root])).toBe('ok'); // any
    const flags = x509.KeyUsageFlags;
    expect(outcome([await make(new x509.KeyUsagesExtension(flags.keyEncipherment, true))], [root])).toBe(
      'WrongPurpose',
    );
    expect(outcome([await make(new x509.KeyUsagesExtension(flags.digitalSignature, true))], [root])).toBe(
      'ok',
    );
    const mail = await issue({
      name: 'mail',
      issuer: root,
      ca: true,
      extensions: [uses('1.3.6.1.5.5.7.3.4')],
    });
    expect(outcome([await issue({ name: 'end', issuer: mail, hosts }), mail], [root])).toBe('WrongPurpose');
  });

  test('with a critical extension that nobody knows', async () => {
    const make = (critical: boolean): Promise<Issued> =>
      issue({
        name: 'end',
        issuer: root,
        hosts: [dns('relay.example.com')],
        extensions: [new x509.Extension('1.2.3.4', critical, Uint8Array.of(5, 0))],
      });
    expect(outcome([await make(true)], [root])).toBe('Unsupported');
    expect(outcome([await make(false)], [root])).toBe('ok');
  });

  test('signed with SHA-1 or by a small RSA key', async () => {
    for (const kind of ['rsaSha1', 'rsaSmall'] as const) {
      const weak = await issue({ name: 'weak', kind, ca: true });
      const end = await issue({ name: 'end', issuer: weak, hosts: [dns('relay.example.com')] });
      expect(outcome([end], [weak])).toBe('Unsupported');
    }
  });

  test('if it is empty, too long or not made of certificates', () => {
    expect(outcome([], [root])).toBe('BadCertificate');
    expect(outcome(new Array<Issued>(MAX_CHAIN_CERTIFICATES + 1).fill(leaf), [root])).toBe('BadCertificate');
    for (const der of [new Uint8Array(0), leaf.der.subarray(0, 100), utf8('hello')])
      expect(outcome([{ ...leaf, der }], [root])).toBe('BadCertificate');
  });

  test('without endless search when all authorities have one name and key', async () => {
    // Every one issued every other: 9! orders, none of which meets a root.
    const keys = await generateKeys('p256');
    const loops: Issued[] = [];
    for (let i = 0; i < MAX_CHAIN_CERTIFICATES - 1; i++)
      loops.push(await issue({ name: 'loop', ca: true, keys }));
    const end = await issue({ name: 'end', issuer: loops[0]!, hosts: [dns('relay.example.com')] });
    expect(outcome([end, ...loops], [root])).toBe('BadCertificate');
    expect(outcome([end, ...loops], [loops[5]!])).toBe('ok');
    expect(MAX_SIGNATURE_CHECKS).toBeLessThan(100);
  });
});

describe('handshake signatures', () => {
  const message = utf8('TLS 1.3, server CertificateVerify');

  test.each([
    ['ed25519', [0x0807]],
    ['p256', [0x0403]],
    ['p384', [0x0503]],
    ['rsa', [0x0804, 0x0805, 0x0806]],
  ] as const)('%s signs and verifies with its schemes only', async (kind, schemes) => {
    const certificate = await issue({ name: 'signer', kind });
    const other = await issue({ name: 'other', kind });
    const signer = parsePrivateKeyPem(await privateKeyPem(certificate.keys));
    expect(signer.schemes).toEqual(schemes);
    for (const scheme of CERTIFICATE_SCHEMES) {
      if (!signer.schemes.includes(scheme)) {
        expect(() => signer.sign(scheme, message)).toThrow(RangeError);
        expect(verifyWithCertificate(certificate.der, scheme, message, new Uint8Array(64))).toBe(false);
        continue;
      }
      const signature = signer.sign(scheme, message);
      expect(Object.getPrototypeOf(signature)).toBe(Uint8Array.prototype);
      expect(verifyWithCertificate(certificate.der, scheme, message, signature)).toBe(true);
      expect(verifyWithCertificate(other.der, scheme, message, signature)).toBe(false);
      expect(verifyWithCertificate(certificate.der, scheme, utf8('x'), signature)).toBe(false);
      expect(verifyWithCertificate(certificate.der, scheme, message, new Uint8Array(0))).toBe(false);
      signature[10]! ^= 1;
      expect(verifyWithCertificate(certificate.der, scheme, message, signature)).toBe(false);
    }
    expect(verifyWithCertificate(certificate.der, 0x0401, message, new Uint8Array(256))).toBe(false);
  });

  test('RSA-PSS with another salt length is refused (RFC 8446 §4.2.3)', async () => {
    const certificate = await issue({ name: 'rsa', kind: 'rsa' });
    const { createPrivateKey, sign, constants } = await import('node:crypto');
    const key = createPrivateKey(await privateKeyPem(certificate.keys));
    const signature = (saltLength: number): Uint8Array =>
      sign('sha256', message, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });
    expect(verifyWithCertificate(certificate.der, 0x0804, message, signature(32))).toBe(true);
    expect(verifyWithCertificate(certificate.der, 0x0804, message, signature(20))).toBe(false);
  });

  test('keys that cannot sign TLS 1.3 are refused, without being quoted', async () => {
    for (const kind of ['p521', 'rsaSmall'] as const) {
      const pem = await privateKeyPem(await generateKeys(kind));
      expect(() => parsePrivateKeyPem(pem)).toThrow(X509Error);
    }
    const broken = (await privateKeyPem(leaf.keys)).replace(/[A-Z]/g, 'q');
    for (const pem of ['', 'hello', leaf.pem, broken]) {
      try {
        parsePrivateKeyPem(pem);
        throw new Error('parsed');
      } catch (error) {
        expect(error).toBeInstanceOf(X509Error);
        expect((error as X509Error).code).toBe('X509Error.UnsupportedKey');
        expect((error as X509Error).cause).toBeUndefined();
      }
    }
  });
});

describe('PEM', () => {
  test('several certificates come in their order, other text is skipped', () => {
    const chain = parseChainPem(
      `# leaf\n${leaf.pem}\n\nsubject: x\r\n${intermediate.pem.replaceAll('\n', '\r\n')}`,
    );
    expect(chain.map(toHex)).toEqual([toHex(leaf.der), toHex(intermediate.der)]);
    expect(Object.getPrototypeOf(chain[0])).toBe(Uint8Array.prototype);
  });

  test('none, or a broken one, is an error', () => {
    for (const pem of ['', 'hello', leaf.pem.slice(0, 300), leaf.pem.replace(/\n[A-Za-z0-9+/]{20}/, '\n')])
      expect(() => parseChainPem(pem)).toThrow(X509Error);
  });
});

describe('system roots', () => {
  test('are all readable and kept', () => {
    const roots = systemRoots();
    expect(systemRoots()).toBe(roots);
    for (const pem of rootCertificates) {
      const certificate = new X509Certificate(pem);
      const found = roots.candidates(certificate.subject);
      expect(found.some((candidate) => candidate.x509.fingerprint256 === certificate.fingerprint256)).toBe(
        true,
      );
    }
  });

  test('agree with Node about the fields we read ourselves', () => {
    for (const pem of rootCertificates) {
      const certificate = new X509Certificate(pem);
      const [ours] = systemRoots()
        .candidates(certificate.subject)
        .filter((candidate) => candidate.x509.fingerprint256 === certificate.fingerprint256);
      expect(ours!.fields.isCa).toBe(certificate.ca);
      expect(ours!.fields.notBefore).toBe(Date.parse(certificate.validFrom));
      expect(ours!.fields.notAfter).toBe(Date.parse(certificate.validTo));
      expect(ours!.fields.unknownCritical).toBeUndefined();
    }
  });

  test('do not know our test authority', () => {
    expect(() =>
      verifyServerChain([leaf.der, intermediate.der, root.der], {
        roots: systemRoots(),
        serverName: 'relay.example.com',
        wallNow: NOW,
      }),
    ).toThrow(X509Error);
  });
});

describe('self-signed Ed25519 certificates', () => {
  const seed = new Uint8Array(32).fill(0x2a);
  const options = { rng: systemRng, notBefore: NOW, notAfter: NOW + 3650 * DAY, name: 'iroh-ts' };

  test('are certificates to OpenSSL and to @peculiar/x509', async () => {
    const der = selfSignedEd25519Certificate(seed, options);
    const certificate = new X509Certificate(der);
    expect(certificate.subject).toBe('CN=iroh-ts');
    expect(certificate.issuer).toBe('CN=iroh-ts');
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.checkHost('iroh-ts', { subject: 'never' })).toBe('iroh-ts');
    expect(certificate.ca).toBe(false);
    expect(Date.parse(certificate.validFrom)).toBe(options.notBefore);
    expect(Date.parse(certificate.validTo)).toBe(options.notAfter);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(der.length).toBeLessThan(330);
    expect(
      await new x509.X509Certificate(der as Uint8Array<ArrayBuffer>).verify({ signatureOnly: true }),
    ).toBe(true);
    // and to ourselves, once made a root
    verifyServerChain([der], { roots: new RootStore([der]), serverName: 'iroh-ts', wallNow: NOW });
  });

  test('carry the key, readable by either twin', () => {
    const der = selfSignedEd25519Certificate(seed, options);
    for (const read of [ed25519KeyOfCertificate, browser.ed25519KeyOfCertificate])
      expect(read(der)).toEqual(ed25519PublicKey(seed));
    const message = utf8('m');
    expect(verifyWithCertificate(der, 0x0807, message, ed25519Sign(seed, message))).toBe(true);
  });

  test('have dates of either form, and serial numbers of their own', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: Date.UTC(1950), max: Date.UTC(9999, 11, 31) }),
        fc.integer({ min: Date.UTC(1950), max: Date.UTC(9999, 11, 31) }),
        (notBefore, notAfter) => {
          const certificate = new X509Certificate(
            selfSignedEd25519Certificate(seed, { ...options, notBefore, notAfter }),
          );
          const seconds = (ms: number): number => Math.floor(ms / 1000) * 1000;
          expect(Date.parse(certificate.validFrom)).toBe(seconds(notBefore));
          expect(Date.parse(certificate.validTo)).toBe(seconds(notAfter));
          expect(certificate.serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/);
        },
      ),
      { numRuns: 30 },
    );
    const serials = [1, 2].map(
      () => new X509Certificate(selfSignedEd25519Certificate(seed, options)).serialNumber,
    );
    expect(serials[0]).not.toBe(serials[1]);
  });

  test('refuse names that do not fit', () => {
    for (const name of ['', 'ü', 'a b', 'x'.repeat(65)])
      expect(() => selfSignedEd25519Certificate(seed, { ...options, name })).toThrow(RangeError);
    expect(() => selfSignedEd25519Certificate(seed.subarray(1), options)).toThrow(RangeError);
  });

  test('other keys are not mistaken for Ed25519', () => {
    expect(ed25519KeyOfCertificate(leaf.der)).toBeUndefined();
  });

  test('whatever the bytes, reading ends in a key, nothing or an X509Error', () => {
    const der = selfSignedEd25519Certificate(seed, options);
    const mutated = fc
      .array(fc.tuple(fc.nat(der.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
      .map((changes) => {
        const bytes = der.slice();
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 100 })), (bytes) => {
        try {
          const key = ed25519KeyOfCertificate(bytes);
          expect(key?.length ?? 32).toBe(32);
        } catch (error) {
          expect(error).toBeInstanceOf(X509Error);
        }
      }),
      { numRuns: 500 },
    );
  });
});

test('browser builds say that chains are not for them', () => {
  const calls = [
    () => browser.parsePrivateKeyPem(''),
    () => browser.parseChainPem(''),
    () => browser.systemRoots(),
    () => new browser.RootStore([]),
    () => browser.verifyWithCertificate(leaf.der, 0x0403, leaf.der, leaf.der),
    () => {
      browser.verifyServerChain([], { roots: systemRoots(), serverName: undefined, wallNow: NOW });
    },
  ];
  for (const call of calls) {
    let code: string | undefined;
    try {
      call();
    } catch (error) {
      code = (error as X509Error).code;
    }
    expect(code).toBe('X509Error.Unavailable');
  }
});

/** NameConstraints (RFC 5280 §4.2.1.10) by hand; `a/b` is an IPv4 network. */
function nameConstraints(permitted: string[], excluded: string[]): Uint8Array<ArrayBuffer> {
  const element = (tag: number, content: number[]): number[] => [tag, content.length, ...content];
  const subtree = (name: string): number[] => {
    const address = name.includes('/') ? name.split(/[./]/).map(Number) : undefined;
    return element(0x30, address ? element(0x87, address) : element(0x82, [...utf8(name)]));
  };
  const list = (tag: number, names: string[]): number[] =>
    names.length > 0 ? element(tag, names.flatMap(subtree)) : [];
  return Uint8Array.from(element(0x30, [...list(0xa0, permitted), ...list(0xa1, excluded)]));
}

test('the hand-made name constraints are what the RFC draws', () => {
  expect(toHex(nameConstraints(['a'], []))).toBe(toHex(fromHex('3007a00530038201' + '61')));
});
