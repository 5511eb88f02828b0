import { expect, test } from '@jest/globals';
import { RelayUrl } from '../../../src/base/relay-url.ts';
import { RelayMap, type RelayConfig } from '../../../src/relay/relay-map.ts';

const config = (url: string, more: Partial<RelayConfig> = {}): RelayConfig => ({
  url: RelayUrl.parse(url),
  quicPort: undefined,
  authToken: undefined,
  ...more,
});

test('relays by URL, in the order of the URLs', () => {
  const map = new RelayMap([config('https://b/'), config('https://a./'), config('https://a/')]);
  expect([...map].map(({ url }) => url.href)).toEqual(['https://a./', 'https://a/', 'https://b/']);
  expect(map.size).toBe(3);
  expect(map.has(RelayUrl.parse('https://A'))).toBe(true);
  expect(map.get(RelayUrl.parse('https://c/'))).toBeUndefined();
});

test('set and delete return what was there, and tell of changes only', () => {
  const map = new RelayMap();
  let changes = 0;
  map.onChange = () => changes++;
  const first = config('https://a/');
  expect(map.set(first)).toBeUndefined();
  expect(map.set(config('https://a/'))).toBe(first);
  expect(changes).toBe(1);
  const withToken = config('https://a/', { authToken: 'x' });
  expect(map.set(withToken)).toMatchObject({ authToken: undefined });
  expect(changes).toBe(2);
  expect(map.delete(first.url)).toBe(withToken);
  expect(map.delete(first.url)).toBeUndefined();
  expect(changes).toBe(3);
  expect(map.size).toBe(0);
});

test('port 0 of address discovery is the usual port', () => {
  const map = new RelayMap([config('https://a/', { quicPort: 0 })]);
  map.set(config('https://b/', { quicPort: 0 }));
  expect([...map].map(({ quicPort }) => quicPort)).toEqual([7_842, 7_842]);
});
