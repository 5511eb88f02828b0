/**
 * What pkarr servers answer: `| form | bytes |`, where the bytes are a signed packet, or a DNS message that its key has signed,
 * or text of TXT records, one a line.
 *
 * @module
 */
import { fromTxtStrings, toTxtStrings } from '../../../src/address-lookup/endpoint-info.ts';
import { SignedPacket, fitIntoPacket } from '../../../src/address-lookup/signed-packet.ts';
import { concatBytes, fromHex, fromUtf8, utf8 } from '../../../src/base/bytes.ts';
import { PkarrError } from '../../../src/base/errors.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';
import { must, refused, type Target } from '../target.ts';

const KEY = SecretKey.fromBytes(new Uint8Array(32).fill(0x2a));
const ID = KEY.publicKey;
const TIMESTAMP = 1_700_000_000_000_000n;
const STRINGS = ['relay=https://r.example/', 'addr=192.0.2.1:1', 'addr=[2001:db8::1]:2', 'user-data=x'];

const FORMS = ['packet', 'message', 'text'] as const;
const input = (form: (typeof FORMS)[number], bytes: Uint8Array): Uint8Array =>
  concatBytes(Uint8Array.of(FORMS.indexOf(form)), bytes);

/** As the key's owner, so that something gets behind the signature. */
function sign(dns: Uint8Array): Uint8Array {
  const timestamp = new Uint8Array(8);
  new DataView(timestamp.buffer).setBigUint64(0, TIMESTAMP);
  const signed = concatBytes(utf8(`3:seqi${TIMESTAMP}e1:v${dns.length}:`), dns);
  return concatBytes(KEY.sign(signed).toBytes(), timestamp, dns);
}

function read(strings: readonly string[]): void {
  const info = fromTxtStrings(ID, strings);
  const written = fitIntoPacket(ID, toTxtStrings(info));
  const packet = SignedPacket.sign(KEY, { strings: written, timestampMicros: TIMESTAMP });
  must(packet.txtStrings().join('\n') === written.join('\n'), 'other records after a round trip');
}

export const signedPacket: Target = {
  name: 'signed-packet',
  decoders: [
    { file: 'src/address-lookup/signed-packet.ts', except: /^(isNewerThan|toBytes|fromBytes)/ },
    { file: 'src/address-lookup/endpoint-info.ts' },
  ],
  maxLength: 1_200,
  maxWork: 200_000,
  seeds: () => {
    const packet = SignedPacket.sign(KEY, { strings: STRINGS, timestampMicros: TIMESTAMP });
    const payload = packet.toRelayPayload();
    return [
      input('packet', payload),
      input('packet', new Uint8Array(1_100)),
      input('message', payload.subarray(72)),
      input('message', fromHex('000080000000000000000000')),
      input('text', utf8(STRINGS.join('\n'))),
      input('text', utf8(`addr=7_0102\naddr=7_\nrelay=\nuser-data=${'x'.repeat(246)}`)),
    ];
  },
  dictionary: [utf8('relay='), utf8('addr='), utf8('user-data='), fromHex('c00c'), fromHex('00100001')],
  run: (bytes) => {
    const form = FORMS[(bytes[0] ?? 0) % FORMS.length]!;
    const rest = bytes.subarray(1);
    refused(
      () => {
        if (form === 'text') return read(fromUtf8(rest).split('\n'));
        const payload = form === 'packet' ? rest : sign(rest);
        const packet = SignedPacket.verify(ID, payload);
        must(fromUtf8(packet.toRelayPayload()) === fromUtf8(payload), 'another packet after a round trip');
        read(packet.txtStrings());
      },
      (error) => error instanceof PkarrError,
    );
  },
};
