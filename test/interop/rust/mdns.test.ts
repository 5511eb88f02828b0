/** Real iroh with `iroh-mdns-address-lookup` and ours find each other in the local network, by id alone. */
import { describe, expect, test } from '@jest/globals';
import { EndpointId } from '../../../src/index.ts';
import { MdnsLookup, type DiscoveryEvent } from '../../../src/lookup/mdns.ts';
import { workingFamilies } from '../../support/real-multicast.ts';
import { ask, askUs, echoAll, useRustPeer } from './fixture.ts';
import { ALPN, WAIT } from './rust-peer.ts';

const rust = useRustPeer();
const families = await workingFamilies();

(families.length > 0 ? describe : describe.skip)('in the local network', () => {
  test('we find iroh by id alone', async () => {
    const theirs = await rust.their({ mdns: true });
    const ours = await rust.our({ lookup: new MdnsLookup() });
    const accepted = theirs.accept();
    const connection = await ours.connect(EndpointId.parse(theirs.id), ALPN, WAIT);
    const echoing = (await accepted).call('echo').catch(() => undefined);
    expect(await ask(connection, 'hello')).toBe('hello');
    connection.close(0, '');
    await echoing;
  });

  test('iroh finds us by id alone', async () => {
    const ours = await rust.our({ lookup: new MdnsLookup() });
    const theirs = await rust.their({ mdns: true });
    const dialled = theirs.dial(ours, { addrs: [] });
    const incoming = await ours.accept(WAIT);
    const [connection, remote] = await Promise.all([incoming!.accept().connected, dialled]);
    void echoAll(connection);
    expect(await askUs(remote, 'hello')).toBe('hello');
    connection.close(0, '');
  });

  test('what iroh says of itself is told: its addresses', async () => {
    const lookup = new MdnsLookup({ advertise: false });
    await rust.our({ lookup });
    const theirs = await rust.their({ mdns: true });
    const event = await new Promise<DiscoveryEvent>((resolve) => {
      lookup.discoveryEvents$.subscribe((each) => {
        if (each.type === 'discovered' && each.addr.id.toString() === theirs.id) resolve(each);
      });
    });
    if (event.type !== 'discovered') throw new Error(event.type);
    expect(event.addr.ips.map(String)).toContain(theirs.socket);
  });
});
