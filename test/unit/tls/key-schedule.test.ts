import { describe, expect, test } from '@jest/globals';
import { x25519FromSecret } from '#crypto/key-exchange';
import { EMPTY, fromHex, toHex, utf8 } from '../../../src/base/bytes.ts';
import { decodeClientHello } from '../../../src/tls/client-hello.ts';
import {
  KeySchedule,
  exportKeyingMaterial,
  finishedMac,
  isFinishedMac,
  ticketPsk,
} from '../../../src/tls/key-schedule.ts';
import { decodeNewSessionTicket } from '../../../src/tls/messages.ts';
import { RETRY_RANDOM, decodeServerHello } from '../../../src/tls/server-hello.ts';
import { Transcript } from '../../../src/tls/transcript.ts';
import { loadVectors } from '../../support/vectors.ts';

type Hex<K extends string> = Readonly<Record<K, string>>;

interface Rfc8448 {
  readonly full: {
    readonly clientX25519: string;
    readonly serverX25519: string;
    readonly sharedSecret: string;
    readonly messages: Hex<
      | 'clientHello'
      | 'serverHello'
      | 'encryptedExtensions'
      | 'certificate'
      | 'certificateVerify'
      | 'serverFinished'
      | 'clientFinished'
      | 'newSessionTicket'
    >;
    readonly secrets: Hex<
      | 'clientHandshakeTraffic'
      | 'serverHandshakeTraffic'
      | 'clientApplicationTraffic'
      | 'serverApplicationTraffic'
      | 'exporterMaster'
      | 'resumptionMaster'
      | 'ticketPsk'
    >;
  };
  readonly resumed: {
    readonly clientX25519: string;
    readonly serverX25519: string;
    readonly sharedSecret: string;
    readonly messages: Hex<
      | 'clientHello'
      | 'serverHello'
      | 'encryptedExtensions'
      | 'serverFinished'
      | 'endOfEarlyData'
      | 'clientFinished'
    >;
    readonly secrets: Hex<
      | 'binder'
      | 'clientEarlyTraffic'
      | 'clientHandshakeTraffic'
      | 'serverHandshakeTraffic'
      | 'clientApplicationTraffic'
      | 'serverApplicationTraffic'
      | 'exporterMaster'
      | 'resumptionMaster'
    >;
  };
  readonly helloRetryRequest: {
    readonly sharedSecret: string;
    readonly transcriptHash: string;
    readonly messages: Hex<'clientHello1' | 'helloRetryRequest' | 'clientHello2' | 'serverHello'>;
    readonly secrets: Hex<'clientHandshakeTraffic' | 'serverHandshakeTraffic'>;
  };
}

const vectors = loadVectors<Rfc8448>('rfc8448');

/** The body of a Finished message. */
const verifyData = (message: string): string => message.slice(8);

describe('RFC 8448', () => {
  test('§3: every secret of a simple 1-RTT handshake', () => {
    const { messages, secrets, sharedSecret, clientX25519, serverX25519 } = vectors.full;
    const clientHello = decodeClientHello(fromHex(messages.clientHello));
    const serverHello = decodeServerHello(fromHex(messages.serverHello));
    expect(serverHello.isRetry).toBe(false);
    expect(toHex(x25519FromSecret(fromHex(clientX25519)).sharedSecret(serverHello.keyShare!.key)!)).toBe(
      sharedSecret,
    );
    expect(toHex(x25519FromSecret(fromHex(serverX25519)).sharedSecret(clientHello.x25519Share!)!)).toBe(
      sharedSecret,
    );

    const schedule = new KeySchedule('sha256', undefined);
    const transcript = new Transcript('sha256');
    transcript.update(fromHex(messages.clientHello + messages.serverHello));
    const handshake = schedule.enterHandshake(fromHex(sharedSecret), transcript.digest());
    expect(toHex(handshake.client)).toBe(secrets.clientHandshakeTraffic);
    expect(toHex(handshake.server)).toBe(secrets.serverHandshakeTraffic);

    transcript.update(
      fromHex(messages.encryptedExtensions + messages.certificate + messages.certificateVerify),
    );
    expect(toHex(finishedMac('sha256', handshake.server, transcript.digest()))).toBe(
      verifyData(messages.serverFinished),
    );
    transcript.update(fromHex(messages.serverFinished));
    const atServerFinished = transcript.digest();
    const application = schedule.enterApplication(atServerFinished);
    expect(toHex(application.client)).toBe(secrets.clientApplicationTraffic);
    expect(toHex(application.server)).toBe(secrets.serverApplicationTraffic);
    expect(toHex(schedule.exporter(atServerFinished))).toBe(secrets.exporterMaster);

    expect(
      isFinishedMac(
        'sha256',
        handshake.client,
        atServerFinished,
        fromHex(verifyData(messages.clientFinished)),
      ),
    ).toBe(true);
    transcript.update(fromHex(messages.clientFinished));
    const resumption = schedule.resumption(transcript.digest());
    expect(toHex(resumption)).toBe(secrets.resumptionMaster);

    const ticket = decodeNewSessionTicket(fromHex(messages.newSessionTicket));
    expect({ ...ticket, ticket: ticket.ticket.length, nonce: toHex(ticket.nonce) }).toEqual({
      lifetimeSeconds: 30,
      ageAdd: 0xfad6aac5,
      nonce: '0000',
      ticket: 178,
      maxEarlyData: 1024,
    });
    expect(toHex(ticketPsk('sha256', resumption, ticket.nonce))).toBe(secrets.ticketPsk);
  });

  test('§4: binder, early and later secrets of a resumed handshake', () => {
    const { messages, secrets, sharedSecret, clientX25519 } = vectors.resumed;
    const schedule = new KeySchedule('sha256', fromHex(vectors.full.secrets.ticketPsk));
    const transcript = new Transcript('sha256');
    const bytes = fromHex(messages.clientHello);
    const hello = decodeClientHello(bytes);
    expect(hello.earlyData).toBe(true);
    expect(hello.psk?.identities).toHaveLength(1);
    expect(toHex(hello.psk!.binders[0]!)).toBe(secrets.binder);
    const { truncatedLength } = hello.psk!;
    transcript.update(bytes.subarray(0, truncatedLength));
    expect(toHex(schedule.binder(transcript.digest()))).toBe(secrets.binder);
    transcript.update(bytes.subarray(truncatedLength));
    expect(toHex(schedule.clientEarlyTraffic(transcript.digest()))).toBe(secrets.clientEarlyTraffic);

    const serverHello = decodeServerHello(fromHex(messages.serverHello));
    expect(serverHello.pskIndex).toBe(0);
    expect(toHex(x25519FromSecret(fromHex(clientX25519)).sharedSecret(serverHello.keyShare!.key)!)).toBe(
      sharedSecret,
    );
    transcript.update(fromHex(messages.serverHello));
    const handshake = schedule.enterHandshake(fromHex(sharedSecret), transcript.digest());
    expect(toHex(handshake.client)).toBe(secrets.clientHandshakeTraffic);
    expect(toHex(handshake.server)).toBe(secrets.serverHandshakeTraffic);
    transcript.update(fromHex(messages.encryptedExtensions));
    expect(toHex(finishedMac('sha256', handshake.server, transcript.digest()))).toBe(
      verifyData(messages.serverFinished),
    );
    transcript.update(fromHex(messages.serverFinished));
    const application = schedule.enterApplication(transcript.digest());
    expect(toHex(application.client)).toBe(secrets.clientApplicationTraffic);
    expect(toHex(application.server)).toBe(secrets.serverApplicationTraffic);
    expect(toHex(schedule.exporter(transcript.digest()))).toBe(secrets.exporterMaster);
    transcript.update(fromHex(messages.endOfEarlyData));
    expect(toHex(finishedMac('sha256', handshake.client, transcript.digest()))).toBe(
      verifyData(messages.clientFinished),
    );
    transcript.update(fromHex(messages.clientFinished));
    expect(toHex(schedule.resumption(transcript.digest()))).toBe(secrets.resumptionMaster);
  });

  test('§5: the transcript after a HelloRetryRequest', () => {
    const { messages, secrets, sharedSecret, transcriptHash } = vectors.helloRetryRequest;
    const retry = decodeServerHello(fromHex(messages.helloRetryRequest));
    expect(retry.isRetry).toBe(true);
    expect(retry.keyShare).toEqual({ group: 0x0017, key: EMPTY });
    expect(retry.cookie).toHaveLength(0x72);
    expect(decodeClientHello(fromHex(messages.clientHello2)).x25519Share).toBeUndefined();

    const transcript = Transcript.afterRetry('sha256', fromHex(messages.clientHello1));
    transcript.update(fromHex(messages.helloRetryRequest + messages.clientHello2 + messages.serverHello));
    expect(toHex(transcript.digest())).toBe(transcriptHash);
    const schedule = new KeySchedule('sha256', undefined);
    const handshake = schedule.enterHandshake(fromHex(sharedSecret), transcript.digest());
    expect(toHex(handshake.client)).toBe(secrets.clientHandshakeTraffic);
    expect(toHex(handshake.server)).toBe(secrets.serverHandshakeTraffic);
  });
});

test('the random of a HelloRetryRequest is the hash of its name', () => {
  const transcript = new Transcript('sha256');
  transcript.update(utf8('HelloRetryRequest'));
  expect(transcript.digest()).toEqual(RETRY_RANDOM);
});

test('the exporter separates labels, contexts and lengths', () => {
  const secret = new Uint8Array(48).fill(7);
  const one = (label: string, context: string, length: number): string =>
    toHex(exportKeyingMaterial('sha384', secret, label, utf8(context), length));
  const outputs = [one('a', '', 48), one('a', 'x', 48), one('b', '', 48), one('a', '', 100)];
  expect(new Set(outputs.map((output) => output.slice(0, 64))).size).toBe(4);
  expect(one('a', '', 100)).toHaveLength(200);
  expect(() => one('a', '', 255 * 48 + 1)).toThrow(RangeError);
});
