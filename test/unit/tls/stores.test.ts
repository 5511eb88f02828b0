import { describe, expect, test } from '@jest/globals';
import { EMPTY, fromHex, utf8 } from '../../../src/base/bytes.ts';
import { ed25519PublicKey } from '../../../src/crypto/signature.ts';
import { endpointIdFromTlsName, endpointTlsName } from '../../../src/tls/endpoint-name.ts';
import { MAX_SESSIONS, MemorySessionStore } from '../../../src/tls/session-store.ts';
import type { ServerSession, StoredTicket } from '../../../src/tls/session.ts';
import { MAX_TICKETS_PER_NAME, MAX_TICKET_NAMES, MemoryTicketStore } from '../../../src/tls/ticket-store.ts';
import { NOW, seededRng } from '../../support/tls-pair.ts';

const DAY = 86_400_000;

function ticket(ageAdd: number, changes: Partial<StoredTicket> = {}): StoredTicket {
  return {
    ticket: EMPTY,
    psk: EMPTY,
    suite: 'TLS_AES_128_GCM_SHA256',
    lifetimeSeconds: 86_400,
    ageAdd,
    receivedAt: NOW,
    maxEarlyData: 0,
    alpn: EMPTY,
    transportParameters: EMPTY,
    peer: undefined,
    ...changes,
  };
}

describe('MemoryTicketStore', () => {
  test('newest first, each once, by name', () => {
    const store = new MemoryTicketStore();
    store.put('a', ticket(1));
    store.put('b', ticket(2));
    store.put('a', ticket(3));
    expect([store.take('a', NOW)?.ageAdd, store.take('a', NOW)?.ageAdd, store.take('a', NOW)]).toEqual([
      3,
      1,
      undefined,
    ]);
    expect(store.take('b', NOW)?.ageAdd).toBe(2);
    expect(store.take('c', NOW)).toBeUndefined();
    expect(store.size).toBe(0);
  });

  test('keeps eight per name', () => {
    const store = new MemoryTicketStore();
    for (let i = 0; i < 20; i++) store.put('a', ticket(i));
    const taken: (number | undefined)[] = [];
    for (let one = store.take('a', NOW); one !== undefined; one = store.take('a', NOW))
      taken.push(one.ageAdd);
    expect(taken).toEqual([19, 18, 17, 16, 15, 14, 13, 12]);
    expect(MAX_TICKETS_PER_NAME).toBe(8);
  });

  test('keeps 32 names; a new ticket keeps its name', () => {
    const store = new MemoryTicketStore();
    for (let i = 0; i < MAX_TICKET_NAMES; i++) store.put(`${i}`, ticket(i));
    store.put('0', ticket(100));
    store.put('new', ticket(200));
    expect([store.size, MAX_TICKET_NAMES]).toEqual([32, 32]);
    expect(store.take('1', NOW)).toBeUndefined();
    expect(store.take('0', NOW)?.ageAdd).toBe(100);
  });

  test('expired tickets are gone, after seven days at the latest', () => {
    const store = new MemoryTicketStore();
    store.put('a', ticket(1, { lifetimeSeconds: 0xffff_ffff }));
    store.put('a', ticket(2, { lifetimeSeconds: 60 }));
    expect(store.take('a', NOW + 60_000)?.ageAdd).toBe(1);
    store.put('a', ticket(1, { lifetimeSeconds: 0xffff_ffff }));
    expect(store.take('a', NOW + 7 * DAY)).toBeUndefined();
    expect(store.size).toBe(0);
  });
});

describe('MemorySessionStore', () => {
  const session = (ageAdd: number): ServerSession => ({
    psk: EMPTY,
    suite: 'TLS_AES_128_GCM_SHA256',
    ageAdd,
    issuedAt: NOW,
    lifetimeSeconds: 86_400,
    alpn: EMPTY,
    sni: undefined,
    peer: undefined,
  });

  test('each ticket works once, for a day', () => {
    const store = new MemorySessionStore();
    const rng = seededRng('sessions');
    const [a, b] = [store.put(session(1), rng), store.put(session(2), rng)];
    expect(a).toHaveLength(32);
    expect(store.take(a, NOW)?.ageAdd).toBe(1);
    expect(store.take(a, NOW)).toBeUndefined();
    expect(store.take(b, NOW + DAY)).toBeUndefined();
    expect(store.size).toBe(0);
  });

  test('foreign tickets are nothing', () => {
    const store = new MemorySessionStore();
    store.put(session(1), seededRng('sessions'));
    for (const foreign of [EMPTY, utf8('x'), new Uint8Array(32), new Uint8Array(60_000)])
      expect(store.take(foreign, NOW)).toBeUndefined();
    expect(store.size).toBe(1);
  });

  test('holds 256; the oldest goes', () => {
    const store = new MemorySessionStore();
    const rng = seededRng('sessions');
    const tickets = Array.from({ length: 300 }, (_, i) => store.put(session(i), rng));
    expect([store.size, MAX_SESSIONS]).toEqual([256, 256]);
    expect(store.take(tickets[43]!, NOW)).toBeUndefined();
    expect(store.take(tickets[44]!, NOW)?.ageAdd).toBe(44);
  });
});

describe('TLS names of endpoints', () => {
  const name = '7dl2ff6emqi2qol3l382krodedij45bn3nh479hqo14a32qpr8kg.iroh.invalid';

  test('the name of the key of 32 zero bytes', () => {
    const id = ed25519PublicKey(new Uint8Array(32));
    expect(endpointTlsName(id)).toBe(name);
    expect(endpointIdFromTlsName(name)).toEqual(id);
    expect(endpointIdFromTlsName(name.toUpperCase().replace('.IROH.INVALID', '.iroh.invalid'))).toEqual(id);
  });

  test('everything else is no such name', () => {
    for (const other of [
      '',
      '.iroh.invalid',
      'example.org',
      name.slice(1),
      `0${name}`,
      name.replace('.iroh.invalid', ''),
      name.replace('7', 'z'),
      // bits behind the last byte
      name.replace('kg.', 'kh.'),
      `x.${name}`,
    ])
      expect(endpointIdFromTlsName(other)).toBeUndefined();
  });

  test('an id has 32 bytes', () => {
    expect(() => endpointTlsName(fromHex('00'))).toThrow(RangeError);
  });
});
