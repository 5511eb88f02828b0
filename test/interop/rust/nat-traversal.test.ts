/** I16: the addresses that one side advertises lead the other to a path there, with real iroh in both roles. */
import { describe, expect, test } from '@jest/globals';
import { askUs, ask, echoAll, eventually, ipOf, useRustPeer } from './fixture.ts';

const rust = useRustPeer();

/** The port of `ip:port`. */
function portOf(socket: string): string {
  return socket.slice(socket.lastIndexOf(':') + 1);
}

describe('I16: NAT traversal', () => {
  test('we advertise a second socket: a real client reaches out and opens a path to it', async () => {
    const { our, ours, theirs } = await rust.rawPair('iroh dials', { sockets: 2 });
    void echoAll(ours);
    await theirs.pathEvents();
    ours.command((quic) => quic.addNatAddress(our.second));
    await theirs.pathEvent('opened', { remote: our.second.text });
    await eventually(() => ours.paths.some(({ localAddr }) => localAddr === our.second));
    expect(await askUs(theirs, 'over whichever path')).toBe('over whichever path');
    expect(ours.closeReason).toBeUndefined();
  });

  test('on the noq layer: round, probes, path, and our withdrawal', async () => {
    const { our, ours, theirs } = await rust.rawPair('iroh dials', { sockets: 2, their: { layer: 'noq' } });
    void echoAll(ours);
    await theirs.pathEvents();
    const { second } = our;
    ours.command((quic) => quic.addNatAddress(second));
    await rust.peer.event((event) => event['event'] === 'nat' && event['addr'] === second.text);
    expect(await theirs.call('natAddresses')).toMatchObject({ remote: [second.text] });
    await theirs.call('addNatAddress', { addr: ipOf(ours.paths[0]!) });
    expect(await theirs.call('natRound')).toEqual({ probed: [second.text] });
    await theirs.pathEvent('established', { path: 1 });
    expect(ours.paths.map(({ localAddr }) => localAddr)).toContain(second);
    ours.command((quic) => quic.removeNatAddress(second));
    await rust.peer.event((event) => event['event'] === 'nat' && event['type'] === 'removed');
    expect(await askUs(theirs, 'still here')).toBe('still here');
  });

  test.each(['iroh', 'noq'])(
    'a real server (%s) advertises another address: we reach out and open a path',
    async (layer) => {
      const our = await rust.raw({}, 2);
      const their = await rust.their({ layer, bind: ['0.0.0.0:0'] });
      const port = portOf(their.socket);
      const other = `127.0.0.2:${port}`;
      if (layer === 'iroh') await their.call('addExternalAddr', { addr: other });
      const [theirs, ours] = await Promise.all([their.accept(), our.dial(their, `127.0.0.1:${port}`)]);
      await theirs.serve();
      if (layer === 'noq') await theirs.call('addNatAddress', { addr: other });
      await eventually(() => ours.quic.remoteNatAddresses().some(({ text }) => text === other));
      // What the peer probes, REACH_OUT tells it.
      ours.command((quic) => quic.addNatAddress(our.main));
      const probed = ours.command((quic, now) => quic.initiateNatRound(now));
      expect(probed.map(({ text }) => text)).toContain(other);
      await eventually(() => ours.paths.some((path) => ipOf(path) === other));
      const path = ours.paths.find((each) => ipOf(each) === other)!;
      await eventually(() => ours.quic.paths().find(({ id }) => id === path.id)?.validated === true);
      expect(await ask(ours, 'over whichever path')).toBe('over whichever path');
      expect(ours.closeReason).toBeUndefined();
    },
  );
});
