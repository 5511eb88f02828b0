/** Real sockets in real groups on this machine; families that it has no way for are left out, and it says so. */
import { describe, expect, test } from '@jest/globals';
import { toAddr } from '../../../src/base/socket-addr.ts';
import { bindMulticast } from '../../../src/transport/multicast.ts';
import { nextDatagram, someGroup, workingFamilies } from '../../support/real-multicast.ts';

const families = await workingFamilies();

(families.length === 0 ? describe.skip : describe).each(families.length === 0 ? [4] : families)(
  'a group, IPv%i',
  (family) => {
    test('all sockets of the host hear what is sent, the sender included; a Uint8Array each', async () => {
      const group = someGroup(family as 4 | 6);
      const sockets = await Promise.all([0, 1, 2].map(() => bindMulticast({ group, ttl: 16 })));
      const heard = sockets.map(nextDatagram);
      sockets[0]!.send(Uint8Array.of(1, 2, 3));
      for (const { data, from } of await Promise.all(heard)) {
        expect(Object.getPrototypeOf(data)).toBe(Uint8Array.prototype);
        expect([...data]).toEqual([1, 2, 3]);
        expect([from.family, from.port]).toEqual([family, group.port]);
      }
      await Promise.all(sockets.map((socket) => socket.close()));
    });

    test('joined again, it hears as before', async () => {
      const group = someGroup(family as 4 | 6);
      const socket = await bindMulticast({ group, ttl: 16 });
      expect([socket.rejoin(), socket.rejoin(), socket.sendErrors]).toEqual([true, true, 0]);
      const heard = nextDatagram(socket);
      socket.send(Uint8Array.of(7));
      expect([...(await heard).data]).toEqual([7]);
      await socket.close();
    });

    test('after the end nothing is sent, joined or heard, and closing again is the same', async () => {
      const socket = await bindMulticast({ group: someGroup(family as 4 | 6), ttl: 16 });
      const closing = socket.close();
      socket.onDatagram = () => {
        throw new Error('heard after the end');
      };
      socket.send(Uint8Array.of(1));
      expect(socket.rejoin()).toBe(false);
      // The same end, not one that is there before the socket is free.
      expect(socket.close()).toBe(closing);
      await closing;
      expect(socket.sendErrors).toBe(0);
    });

    test('what the system refuses is counted, and never thrown', async () => {
      const socket = await bindMulticast({ group: someGroup(family as 4 | 6), ttl: 1 });
      const before = socket.sendErrors;
      socket.send(new Uint8Array(70_000));
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
      expect(socket.sendErrors).toBe(before + 1);
      expect(String(socket.lastError)).toContain('EMSGSIZE');
      await socket.close();
    });
  },
);

test('an address that is no group is the system’s error, and leaves nothing behind', async () => {
  await expect(bindMulticast({ group: toAddr('192.0.2.1', 45_353), ttl: 1 })).rejects.toMatchObject({
    syscall: 'addMembership',
  });
});
