/** UDP sockets of this host. */
import { expect, test } from '@jest/globals';
import { systemPlatform } from '#transport/system-platform';
import { parseAddr } from '../../../src/base/socket-addr.ts';
import { bindUdp } from '../../../src/transport/udp.ts';

test('a datagram that has no way out is told of, once however many there are; one that has is not', async () => {
  let now = 0;
  const clock = { ...systemPlatform.clock, now: () => now };
  const [near, far] = [await bindUdp({ ip: '127.0.0.1', port: 0 }, clock), parseAddr('192.0.2.9:9')];
  let told = 0;
  let heard = Promise.resolve();
  const expectNews = (): void => {
    heard = new Promise((resolve) => {
      near.onNoRoute = () => {
        told++;
        resolve();
      };
    });
  };
  const data = new Uint8Array(10);
  const send = (to: typeof far, count: number): void => {
    for (let i = 0; i < count; i++) near.send([{ to, local: undefined, data }], 0, 1);
  };
  expectNews();
  // From loopback nobody outside is reached, whatever routes this host has.
  send(far, 100);
  await heard;
  expect([told, near.sendErrors]).toEqual([1, 1]);
  now = 10_000;
  const arrived = new Promise<void>((resolve) => (near.onDatagrams = () => resolve()));
  send(near.localAddr, 1);
  await arrived;
  expect(told).toBe(1);
  now = 20_000;
  expectNews();
  send(far, 1);
  await heard;
  expect(told).toBe(2);
  // What was asked before the end is not answered after it.
  now = 30_000;
  send(far, 1);
  await near.close();
  await new Promise((resolve) => setImmediate(resolve));
  expect(told).toBe(2);
});
