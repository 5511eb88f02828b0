/** How connections end, and what both sides learn about it. */
import { expect, test } from '@jest/globals';
import { utf8 } from '../../src/base/bytes.ts';
import { ALPN, failure, simulated } from '../support/endpoints.ts';

test(
  'I19: closed resolves with the reason on both sides',
  simulated(async (place) => {
    const { ours, theirs } = await place.connect();
    expect(ours.closeReason).toBeUndefined();
    const closed = Promise.all([ours.closed, theirs.closed]);
    theirs.close(7, 'enough');
    const [remote, local] = await closed;
    expect(local).toMatchObject({ code: 'ConnectionError.LocallyClosed' });
    expect(remote).toMatchObject({
      code: 'ConnectionError.ApplicationClosed',
      errorCode: 7,
      rawCode: 7n,
      reason: utf8('enough'),
    });
    expect(ours.closeReason).toBe(remote);
    expect(theirs.closeReason).toBe(local);
    expect(ours.alpnText).toBe(ALPN);
  }),
);

test(
  'I19: closed resolves when the peer’s endpoint closes or vanishes, and the counters stay',
  simulated(async (place) => {
    const { client, server, ours, theirs } = await place.connect();
    await server.close();
    expect(await ours.closed).toMatchObject({ code: 'ConnectionError.ApplicationClosed', errorCode: 0 });
    expect(await theirs.closed).toMatchObject({ code: 'ConnectionError.LocallyClosed' });
    expect(ours.stats().udpRx.datagrams).toBeGreaterThan(0);

    const other = await place.serve();
    const second = await place.dial(client, other);
    const start = place.clock.now();
    place.hosts[2]!.isUp = false;
    expect(await second.ours.closed).toMatchObject({ code: 'ConnectionError.TimedOut' });
    expect(place.clock.now() - start).toBeGreaterThan(25_000);
    expect(place.clock.now() - start).toBeLessThan(36_000);
    expect(second.ours.stats().udpTx.datagrams).toBeGreaterThan(0);
  }),
);

test(
  'I20: what arrived before a close can be read after it, and only then comes the error',
  simulated(async (place) => {
    const { ours, theirs } = await place.connect();
    const known = await theirs.openUni();
    await known.write(utf8('known'));
    const recv = await ours.acceptUni(place.wait);
    for (const text of ['not', 'yet']) {
      const send = await theirs.openUni();
      await send.write(utf8(text));
      send.finish();
    }
    theirs.sendDatagram(utf8('datagram'));
    await place.sleep(1_000);
    theirs.close(3);
    const reason = await ours.closed;
    expect(await recv.read()).toEqual(utf8('known'));
    expect(await failure(recv.read())).toMatchObject({ code: 'ReadError.ConnectionLost', cause: reason });
    for (const text of ['not', 'yet']) {
      expect(await (await ours.acceptUni()).readToEnd(10)).toEqual(utf8(text));
    }
    expect(await failure(ours.acceptUni())).toBe(reason);
    expect(await ours.readDatagram()).toEqual(utf8('datagram'));
    expect(await failure(ours.readDatagram())).toBe(reason);
    expect(await failure(ours.openBi())).toBe(reason);
  }),
);
