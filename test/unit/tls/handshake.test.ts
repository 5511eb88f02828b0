import { describe, expect, test } from '@jest/globals';
import { equalBytes, utf8 } from '../../../src/base/bytes.ts';
import type { CipherSuiteName } from '../../../src/tls/session.ts';
import {
  TlsPair,
  clientConfig,
  clientKey,
  clientParameters,
  serverKey,
  serverParameters,
} from '../../support/tls-pair.ts';

const SUITES: CipherSuiteName[] = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
];

/** Both sides agree on everything that a finished handshake is about. */
function expectAgreement(pair: TlsPair): void {
  expect(pair.alert).toBeUndefined();
  expect([pair.client.isComplete, pair.server.isComplete]).toEqual([true, true]);
  for (const type of ['handshakeKeys', 'applicationKeys'] as const) {
    const client = pair.one('client', type).secrets;
    const server = pair.one('server', type).secrets;
    expect(client.suite).toBe(server.suite);
    expect(client.read).toEqual(server.write);
    expect(client.write).toEqual(server.read);
  }
  expect(pair.one('client', 'alpn')).toEqual(pair.one('server', 'alpn'));
  expect(pair.one('client', 'transportParameters').data).toEqual(serverParameters);
  expect(pair.one('server', 'transportParameters').data).toEqual(clientParameters);
  const exported = pair.client.exportKeyingMaterial(40, 'EXPORTER-test', utf8('context'));
  expect(pair.server.exportKeyingMaterial(40, 'EXPORTER-test', utf8('context'))).toEqual(exported);
  expect(equalBytes(pair.client.exportKeyingMaterial(40, 'EXPORTER-test', utf8('other')), exported)).toBe(
    false,
  );
}

describe('a full handshake with raw public keys', () => {
  test.each(SUITES)('%s', (suite) => {
    const pair = new TlsPair({ client: clientConfig({ suites: [suite] }) }).run();
    expectAgreement(pair);
    expect(pair.one('client', 'handshakeKeys').secrets.suite).toBe(suite);
    expect(pair.one('client', 'complete')).toEqual({
      type: 'complete',
      peer: { type: 'rawPublicKey', publicKey: serverKey },
      resumed: false,
    });
    expect(pair.one('server', 'complete')).toEqual({
      type: 'complete',
      peer: { type: 'rawPublicKey', publicKey: clientKey },
      resumed: false,
    });
  });
});
