/**
 * What users paste: `| form | bytes |`, where the bytes are a ticket's content or any text.
 *
 * @module
 */
import { concatBytes, fromHex, fromLatin1, utf8 } from '../../../src/base/bytes.ts';
import { encodeBase32 } from '../../../src/base/encoding.ts';
import { EndpointAddr } from '../../../src/base/endpoint-addr.ts';
import { EndpointId } from '../../../src/base/endpoint-id.ts';
import { ParseError } from '../../../src/base/parse-error.ts';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { toAddr } from '../../../src/base/socket-addr.ts';
import { decodeTicket } from '../../../src/base/ticket.ts';
import { formatTransportAddr, parseTransportAddr } from '../../../src/base/transport-addr.ts';
import { serverKey } from '../../support/tls-pair.ts';
import { must, refused, type Target } from '../target.ts';

const ID = EndpointId.fromBytes(serverKey);
const ADDRS = [
  { type: 'relay', url: RelayUrl.parse('https://relay.example./') },
  { type: 'ip', addr: toAddr('192.0.2.1', 4433) },
  { type: 'ip', addr: toAddr('2001:db8::1', 1) },
  { type: 'custom', id: 7n, data: Uint8Array.of(1, 2, 3) },
  { type: 'custom', id: 2n ** 64n - 1n, data: new Uint8Array(40) },
] as const;

const FORMS = ['payload', 'text', 'address', 'json'] as const;
type Form = (typeof FORMS)[number];

function input(form: Form, bytes: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(FORMS.indexOf(form)), bytes);
}

/** Content of a ticket with one address, given in hex from its kind on. */
function payload(addr: string): Uint8Array {
  return input('payload', concatBytes(Uint8Array.of(0), serverKey, Uint8Array.of(1), fromHex(addr)));
}

function parse(form: Form, bytes: Uint8Array): void {
  switch (form) {
    case 'payload':
    case 'text': {
      const text = form === 'text' ? fromLatin1Bytes(bytes) : `endpoint${encodeBase32(bytes)}`;
      if (form === 'payload') decodeTicket(text);
      const addr = EndpointAddr.from(text);
      must(EndpointAddr.fromTicket(addr.toTicket()).equals(addr), 'another meaning after a round trip');
      must(EndpointAddr.fromJSON(JSON.parse(JSON.stringify(addr))).equals(addr), 'another meaning as JSON');
      return;
    }
    case 'address': {
      const addr = parseTransportAddr(fromLatin1Bytes(bytes));
      const text = formatTransportAddr(addr);
      must(formatTransportAddr(parseTransportAddr(text)) === text, 'another meaning after a round trip');
      return;
    }
    case 'json': {
      let json: unknown;
      try {
        json = JSON.parse(fromLatin1Bytes(bytes));
      } catch {
        return;
      }
      EndpointAddr.fromJSON(json);
    }
  }
}

/** One character per byte. */
function fromLatin1Bytes(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

export const ticket: Target = {
  name: 'ticket',
  decoders: [
    { file: 'src/base/ticket.ts', except: /^(encode|write)/ },
    { file: 'src/base/postcard.ts', except: /^write/ },
  ],
  maxLength: 400,
  maxWork: 20_000,
  seeds: () => {
    const addr = new EndpointAddr(ID, ADDRS);
    return [
      input('text', fromLatin1(addr.toTicket())),
      input('text', fromLatin1(new EndpointAddr(ID).toTicket())),
      input('text', fromLatin1(ID.toString())),
      input('json', utf8(JSON.stringify(addr))),
      ...ADDRS.map((one) => input('address', utf8(formatTransportAddr(one)))),
      payload('0100c000020101'),
      payload('0101200100000000000000000000000000010a'),
      payload('000968747470733a2f2f68'),
      payload('0207031122ff'), // custom, plain layout
      payload(`0207000200${'00'.repeat(30)}`), // custom, released layout
      payload('02070102aabb'),
    ];
  },
  dictionary: [utf8('endpoint'), utf8('relay:'), utf8('ip:'), utf8('custom:'), utf8('https://'), utf8('::')],
  run: (bytes) => {
    const form = FORMS[(bytes[0] ?? 0) % FORMS.length]!;
    refused(
      () => parse(form, bytes.subarray(1)),
      (error) => error instanceof ParseError,
    );
  },
};
