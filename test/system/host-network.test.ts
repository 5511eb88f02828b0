/**
 * What a look at a host's network finds on a real kernel, change by change, and that it costs a whole look only then.
 */
import { expect, test } from '@jest/globals';
import type { InterfaceState } from '../../src/base/interface-state.ts';
import { Child } from './child.ts';
import { Lab } from './lab.ts';

interface Look {
  readonly state: InterfaceState;
  readonly isSame: boolean;
}

const ipsOf = ({ interfaces }: InterfaceState, name = 'eth0'): string[] =>
  interfaces.find((each) => each.name === name)?.prefixes.map(({ ip }) => ip) ?? [];

test('a look finds each change of addresses, routes and links, and gives the same object while nothing changes', async () => {
  await Lab.with(async (lab) => {
    const router = await lab.addRouter({ families: 'dual' });
    const { namespace } = await lab.addDevice(router);
    const child = Child.script(namespace, 'looks.mjs');
    const look = (): Promise<Look> => child.call<Look>('look');
    /** The state after `commands`, with another object than before. */
    const after = async (...commands: string[]): Promise<InterfaceState> => {
      // A link that is coming up has more than one news.
      while (!(await look()).isSame);
      await namespace.ip(...commands);
      const { state, isSame } = await look();
      expect({ commands, isSame }).toEqual({ commands, isSame: false });
      return state;
    };

    const { state } = await look();
    expect(ipsOf(state)).toEqual(expect.arrayContaining(['192.168.1.2', '2001:db8:1:1::2']));
    expect([state.defaultRoute, state.gateway]).toEqual(['eth0', '192.168.1.1']);

    // Neither of these two changes a route that an application could see.
    expect(ipsOf(await after('addr add 192.168.1.7/24 dev eth0'))).toContain('192.168.1.7');
    expect(ipsOf(await after('addr add 10.9.9.9/32 dev eth0'))).toContain('10.9.9.9');
    expect(ipsOf(await after('addr del 10.9.9.9/32 dev eth0'))).not.toContain('10.9.9.9');
    expect(ipsOf(await after('addr add 2001:db8:1:1::7/64 dev eth0 nodad'))).toContain('2001:db8:1:1::7');
    const aged = await after('addr change 2001:db8:1:1::7/64 dev eth0 preferred_lft 0 valid_lft 3600');
    expect(
      aged.interfaces.flatMap(({ prefixes }) => prefixes).filter(({ isDeprecated }) => isDeprecated),
    ).toEqual([{ ip: '2001:db8:1:1::7', length: 64, isDeprecated: true }]);
    expect((await after('route replace default via 192.168.1.9')).gateway).toBe('192.168.1.9');
    // Without a default route of IPv4 that of IPv6 counts.
    expect((await after('route del default')).defaultRoute).toBe('eth0');
    expect((await after('route del ::/0')).defaultRoute).toBeUndefined();

    // The other end of the cable: addresses and routes stay.
    while (!(await look()).isSame);
    await router.namespace.ip('link set d2 down');
    const unplugged = await namespace.shell(
      'for i in $(seq 100); do [ $(cat /sys/class/net/eth0/operstate) != up ] && exit; sleep 0.02; done; exit 1',
    );
    expect(unplugged).toBe('');
    const { state: dark } = await look();
    expect(ipsOf(dark)).toEqual([]);
    await router.namespace.ip('link set d2 up');
    await namespace.shell(
      'for i in $(seq 100); do [ $(cat /sys/class/net/eth0/operstate) = up ] && exit; sleep 0.02; done; exit 1',
    );
    expect(ipsOf((await look()).state)).toContain('192.168.1.2');

    await after('link set eth0 down');
    await after('link set eth0 name wan0', 'link set wan0 up');
    expect(ipsOf((await look()).state, 'wan0')).toContain('192.168.1.2');
    await child.stop();
  });
});
