import { expect, test } from '@jest/globals';
import { CidTable } from '../../../src/quic/cid-table.ts';
import { LOCAL_CID_LENGTH } from '../../../src/quic/connection-host.ts';
import { Pair } from '../../support/pair.ts';
import { testRng } from '../../support/sealed-packet.ts';

test('ids lead to their path until they are retired; a changed byte leads nowhere', () => {
  const { client } = new Pair({ seed: 1 }).connect();
  const connection = client.quic as unknown as Parameters<CidTable['issue']>[0];
  const table = new CidTable(testRng(5));
  const keys = Array.from({ length: 2_000 }, (_, i) => table.issue(connection, i % 7));
  expect(new Set(keys).size).toBe(keys.length);
  expect(table.size).toBe(keys.length);
  keys.forEach((key, i) => {
    const bytes = table.bytes(key).slice();
    expect(bytes).toHaveLength(LOCAL_CID_LENGTH);
    expect(table.find(bytes, 0)).toEqual({ connection, path: i % 7 });
  });
  const bytes = table.bytes(keys[3]!).slice();
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice();
    changed[at]! ^= 0x10;
    expect(table.find(changed, 0)).toBeUndefined();
  }
  // Found in the middle of a packet as well.
  expect(table.find(Uint8Array.of(0x40, ...bytes, 9, 9), 1)?.path).toBe(3);
  table.retire(keys[3]!);
  expect(table.find(bytes, 0)).toBeUndefined();
  for (const key of keys) table.retire(key);
  expect(table.size).toBe(0);
});
