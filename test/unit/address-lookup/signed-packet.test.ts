/** Vectors: the wire notes of iroh 1.0.x (seed 32 × 2a); oracle in both directions: the `pkarr` package. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SignedPacket as PkarrPacket, dns as pkarrDns } from 'pkarr';
import { fromTxtStrings, txtNameOf } from '../../../src/address-lookup/endpoint-info.ts';
import {
  MAX_PACKET_DNS_BYTES,
  MAX_RELAY_PAYLOAD_BYTES,
  SignedPacket,
  fitIntoPacket,
} from '../../../src/address-lookup/signed-packet.ts';
import { concatBytes, fromHex, fromUtf8, toHex, utf8 } from '../../../src/base/bytes.ts';
import { PkarrError } from '../../../src/base/errors.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';

const SEED = new Uint8Array(32).fill(0x2a);
const KEY = SecretKey.fromBytes(SEED);
const ID = KEY.publicKey;
const TIMESTAMP = 1_700_000_000_000_000n;
const STRINGS = [
  'relay=https://relay.example.com/',
  'addr=192.0.2.10:11204',
  'addr=[2001:db8::1]:11205',
  'user-data=hello',
];
const PACKET_HEX = [
  '197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61',
  'e5744a25817e001c29d7aea864b62777a93a1f4ad16769e335f84ba9804b9d8b',
  'c605bcee1187812922cee0ced60188943e57b75df48ade561366c9dc25979c0c',
  '00060a24181e4000',
  '000080000000000400000000',
  '055f69726f6834646639737365396270316e756674696d3379687869756b367736723568646473736b6a',
  '79677079647578376573786a7374696f6f00',
  '001000010000001e00212072656c61793d68747470733a2f2f72656c61792e6578616d706c652e636f6d2f',
  'c00c001000010000001e001615616464723d3139322e302e322e31303a3131323034',
  'c00c001000010000001e001918616464723d5b323030313a6462383a3a315d3a3131323035',
  'c00c001000010000001e00100f757365722d646174613d68656c6c6f',
].join('');
/** Of the same records, names written in full. */
const UNCOMPRESSED_SIGNATURE =
  '6f5913d00bb528660322eef56fdd0c1a63311f4ccac45cdadb63f0131ddd1dc9' +
  'a2855179b55ca993888ff1fb42dce1a651a1e44941379b2be65de741fe6a350f';

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof PkarrError) return error.code;
    throw error;
  }
  return 'nothing';
}

/** The oracle's packet with these records; `bytes()` is the relay payload. */
function pkarrPacket(strings: readonly string[], timestamp: bigint, name = '_iroh'): PkarrPacket {
  const keypair = { secretKey: concatBytes(SEED, ID.toBytes()), publicKey: ID.toBytes() };
  const answers = strings.map((data) => ({ name, type: 'TXT' as const, ttl: 30, data: [Buffer.from(data)] }));
  return PkarrPacket.fromPacket(
    keypair,
    { type: 'response', id: 0, flags: 0, answers },
    { timestamp: Number(timestamp) as never },
  );
}

const sign = (strings: readonly string[], timestampMicros = TIMESTAMP): SignedPacket =>
  SignedPacket.sign(KEY, { strings, timestampMicros });

/** A packet that this key has signed, whatever is in it. */
function forge(dns: Uint8Array, timestampMicros = TIMESTAMP, key = KEY): Uint8Array {
  const timestamp = new Uint8Array(8);
  new DataView(timestamp.buffer).setBigUint64(0, timestampMicros);
  const signed = concatBytes(utf8(`3:seqi${timestampMicros}e1:v${dns.length}:`), dns);
  return concatBytes(key.sign(signed).toBytes(), timestamp, dns);
}

const anyStrings = fc.array(
  fc.string({ unit: 'binary', maxLength: 40 }).filter((text) => utf8(text).length <= 255),
  { maxLength: 6 },
);
const anyTimestamp = fc.bigInt(1n, BigInt(Number.MAX_SAFE_INTEGER));

describe('signed packets', () => {
  test('the vector: the bytes that iroh signs', () => {
    const packet = sign(STRINGS);
    expect(toHex(packet.toBytes())).toBe(PACKET_HEX);
    expect(packet.toBytes()).toHaveLength(318);
    expect(packet.toRelayPayload()).toEqual(packet.toBytes().slice(32));
  });

  test('the vector is read back', () => {
    const packet = SignedPacket.fromBytes(fromHex(PACKET_HEX));
    expect(packet.id.equals(ID)).toBe(true);
    expect(packet.timestampMicros).toBe(TIMESTAMP);
    expect(packet.txtStrings()).toEqual(STRINGS);
    const { addr, userData } = fromTxtStrings(packet.id, packet.txtStrings());
    expect(addr.addrs).toHaveLength(3);
    expect(userData).toBe('hello');
  });

  test('the same records with names in full, as the package writes them', () => {
    const payload = new Uint8Array(pkarrPacket(STRINGS, TIMESTAMP).bytes());
    expect(toHex(payload.subarray(0, 64))).toBe(UNCOMPRESSED_SIGNATURE);
    expect(payload.length - 72).toBe(388);
    expect(SignedPacket.verify(ID, payload).txtStrings()).toEqual(STRINGS);
  });

  test('the package reads what we sign', () => {
    fc.assert(
      fc.property(anyStrings, anyTimestamp, (strings, timestampMicros) => {
        const payload = sign(strings, timestampMicros).toRelayPayload();
        const seen = PkarrPacket.fromBytes(ID.toBytes(), payload);
        expect(BigInt(seen.timestamp())).toBe(timestampMicros);
        const read = seen
          .resourceRecords('_iroh')
          .map((record) => ('data' in record ? fromUtf8((record.data as Buffer[])[0]!) : ''));
        expect(read).toEqual(strings);
      }),
      { numRuns: 40 },
    );
  });

  test('we read what the package signs', () => {
    fc.assert(
      fc.property(anyStrings, anyTimestamp, (strings, timestamp) => {
        const bytes = new Uint8Array(pkarrPacket(strings, timestamp).bytes());
        if (bytes.length > MAX_RELAY_PAYLOAD_BYTES) {
          expect(codeOf(() => SignedPacket.verify(ID, bytes))).toBe('PkarrError.TooLong');
        } else {
          const packet = SignedPacket.verify(ID, bytes);
          expect([packet.timestampMicros, packet.txtStrings()]).toEqual([timestamp, strings]);
        }
      }),
      { numRuns: 40 },
    );
  });

  test('only what is under _iroh counts', () => {
    for (const name of ['@', 'other', '_iroh.sub'])
      expect(
        SignedPacket.verify(ID, new Uint8Array(pkarrPacket(STRINGS, TIMESTAMP, name).bytes())).txtStrings(),
      ).toEqual([]);
    const capitals = pkarrPacket(STRINGS, TIMESTAMP, '_IROH').bytes();
    expect(SignedPacket.verify(ID, new Uint8Array(capitals)).txtStrings()).toEqual(STRINGS);
  });

  test('nothing to say is a packet of twelve bytes', () => {
    const payload = sign([]).toRelayPayload();
    expect(toHex(payload.subarray(72))).toBe('000080000000000000000000');
    expect(SignedPacket.verify(ID, payload).txtStrings()).toEqual([]);
  });

  test('newer is later, or greater at the same time', () => {
    const packets = [
      sign(['a=1'], 1n),
      sign(['a=1'], 2n),
      sign(['a=2'], 2n),
      // One record more: the count in the header decides.
      sign(['a=1', 'a=1'], 2n),
      sign([], 3n),
    ];
    packets.forEach((a, i) =>
      packets.forEach((b, j) => expect([i, j, a.isNewerThan(b)]).toEqual([i, j, i > j])),
    );
  });

  test('what is too much for one packet is not signed; what fits is found', () => {
    const many = Array.from({ length: 100 }, (_, i) => `addr=192.0.2.1:${10_000 + i}`);
    const all = ['relay=https://relay.example.com/', ...many, 'user-data=hello'];
    expect(codeOf(() => sign(all))).toBe('PkarrError.TooLong');
    const fitting = fitIntoPacket(ID, all);
    const packet = sign(fitting);
    const room = MAX_PACKET_DNS_BYTES - (packet.toRelayPayload().length - 72);
    expect(room).toBeGreaterThanOrEqual(0);
    expect(room).toBeLessThan(2 + 10 + 1 + many[0]!.length);
    expect(fitting).toEqual([all[0], ...many.slice(0, fitting.length - 2), all.at(-1)]);
    // Real iroh puts 25 or so into one; names in full leave room for 10.
    expect(fitting.length).toBeGreaterThan(22);
    const long = Array.from({ length: 6 }, () => `relay=${'x'.repeat(240)}`);
    expect(fitIntoPacket(ID, long)).toEqual(long.slice(0, 3));
  });
});

describe('hostile packets', () => {
  const valid = sign(STRINGS).toRelayPayload();

  test('another key', () => {
    const other = SecretKey.fromBytes(new Uint8Array(32).fill(1)).publicKey;
    expect(codeOf(() => SignedPacket.verify(other, valid))).toBe('PkarrError.Signature');
  });

  test('one bit, anywhere', () => {
    for (let at = 0; at < valid.length; at++) {
      const changed = valid.slice();
      changed[at]! ^= 1 << (at % 8);
      expect([at, codeOf(() => SignedPacket.verify(ID, changed))]).toEqual([at, 'PkarrError.Signature']);
    }
  });

  test('bytes missing or too many', () => {
    expect(codeOf(() => SignedPacket.verify(ID, valid.subarray(0, 71)))).toBe('PkarrError.TooShort');
    expect(codeOf(() => SignedPacket.verify(ID, valid.subarray(0, -1)))).toBe('PkarrError.Signature');
    expect(codeOf(() => SignedPacket.verify(ID, new Uint8Array(0)))).toBe('PkarrError.TooShort');
    expect(codeOf(() => SignedPacket.fromBytes(new Uint8Array(31)))).toBe('PkarrError.TooShort');
    const most = forge(concatBytes(fromHex('000080000000000000000000'), new Uint8Array(988)));
    expect(most).toHaveLength(MAX_RELAY_PAYLOAD_BYTES);
    expect(codeOf(() => SignedPacket.verify(ID, most))).toBe('nothing');
    const more = forge(concatBytes(fromHex('000080000000000000000000'), new Uint8Array(989)));
    expect(codeOf(() => SignedPacket.verify(ID, more))).toBe('PkarrError.TooLong');
  });

  test('signed, but no DNS message', () => {
    for (const hex of ['', '00', '000080000000000100000000', '0000800000000001000000000000c00c'])
      expect(codeOf(() => SignedPacket.verify(ID, forge(fromHex(hex))))).toBe('PkarrError.Dns');
  });

  test('a key of small order signs nothing, whatever the signature', () => {
    const identity = new Uint8Array(32);
    identity[0] = 1;
    const zeros = concatBytes(identity, new Uint8Array(32), valid.subarray(64));
    expect(codeOf(() => SignedPacket.fromBytes(concatBytes(identity, zeros)))).toBe('PkarrError.Signature');
  });

  test('timestamps up to the last one are exact', () => {
    const last = (1n << 64n) - 1n;
    expect(sign([], last).timestampMicros).toBe(last);
    expect(SignedPacket.verify(ID, sign([], last).toRelayPayload()).timestampMicros).toBe(last);
  });

  test('records of other types and classes, and TXT data that is broken, are passed over', () => {
    const name = txtNameOf(ID);
    const message = pkarrDns.encode({
      type: 'response',
      answers: [
        { name, type: 'A', data: '192.0.2.1', ttl: 30 },
        { name, type: 'TXT', class: 'CH', data: ['relay=https://chaos.example/'], ttl: 30 },
        { name, type: 'TXT', data: ['relay=', 'https://a.example/'], ttl: 30 },
        { name, type: 'TXT', data: ['x'], ttl: 30 },
      ],
    });
    // The string of the last record claims to be longer than its record.
    message[message.length - 2] = 200;
    expect(SignedPacket.verify(ID, forge(new Uint8Array(message))).txtStrings()).toEqual([
      'relay=https://a.example/',
    ]);
  });

  test('whatever is signed, there is a packet or a PkarrError', () => {
    const dns = valid.slice(72);
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.array(fc.tuple(fc.nat(dns.length - 1), fc.nat(255)), { maxLength: 3 }).map((changes) => {
        const changed = dns.slice();
        for (const [at, value] of changes) changed[at] = value;
        return changed;
      }),
    );
    fc.assert(
      fc.property(bytes, (each) => {
        expect(['nothing', 'PkarrError.Dns']).toContain(
          codeOf(() => fromTxtStrings(ID, SignedPacket.verify(ID, forge(each)).txtStrings())),
        );
      }),
      { numRuns: 300 },
    );
  });
});
