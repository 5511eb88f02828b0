/** I16: the addresses that one side advertises lead the other to a path there, with real iroh in both roles. */
import { describe, expect, test } from '@jest/globals';
import type { Addr } from '../../../src/base/socket-addr.ts';
import { EndpointAddr, EndpointId, parseAddr, type Endpoint } from '../../../src/index.ts';
import { actorFor, ask, askUs, echoAll, eventually, ipOf, useRustPeer } from './fixture.ts';
import { ALPN, WAIT } from './rust-peer.ts';

const rust = useRustPeer();

function secondSocket(our: Endpoint): Addr {
  return our.boundSockets.find((addr) => addr.ip === '127.0.0.2')!;
}

/** The port of `ip:port`. */
function portOf(socket: string): string {
  return socket.slice(socket.lastIndexOf(':') + 1);
}

describe('I16: NAT traversal', () => {
  test('we advertise a second socket: a real client reaches out and opens a path to it', async () => {
    const { our, ours, theirs } = await rust.pair('iroh dials', { sockets: 2 });
    void echoAll(ours);
    await theirs.pathEvents();
    actorFor(ours).quic.addNatAddress(secondSocket(our));
    actorFor(ours).wake();
    await theirs.pathEvent('opened', { remote: secondSocket(our).text });
    await eventually(() => ours.paths.some(({ localAddr }) => localAddr === secondSocket(our)));
    expect(await askUs(theirs, 'over whichever path')).toBe('over whichever path');
    expect(ours.closeReason).toBeUndefined();
  });

  test('on the noq layer: round, probes, path, and our withdrawal', async () => {
    const { our, ours, theirs } = await rust.pair('iroh dials', { sockets: 2, their: { layer: 'noq' } });
    const { quic, wake } = { quic: actorFor(ours).quic, wake: () => actorFor(ours).wake() };
    void echoAll(ours);
    await theirs.pathEvents();
    const second = secondSocket(our);
    quic.addNatAddress(second);
    wake();
    await rust.peer.event((event) => event['event'] === 'nat' && event['addr'] === second.text);
    expect(await theirs.call('natAddresses')).toMatchObject({ remote: [second.text] });
    await theirs.call('addNatAddress', { addr: ipOf(ours.paths[0]!) });
    expect(await theirs.call('natRound')).toEqual({ probed: [second.text] });
    await theirs.pathEvent('established', { path: 1 });
    expect(ours.paths.map(({ localAddr }) => localAddr)).toContain(second);
    quic.removeNatAddress(second);
    wake();
    await rust.peer.event((event) => event['event'] === 'nat' && event['type'] === 'removed');
    expect(await askUs(theirs, 'still here')).toBe('still here');
  });

  test.each(['iroh', 'noq'])(
    'a real server (%s) advertises another address: we reach out and open a path',
    async (layer) => {
      const our = await rust.our({}, 2);
      const their = await rust.their({ layer, bind: ['0.0.0.0:0'] });
      const port = portOf(their.socket);
      const other = `127.0.0.2:${port}`;
      if (layer === 'iroh') await their.call('addExternalAddr', { addr: other });
      const remote = new EndpointAddr(EndpointId.parse(their.id), [
        { type: 'ip', addr: parseAddr(`127.0.0.1:${port}`) },
      ]);
      const accepted = their.accept();
      const ours = await our.connect(remote, ALPN, WAIT);
      const theirs = await accepted;
      await theirs.serve();
      if (layer === 'noq') await theirs.call('addNatAddress', { addr: other });
      const actor = actorFor(ours);
      await eventually(() => actor.quic.remoteNatAddresses().some(({ text }) => text === other));
      // What the peer probes, REACH_OUT tells it.
      actor.quic.addNatAddress(our.boundSockets.find(({ ip }) => ip === '127.0.0.1')!);
      expect(actor.quic.initiateNatRound(actor.clock.now()).map(({ text }) => text)).toContain(other);
      actor.wake();
      await eventually(() => ours.paths.some((path) => ipOf(path) === other));
      const path = ours.paths.find((path) => ipOf(path) === other)!;
      await eventually(() => actor.quic.paths().find(({ id }) => id === path.id)?.validated === true);
      expect(await ask(ours, 'over whichever path')).toBe('over whichever path');
      expect(ours.closeReason).toBeUndefined();
    },
  );
});
