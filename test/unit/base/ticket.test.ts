import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DecodeError, concatBytes, fromHex, toHex, utf8 } from '../../../src/base/bytes.ts';
import { decodeBase32, encodeBase32 } from '../../../src/base/encoding.ts';
import { EndpointAddr } from '../../../src/base/endpoint-addr.ts';
import { ParseError } from '../../../src/base/parse-error.ts';
import { MAX_TICKET_CHARS } from '../../../src/base/ticket.ts';
import { parseTransportAddr } from '../../../src/base/transport-addr.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';
import { anyEndpointAddr } from '../../support/arbitraries.ts';
import { loadVectors } from '../../support/vectors.ts';

interface TicketVector {
  name: string;
  seed: string;
  addrs: string[];
  ticket: string;
}

const VECTORS = loadVectors<TicketVector[]>('tickets');
const ID = '197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61';

/** A ticket of hand-made payload bytes. */
function ticketOf(...parts: (string | Uint8Array)[]): string {
  return `endpoint${encodeBase32(concatBytes(...parts.map((p) => (typeof p === 'string' ? fromHex(p) : p))))}`;
}

function codeOf(text: string): string {
  try {
    return EndpointAddr.fromTicket(text).addrs.length.toString();
  } catch (error) {
    if (error instanceof ParseError) return error.code;
    throw error;
  }
}

describe('L02: tickets', () => {
  test.each(VECTORS.map((v) => [v.name, v] as const))('%s, as iroh writes it', (_, v) => {
    const id = SecretKey.fromBytes(new Uint8Array(32).fill(Number.parseInt(v.seed, 16))).publicKey;
    const addr = new EndpointAddr(id, v.addrs.map(parseTransportAddr));
    expect(addr.toTicket()).toBe(v.ticket);
    expect(EndpointAddr.fromTicket(v.ticket).equals(addr)).toBe(true);
    const { length } = 'endpoint';
    expect(
      EndpointAddr.fromTicket(v.ticket.slice(0, length) + v.ticket.slice(length).toUpperCase()).equals(addr),
    ).toBe(true);
  });

  test('come back, custom addresses too', () => {
    fc.assert(
      fc.property(anyEndpointAddr, (addr) => {
        const ticket = addr.toTicket();
        const back = EndpointAddr.fromTicket(ticket);
        expect(back.equals(addr)).toBe(true);
        expect(back.toTicket()).toBe(ticket);
      }),
    );
  });
});

test('reads unsorted addresses and duplicates', () => {
  const ticket = ticketOf('00', ID, '03', '01007f00000150', '01000a00000150', '01007f00000150');
  expect(EndpointAddr.fromTicket(ticket).ips.map(String)).toEqual(['10.0.0.1:80', '127.0.0.1:80']);
});

test('ignores what follows the last address', () => {
  expect(codeOf(ticketOf('00', ID, '01', '01007f00000150', 'ffff'))).toBe('1');
});

test('normalises relay URLs', () => {
  const url = utf8('HTTPS://A');
  expect(EndpointAddr.fromTicket(ticketOf('00', ID, '01', '0009', url)).relays[0]!.href).toBe('https://a/');
});

describe('custom addresses', () => {
  test('are read in the layout of iroh up to 1.0.3', () => {
    const short = `0220${'00'}03aabbcc${'00'.repeat(27)}`;
    expect(EndpointAddr.fromTicket(ticketOf('00', ID, '01', short)).toString()).toBe(
      `${ID} custom:20_aabbcc`,
    );
    const long = `0220${'01'}1f${'ab'.repeat(31)}`;
    expect(EndpointAddr.fromTicket(ticketOf('00', ID, '02', short, long)).toString()).toBe(
      `${ID} custom:20_aabbcc custom:20_${'ab'.repeat(31)}`,
    );
    // the enum arm for long data, used for short data
    expect(EndpointAddr.fromTicket(ticketOf('00', ID, '01', '02200102aabb')).toString()).toBe(
      `${ID} custom:20_aabb`,
    );
  });

  test('are read in the plain layout of later sources', () => {
    expect(EndpointAddr.fromTicket(ticketOf('00', ID, '01', '022003aabbcc')).toString()).toBe(
      `${ID} custom:20_aabbcc`,
    );
    expect(EndpointAddr.fromTicket(ticketOf('00', ID, '02', '022000', '01007f00000150')).toString()).toBe(
      `${ID} ip:127.0.0.1:80 custom:20_`,
    );
  });

  test('are written in the layout that released versions read', () => {
    const addr = EndpointAddr.fromTicket(ticketOf('00', ID, '01', '022003aabbcc'));
    const payload = decodeBase32(addr.toTicket().slice('endpoint'.length));
    expect(toHex(payload.subarray(34))).toBe(`02200003aabbcc${'00'.repeat(27)}`);
  });
});

test.each([
  ['', 'Prefix'],
  ['nodeacfi', 'Prefix'],
  ['ENDPOINTacfi', 'Prefix'],
  [' endpoint', 'Prefix'],
  ['endpoint', 'Payload'],
  ['endpointa', 'Encoding'],
  ['endpoint!!', 'Encoding'],
  [`${VECTORS[0]!.ticket} `, 'Encoding'],
  [`${VECTORS[0]!.ticket}====`, 'Encoding'],
  [ticketOf('01', ID, '00'), 'Variant'],
  [ticketOf('00', ID), 'Payload'],
  [ticketOf('00', ID.slice(2)), 'Payload'],
  [ticketOf('00', ID, '01'), 'Payload'],
  [ticketOf('00', ID, '01', '03'), 'Variant'],
  [ticketOf('00', ID, '01', '0102'), 'Variant'],
  [ticketOf('00', ID, '01', '01007f000001808004'), 'Payload'], // port 65536
  [ticketOf('00', ID, '01', '0003', utf8('abc')), 'RelayUrl'],
  [ticketOf('00', ID, '01', '0002c328'), 'Payload'], // not UTF-8
  [ticketOf('00', ID, '01', '022005aa'), 'Payload'],
  [ticketOf('00', ID, '01', `0220${'00'}1f${'00'.repeat(30)}`, 'ff'), '1'], // size 31 of 30: the plain reading is left
  [ticketOf('00', ID, 'ffffffffffffffffff01'), 'Payload'],
  [ticketOf('00', `02${'00'.repeat(31)}`, '00'), 'EndpointId.NotAPoint'],
  [`endpoint${'a'.repeat(MAX_TICKET_CHARS)}`, 'TooLong'],
])('%# is refused or read: %.40s', (text, leaf) => {
  expect(codeOf(text)).toMatch(new RegExp(`(^|\\.)${leaf}$`));
});

test('whatever the payload, the outcome is an address or a ParseError', () => {
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.uint8Array({ maxLength: 100 }).map((tail) => concatBytes(fromHex(`00${ID}`), tail)),
    fc.tuple(anyEndpointAddr, fc.nat(), fc.nat(255)).map(([addr, at, value]) => {
      const bytes = decodeBase32(addr.toTicket().slice('endpoint'.length));
      bytes[at % bytes.length] = value;
      return bytes;
    }),
  );
  fc.assert(
    fc.property(payload, (bytes) => {
      try {
        const addr = EndpointAddr.fromTicket(ticketOf(bytes));
        expect(EndpointAddr.fromTicket(addr.toTicket()).equals(addr)).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(ParseError);
        expect(error).not.toBeInstanceOf(DecodeError);
      }
    }),
    { numRuns: 500 },
  );
});
