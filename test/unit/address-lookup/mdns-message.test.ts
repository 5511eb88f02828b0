/** Bytes: the wire notes of swarm-discovery 0.6 and iroh-mdns-address-lookup 0.4; oracle in both directions: `dns-packet`. */
import { describe, expect, test } from '@jest/globals';
import dnsPacket, { type Answer } from 'dns-packet';
import fc from 'fast-check';
import {
  MAX_MDNS_DATAGRAM_BYTES,
  decodeMdnsMessage,
  encodeMdnsAnswer,
  encodeMdnsQuery,
  serviceDomain,
  toEndpointInfo,
  type MdnsMessage,
  type MdnsPeer,
} from '../../../src/address-lookup/mdns-message.ts';
import { fromHex, toHex } from '../../../src/base/bytes.ts';
import { encodeBase32 } from '../../../src/base/encoding.ts';
import { EndpointAddr } from '../../../src/base/endpoint-addr.ts';
import { EndpointId } from '../../../src/base/endpoint-id.ts';
import { DnsError } from '../../../src/base/errors.ts';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { isUnspecified, parseAddr, toAddr } from '../../../src/base/socket-addr.ts';
import type { TransportAddr } from '../../../src/base/transport-addr.ts';
import { anyEndpointId, anyIpAddr, anyRelayAddr } from '../../support/arbitraries.ts';

const DOMAIN = serviceDomain('irohv1');
const QUERY_HEX = '000000000001000000000000075f69726f687631045f756470056c6f63616c00000c0001';
const ID = EndpointId.parse('197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61');
const LABEL = encodeBase32(ID.toBytes());

const ip = (text: string): TransportAddr => ({ type: 'ip', addr: parseAddr(text) });
const relay = (href: string): TransportAddr => ({ type: 'relay', url: RelayUrl.parse(href) });
const answerOf = (addrs: Iterable<TransportAddr>, userData?: string): Uint8Array =>
  encodeMdnsAnswer(DOMAIN, { addr: new EndpointAddr(ID, addrs), userData })!;
/** Peers of an answer. */
function peersOf(message: MdnsMessage): readonly MdnsPeer[] {
  if (message.type !== 'answer') throw new Error('this is a query');
  return message.peers;
}
const read = (bytes: Uint8Array): readonly MdnsPeer[] => peersOf(decodeMdnsMessage(DOMAIN, bytes));
/** An answer by dns-packet. */
const foreign = (answers: Answer[], additionals: Answer[] = [], questions: unknown[] = []): Uint8Array =>
  new Uint8Array(dnsPacket.encode({ type: 'response', answers, additionals, questions: questions as never }));
const srv = (name: string, target: string, port = 4_433): Answer => ({
  type: 'SRV',
  name,
  class: 'IN',
  ttl: 0,
  data: { priority: 0, weight: 0, port, target },
});
const a = (name: string, data = '192.0.2.1'): Answer => ({ type: 'A', name, class: 'IN', ttl: 0, data });
const txt = (name: string, ...data: string[]): Answer => ({ type: 'TXT', name, class: 'IN', ttl: 0, data });

describe('questions', () => {
  test('the bytes that iroh sends', () => {
    expect(toHex(encodeMdnsQuery(DOMAIN))).toBe(QUERY_HEX);
    expect(decodeMdnsMessage(DOMAIN, fromHex(QUERY_HEX))).toEqual({ type: 'query' });
  });

  test('case does not matter, nor what else is asked and said', () => {
    const bytes = foreign(
      [srv(`${LABEL}.${DOMAIN}`, 'x.local')],
      [a('x.local')],
      [
        { type: 'A', name: 'printer.local' },
        { type: 'PTR', name: '_IROHv1._udp.LOCAL' },
      ],
    );
    expect(decodeMdnsMessage(DOMAIN, bytes)).toEqual({ type: 'query' });
  });

  test.each([
    ['another type', { type: 'SRV', name: DOMAIN }],
    ['another class', { type: 'PTR', name: DOMAIN, class: 'CH' }],
    ['another service', { type: 'PTR', name: '_ipp._udp.local' }],
    ['one below it', { type: 'PTR', name: `a.${DOMAIN}` }],
    ['its parent', { type: 'PTR', name: '_udp.local' }],
  ])('not of ours: %s', (_what, question) => {
    expect(read(foreign([], [], [question]))).toEqual([]);
  });

  test('a service name may have several labels, and must be one that DNS can hold', () => {
    const domain = serviceDomain('different.name');
    expect(decodeMdnsMessage(domain, encodeMdnsQuery(domain))).toEqual({ type: 'query' });
    expect(toHex(encodeMdnsQuery(domain))).toContain(
      toHex(new TextEncoder().encode('\x0a_different\x04name')),
    );
    for (const name of ['x'.repeat(63), 'a..b', 'ü']) {
      expect(() => encodeMdnsQuery(serviceDomain(name))).toThrow(DnsError);
    }
  });
});

describe('answers', () => {
  test('an SRV record for each port, one TXT record, addresses in addition; nothing may be kept', () => {
    const bytes = answerOf(
      [
        ip('192.0.2.1:5000'),
        ip('[2001:db8::1]:5001'),
        ip('192.0.2.2:5000'),
        relay('https://relay.example.com'),
        { type: 'custom', id: 7n, data: Uint8Array.of(1) },
      ],
      'hello',
    );
    const owner = `${LABEL}.${DOMAIN}`;
    const [first, second] = [`${LABEL}-5000.local`, `${LABEL}-5001.local`];
    const seen = dnsPacket.decode(Buffer.from(bytes));
    expect(toHex(bytes.subarray(0, 12))).toBe('000084000000000300000003');
    const flat = (some: Answer[] | undefined) =>
      some?.map((each) => [each.type, each.name, 'ttl' in each && each.ttl, 'data' in each && each.data]);
    expect(flat(seen.answers)).toEqual([
      ['SRV', owner, 0, { priority: 0, weight: 0, port: 5_000, target: first }],
      ['SRV', owner, 0, { priority: 0, weight: 0, port: 5_001, target: second }],
      [
        'TXT',
        owner,
        0,
        ['relay=https://relay.example.com/', 'user-data=hello'].map((text) => Buffer.from(text)),
      ],
    ]);
    expect(flat(seen.additionals)).toEqual([
      ['A', first, 0, '192.0.2.1'],
      ['A', first, 0, '192.0.2.2'],
      ['AAAA', second, 0, '2001:db8::1'],
    ]);
  });

  test('no TXT record when there is nothing to say in it; nobody hears of who has no IP address', () => {
    expect(dnsPacket.decode(Buffer.from(answerOf([ip('192.0.2.1:1')]))).answers).toHaveLength(1);
    for (const addrs of [[], [relay('https://relay.example')]])
      expect(encodeMdnsAnswer(DOMAIN, { addr: new EndpointAddr(ID, addrs), userData: 'x' })).toBeUndefined();
  });

  test('only the first relay; attributes have 254 bytes at most', () => {
    const [near, far] = [relay('https://a.example'), relay('https://b.example')];
    const long = (bytes: number) => relay(`https://a.example/${'x'.repeat(bytes - 18)}`);
    const attributes = (...rest: Parameters<typeof answerOf>) =>
      Object.fromEntries(read(answerOf(...rest))[0]!.attributes);
    const here = ip('192.0.2.1:1');
    expect(attributes([here, far, near])).toEqual({ relay: 'https://a.example/' });
    expect(attributes([here, long(249)])['relay']).toHaveLength(249);
    expect(attributes([here, long(250)], 'x'.repeat(245))).toEqual({ 'user-data': 'x'.repeat(245) });
    expect(attributes([here], 'x'.repeat(246))).toEqual({});
  });

  test('an answer fits into what others read: the last addresses are left out', () => {
    const many = (count: number, portOf: (i: number) => number) =>
      Array.from({ length: count }, (_, i) => ip(`10.0.${i >> 8}.${i & 255}:${portOf(i)}`));
    for (const addrs of [many(300, () => 1), many(300, (i) => i + 1)]) {
      const bytes = answerOf([...addrs, relay(`https://a.example/${'x'.repeat(200)}`)], 'x'.repeat(245));
      expect(bytes.length).toBeLessThanOrEqual(MAX_MDNS_DATAGRAM_BYTES);
      expect(bytes.length).toBeGreaterThan(MAX_MDNS_DATAGRAM_BYTES - 200);
      const [{ addrs: found, attributes } = { addrs: [], attributes: new Map() }] = read(bytes);
      expect(found.map(({ text }) => text)).toEqual(
        addrs.slice(0, found.length).map((each) => each.type === 'ip' && each.addr.text),
      );
      expect(found.length).toBeGreaterThanOrEqual(5);
      expect(attributes.size).toBe(2);
    }
  });

  test('the same after a round trip', () => {
    const userData = fc.string({ maxLength: 60 });
    const addrs = fc.array(anyIpAddr, { minLength: 1, maxLength: 5 });
    const reachable = ({ addr }: TransportAddr & { type: 'ip' }): boolean =>
      addr.port !== 0 && !isUnspecified(addr);
    fc.assert(
      fc.property(
        anyEndpointId,
        addrs,
        fc.option(anyRelayAddr, { nil: undefined }),
        fc.option(userData, { nil: undefined }),
        (id, ips, relay, userData) => {
          const addr = new EndpointAddr(id, [...ips, ...(relay === undefined ? [] : [relay])]);
          const [peer] = read(encodeMdnsAnswer(DOMAIN, { addr, userData })!);
          const expected = new EndpointAddr(
            id,
            addr.addrs.filter((each) => each.type !== 'ip' || reachable(each)),
          );
          if (peer === undefined) return expect(expected.ips).toEqual([]);
          expect(EndpointId.parse(peer.label)).toEqual(id);
          const info = toEndpointInfo(id, peer);
          expect(info.addr.toJSON()).toEqual(expected.toJSON());
          expect(info.userData).toBe(userData);
        },
      ),
    );
  });
});

describe('reading answers of others', () => {
  const owner = `${LABEL}.${DOMAIN}`;

  test('what dns-packet writes, names compressed or not, several nodes in one message', () => {
    const bytes = foreign(
      [
        srv(owner, 'one.local', 1),
        srv(`Other.${DOMAIN}`, 'two.local', 2),
        srv(`other.${DOMAIN}`, 'ONE.local', 3),
        txt(owner, 'relay=https://a.example', 'flag', '=nothing', 'relay=https://b.example', 'k=a=b'),
        txt(owner, 'more=1', 'k=2'),
      ],
      [a('one.local'), a('Two.Local', '192.0.2.2'), { type: 'AAAA', name: 'one.local', data: '2001:db8::1' }],
    );
    expect(
      read(bytes).map(({ label, addrs, attributes }) => [label, addrs.map(String), [...attributes]]),
    ).toEqual([
      [
        LABEL,
        ['192.0.2.1:1', '[2001:db8::1]:1'],
        [
          ['relay', 'https://a.example'],
          ['k', 'a=b'],
          ['more', '1'],
        ],
      ],
      ['other', ['192.0.2.1:3', '192.0.2.2:2', '[2001:db8::1]:3'], []],
    ]);
  });

  test.each<[string, Answer[], Answer[]]>([
    ['no address record', [srv(owner, 'x.local')], []],
    ['an address of another target', [srv(owner, 'x.local')], [a('y.local')]],
    ['an address among the answers', [srv(owner, 'x.local'), a('x.local')], []],
    ['no SRV record', [txt(owner, 'relay=https://a.example')], [a('x.local')]],
    ['an SRV record in addition only', [], [srv(owner, 'x.local'), a('x.local')]],
    ['another service', [srv(`${LABEL}._ipp._tcp.local`, 'x.local')], [a('x.local')]],
    ['two labels below the service', [srv(`a.${owner}`, 'x.local')], [a('x.local')]],
    ['the service itself', [srv(DOMAIN, 'x.local')], [a('x.local')]],
    ['a target that is not local', [srv(owner, 'x.example')], [a('x.example')]],
    ['a target two labels below', [srv(owner, 'x.y.local')], [a('x.y.local')]],
    ['port 0', [srv(owner, 'x.local', 0)], [a('x.local')]],
    ['nobody’s address', [srv(owner, 'x.local')], [a('x.local', '0.0.0.0')]],
    ['another class', [{ ...srv(owner, 'x.local'), class: 'CH' } as Answer], [a('x.local')]],
    ['addresses of another class', [srv(owner, 'x.local')], [{ ...a('x.local'), class: 'CH' } as Answer]],
  ])('nobody: %s', (_what, answers, additionals) => {
    expect(read(foreign(answers, additionals))).toEqual([]);
  });

  test('attributes that cannot be read are passed over; the node is not', () => {
    const long = 'x'.repeat(246);
    const bytes = foreign(
      [srv(owner, 'x.local'), txt(owner, 'relay=no url', `user-data=${long}`.slice(0, 255))],
      [a('x.local')],
    );
    expect(toEndpointInfo(ID, read(bytes)[0]!)).toMatchObject({ addr: { addrs: [ip('192.0.2.1:4433')] } });
    const info = toEndpointInfo(ID, { ...read(bytes)[0]!, attributes: new Map([['user-data', long]]) });
    expect(info.userData).toBeUndefined();
    const notText = foreign(
      [srv(owner, 'x.local'), { ...txt(owner), data: [Buffer.from([107, 61, 0xff])] } as Answer],
      [a('x.local')],
    );
    expect(read(notText)[0]!.attributes.size).toBe(0);
  });

  test('at most 64 addresses of a node', () => {
    const ports = Array.from({ length: 10 }, (_, i) => srv('x.' + DOMAIN, 't.local', i + 1));
    const ips = Array.from({ length: 10 }, (_, i) => a('t.local', `192.0.2.${i + 1}`));
    expect(read(foreign(ports, ips))[0]!.addrs).toHaveLength(64);
  });

  test('addresses do not share memory with the datagram', () => {
    const bytes = Buffer.from(answerOf([ip('192.0.2.99:77')]));
    const [{ addrs } = { addrs: [] }] = read(bytes);
    bytes.fill(0xff);
    expect(addrs[0]).toBe(toAddr('192.0.2.99', 77));
    expect([...addrs[0]!.bytes]).toEqual([192, 0, 2, 99]);
  });

  test('whatever comes: a message or a documented error', () => {
    const good = answerOf([ip('192.0.2.1:1'), ip('[2001:db8::1]:2'), relay('https://a.example')], 'x');
    const damaged = fc
      .tuple(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length))
      .map(([at, byte, end]) => good.map((old, i) => (i === at ? byte : old)).subarray(0, end));
    fc.assert(
      fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        try {
          decodeMdnsMessage(DOMAIN, bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(DnsError);
        }
      }),
      { numRuns: 2_000 },
    );
    for (let end = 0; end < good.length; end++)
      expect(() => decodeMdnsMessage(DOMAIN, good.subarray(0, end))).toThrow(DnsError);
  });
});
