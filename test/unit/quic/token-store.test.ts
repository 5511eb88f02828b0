import { describe, expect, test } from '@jest/globals';
import { MAX_TOKEN_NAMES, MAX_TOKENS_PER_NAME, TokenStore } from '../../../src/quic/token-store.ts';

const token = (n: number): Uint8Array => Uint8Array.of(n);

describe('tokens of servers', () => {
  test('are taken once, the newest first', () => {
    const store = new TokenStore();
    store.put('a', token(1));
    store.put('a', token(2));
    expect([store.take('a'), store.take('a'), store.take('a')]).toEqual([token(2), token(1), undefined]);
  });

  test('belong to one name', () => {
    const store = new TokenStore();
    store.put('a', token(1));
    expect(store.take('b')).toBeUndefined();
    expect(store.take('a')).toEqual(token(1));
  });

  test('beyond the limit per name push out the oldest', () => {
    const store = new TokenStore();
    for (let n = 0; n <= MAX_TOKENS_PER_NAME; n++) store.put('a', token(n));
    const kept: (Uint8Array | undefined)[] = [];
    for (let n = 0; n <= MAX_TOKENS_PER_NAME; n++) kept.push(store.take('a'));
    expect(kept).toEqual([token(2), token(1), undefined]);
  });

  test('of too many names push out the name that got none for the longest time', () => {
    const store = new TokenStore();
    for (let n = 0; n < MAX_TOKEN_NAMES; n++) store.put(`${n}`, token(1));
    store.put('0', token(2));
    store.put('another', token(3));
    expect(store.take('1')).toBeUndefined();
    expect(store.take('0')).toEqual(token(2));
    expect(store.take('another')).toEqual(token(3));
  });
});
