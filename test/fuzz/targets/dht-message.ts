/**
 * What nodes of the DHT say: a datagram, as the client takes it.
 *
 * @module
 */
import {
  encodeReply,
  isItemOf,
  readReply,
  toItem,
  toSignedPacket,
  usableContacts,
} from '../../../src/address-lookup/dht-messages.ts';
import { encodeBencode, type Bencoded } from '../../../src/address-lookup/bencode.ts';
import { SignedPacket } from '../../../src/address-lookup/signed-packet.ts';
import { concatBytes, toHex, utf8 } from '../../../src/base/bytes.ts';
import { DhtError, PkarrError } from '../../../src/base/errors.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';
import { must, refused, type Target } from '../target.ts';

const KEY = SecretKey.fromBytes(new Uint8Array(32).fill(0x2a));
const CONTACT_BYTES = 26;

const contact = (...ip: number[]): Uint8Array => Uint8Array.of(...new Uint8Array(20), ...ip, 26, 225);

function response(...values: [string, Bencoded][]): Uint8Array {
  return encodeBencode(
    new Map<string, Bencoded>([
      ['r', new Map<string, Bencoded>([['id', new Uint8Array(20)], ...values])],
      ['t', utf8('aa')],
      ['y', utf8('r')],
    ]),
  );
}

export const dhtMessage: Target = {
  name: 'dht-message',
  decoders: [
    { file: 'src/address-lookup/bencode.ts', except: /^encode|^write/ },
    { file: 'src/address-lookup/dht-messages.ts', except: /^(encode|readQuery|toItem|optionalBytes)/ },
  ],
  maxLength: 4_200,
  maxWork: 400_000,
  seeds: () => {
    const packet = SignedPacket.sign(KEY, {
      strings: ['relay=https://r.example/'],
      timestampMicros: 1_700_000_000_000_000n,
    });
    const { key, signature, seq, value } = toItem(packet);
    return [
      response(),
      response(['nodes', concatBytes(contact(127, 0, 0, 1), contact(1, 1, 1, 1), contact(224, 0, 0, 1))]),
      response(['k', key], ['sig', signature], ['seq', seq], ['token', utf8('token')], ['v', value]),
      utf8('d1:eli201e7:genericee1:t2:aa1:y1:ee'.replace('ee1:t', 'e1:t')),
      utf8('d1:t4:\0\0aa1:y1:qe'),
      utf8('d1:t2:aa1:y1:xe'),
      utf8('l-3:e'),
      utf8('li-1ei0e0:e'),
      new Uint8Array(4_100),
    ];
  },
  dictionary: [
    utf8('5:nodes'),
    utf8('3:seqi'),
    utf8('1:v'),
    utf8('1:rd'),
    utf8('1:el'),
    utf8('e'),
    utf8('l'),
  ],
  run: (bytes) => {
    refused(
      () => {
        const reply = readReply(bytes);
        if (reply === undefined) return;
        const written = encodeReply(reply);
        must(toHex(encodeReply(readReply(written)!)) === toHex(written), 'another reply after a round trip');
        if (reply.kind === 'error') return;
        const [far, near] = [usableContacts(reply.contacts, false), usableContacts(reply.contacts, true)];
        must(far.length % CONTACT_BYTES === 0 && far.length <= near.length, 'contacts were made up');
        must(near.length <= reply.contacts.length, 'contacts were made up');
        if (reply.item === undefined) return;
        const packet = toSignedPacket(KEY.publicKey, reply.item);
        must(isItemOf(packet, reply.item), 'a packet is not the value that it was');
      },
      (error) => error instanceof DhtError || error instanceof PkarrError,
    );
  },
};
