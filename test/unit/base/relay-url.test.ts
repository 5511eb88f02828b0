import { expect, test } from '@jest/globals';
import { inspect } from 'node:util';
import { ParseError } from '../../../src/base/parse-error.ts';
import { RelayUrl } from '../../../src/base/relay-url.ts';

test.each([
  // as iroh 1.0.2 normalises them
  ['https://relay.example.com', 'https://relay.example.com/'],
  ['HTTPS://Relay.EXAMPLE.com.:443', 'https://relay.example.com./'],
  ['http://LOCALHOST:80/a/../b?x=1#f', 'http://localhost/b?x=1#f'],
  ['http://[::1]:3340', 'http://[::1]:3340/'],
  ['http://127.1/', 'http://127.0.0.1/'],
  ['https://bücher.example/', 'https://xn--bcher-kva.example/'],
  ['ws://a:80', 'ws://a/'],
  ['https://user:pw@a/', 'https://user:pw@a/'],
  ['foo://bar', 'foo://bar'],
  ['mailto:x@y', 'mailto:x@y'],
])('%s becomes %s', (text, href) => {
  const url = RelayUrl.parse(text);
  expect(url.href).toBe(href);
  expect(`${url}`).toBe(href);
  expect(JSON.stringify(url)).toBe(JSON.stringify(href));
  expect(url.equals(RelayUrl.parse(href))).toBe(true);
  expect(RelayUrl.parse(url.toUrl()).href).toBe(href);
});

test.each(['relay.example.com', '//a', '', 'https://', 'https://[::1', 'https://a:99999/'])(
  '%j is refused',
  (text) => {
    expect(() => RelayUrl.parse(text)).toThrow(ParseError);
  },
);

test('a trailing dot makes another relay', () => {
  expect(RelayUrl.parse('https://h/').equals(RelayUrl.parse('https://h./'))).toBe(false);
  expect(inspect(RelayUrl.parse('https://h'))).toBe('RelayUrl(https://h/)');
});
