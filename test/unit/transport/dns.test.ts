/** Looking up hosts with the system's resolver; names that need no network. */
import { expect, test } from '@jest/globals';
import { resolveHost } from '../../../src/transport/dns.ts';
import { SimWorld } from '../../support/sim-platform.ts';

const { signal } = new AbortController();

test('one family of a name, with and without the dot at its end', async () => {
  expect(await resolveHost('localhost', 4, signal)).toContain('127.0.0.1');
  expect(await resolveHost('localhost.', 4, signal)).toContain('127.0.0.1');
});

test('names that cannot be, and lookups that are given up', async () => {
  await expect(resolveHost('no such name', 4, signal)).rejects.toMatchObject({ code: expect.any(String) });
  const reason = new Error('enough');
  await expect(resolveHost('localhost', 4, AbortSignal.abort(reason))).rejects.toBe(reason);
  const abort = new AbortController();
  const found = resolveHost('localhost', 4, abort.signal);
  abort.abort(reason);
  await expect(found).rejects.toBe(reason);
});

test('the simulation answers from its table', async () => {
  const world = new SimWorld(1);
  world.dns.set('relay.test', ['10.0.0.1', 'fd00::1']);
  const { resolveDns } = world.platformOf(world.addHost('host', '10.0.0.2'));
  expect(await resolveDns!('relay.test.', 4, signal)).toEqual(['10.0.0.1']);
  expect(await resolveDns!('relay.test', 6, signal)).toEqual(['fd00::1']);
  expect(await resolveDns!('192.0.2.1', 4, signal)).toEqual(['192.0.2.1']);
  await expect(resolveDns!('192.0.2.1', 6, signal)).rejects.toMatchObject({ code: 'ENOTFOUND' });
});
