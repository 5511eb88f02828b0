/** Mapped addresses: both ways, and never more than a bound of those that nobody holds. */
import { describe, expect, test } from '@jest/globals';
import {
  CUSTOM_MAPPED_SUBNET,
  ENDPOINT_ID_SUBNET,
  MAPPED_PORT,
  MAX_UNHELD_MAPPED_ADDRS,
  MappedAddrs,
  RELAY_MAPPED_SUBNET,
} from '../../../src/actors/mapped-addrs.ts';
import { formatRemoteAddr } from '../../../src/base/remote-addr.ts';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { toAddr } from '../../../src/base/socket-addr.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';
import { SimRng } from '../../support/sim-rng.ts';

const rng = new SimRng(1);
const id = SecretKey.fromBytes(new Uint8Array(32).fill(1)).publicKey;
const other = SecretKey.fromBytes(new Uint8Array(32).fill(2)).publicKey;
const relay = RelayUrl.parse('https://relay.example/');

describe('H20: mapped addresses', () => {
  test('have the prefix, a subnet by kind, one port, and are as many as what they stand for', () => {
    const mapped = new MappedAddrs(rng);
    const made = [
      [mapped.ofEndpoint(id), ENDPOINT_ID_SUBNET],
      [mapped.ofRelay(relay, id.toBytes()), RELAY_MAPPED_SUBNET],
      [mapped.ofRelay(relay, other.toBytes()), RELAY_MAPPED_SUBNET],
      [mapped.ofRelay(RelayUrl.parse('https://relay.example./'), id.toBytes()), RELAY_MAPPED_SUBNET],
      [mapped.ofCustom(32n, Uint8Array.of(1)), CUSTOM_MAPPED_SUBNET],
    ] as const;
    for (const [addr, subnet] of made) {
      expect([...addr.bytes.subarray(0, 8)]).toEqual([0xfd, 0x15, 0x07, 0x0a, 0x51, 0x0b, 0, subnet]);
      expect(addr.port).toBe(MAPPED_PORT);
    }
    expect(new Set(made.map(([addr]) => addr)).size).toBe(made.length);
  });

  test('lead back to what they stand for, and the same thing has the same address', () => {
    const mapped = new MappedAddrs(rng);
    const addr = mapped.ofRelay(relay, id.toBytes());
    expect(mapped.ofRelay(relay, other.toBytes())).not.toBe(addr);
    expect(mapped.ofRelay(relay, id.toBytes())).toBe(addr);
    expect(mapped.describe(addr)).toEqual({ type: 'relay', url: relay, endpointId: id });
    expect(formatRemoteAddr(mapped.describe(addr))).toBe('relay:https://relay.example/');
    expect(mapped.kindOf(addr)).toBe('relay');
    const custom = mapped.ofCustom(0x20n, Uint8Array.of(0xab));
    expect(formatRemoteAddr(mapped.describe(custom))).toBe('custom:20_ab');
    expect(mapped.kindOf(custom)).toBe('custom');
  });

  test('what a custom transport calls its peers is copied, also from a Buffer that it uses again', () => {
    const mapped = new MappedAddrs(rng);
    const name = Buffer.from('kim');
    const addr = mapped.ofCustom(0x20n, name);
    name.fill(0);
    expect(formatRemoteAddr(mapped.describe(addr))).toBe('custom:20_6b696d');
    const shown = mapped.describe(addr);
    if (shown.type === 'custom') shown.data.fill(0);
    expect(formatRemoteAddr(shown)).toBe('custom:20_000000');
    expect(formatRemoteAddr(mapped.describe(addr))).toBe('custom:20_6b696d');
  });

  test('foreign unique local addresses are IP addresses, whatever they look like', () => {
    const mapped = new MappedAddrs(rng);
    const foreign = toAddr('fd15:70a:510b:1::7', MAPPED_PORT);
    expect(mapped.lookup(foreign)).toBeUndefined();
    expect(mapped.kindOf(foreign)).toBe('ipv6');
    expect(mapped.describe(foreign)).toEqual({ type: 'ip', addr: foreign });
  });

  test('a flood of sources on a relay forgets the oldest that nobody holds, and only those', () => {
    const mapped = new MappedAddrs(rng);
    const held = mapped.ofRelay(relay, id.toBytes());
    mapped.hold(held);
    const first = mapped.ofRelay(relay, new Uint8Array(32));
    const source = new Uint8Array(32);
    for (let i = 1; i <= MAX_UNHELD_MAPPED_ADDRS; i++) {
      new DataView(source.buffer).setUint32(0, i);
      mapped.ofRelay(relay, source);
    }
    expect(mapped.size).toBe(MAX_UNHELD_MAPPED_ADDRS + 1);
    expect(mapped.lookup(first)).toBeUndefined();
    expect(mapped.lookup(held)).toBeDefined();
    mapped.release(held);
    expect(mapped.lookup(held)).toBeDefined();
    expect(mapped.size).toBe(MAX_UNHELD_MAPPED_ADDRS);
  });

  test('an address that is in use stays while others are forgotten: a flood does not cut off who is connecting', () => {
    const mapped = new MappedAddrs(rng);
    const used = mapped.ofRelay(relay, id.toBytes());
    const source = new Uint8Array(32);
    for (let i = 1; i <= 2 * MAX_UNHELD_MAPPED_ADDRS; i++) {
      new DataView(source.buffer).setUint32(0, i);
      mapped.ofRelay(relay, source);
      if (i % 100 === 0) expect(mapped.ofRelay(relay, id.toBytes())).toBe(used);
    }
    expect(mapped.lookup(used)).toBeDefined();
  });
});
