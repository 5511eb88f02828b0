import { expect, test } from '@jest/globals';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { isPortalAnswer, portalQuestion } from '../../../src/net-report/captive-portal.ts';
import { answerHttp } from '../../../src/relay/server/http.ts';

test.each([
  ['https://relay.example./', 'http://relay.example./generate_204', 'ts_relay.example.'],
  ['https://relay.example:8443/a?b', 'http://relay.example/generate_204', 'ts_relay.example'],
  ['http://127.0.0.1:3340/', 'http://127.0.0.1:3340/generate_204', 'ts_127.0.0.1'],
  ['https://[2001:db8::1]/', 'http://[2001:db8::1]/generate_204', 'ts__2001_db8__1_'],
  [
    `https://${'long.'.repeat(20)}example/`,
    `http://${'long.'.repeat(20)}example/generate_204`,
    `ts_${'long.'.repeat(12)}`,
  ],
])('%s: our own relay server gives the answer that is expected', (url, asked, challenge) => {
  const question = portalQuestion(RelayUrl.parse(url));
  expect(question.url).toBe(asked);
  expect(question.headers['x-iroh-challenge']).toBe(challenge);
  const { status, headers } = answerHttp(
    {
      method: 'GET',
      path: new URL(question.url).pathname,
      header: (name) => question.headers[name],
    },
    'captivePortal',
    '1',
  );
  const lowerCase = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  expect(isPortalAnswer(question, { status, headers: lowerCase })).toBe(false);
  expect(isPortalAnswer(question, { status: 200, headers: lowerCase })).toBe(true);
});
