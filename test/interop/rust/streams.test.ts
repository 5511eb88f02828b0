/** Streams, datagrams and closes with real iroh, where codes and reasons come as they are on the wire. */
import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../../src/base/bytes.ts';
import { ask, DIALLERS, eventually, useRustPeer } from './fixture.ts';
import { sameBytes, sourceBytes } from '../source-bytes.ts';

const rust = useRustPeer();
const LIMIT = 1 << 20;
const MTU = 1452;

describe('I21: STOP_SENDING and RESET_STREAM codes', () => {
  test.each(DIALLERS)('%s: ours reach iroh', async (dialler) => {
    const { ours, theirs } = await rust.pair(dialler);
    const { send, recv } = await ours.openBi();
    await send.write(utf8('x'));
    const stream = await theirs.stream('acceptBi');
    const stopped = stream.call('stopped');
    recv.stop(Number.MAX_SAFE_INTEGER);
    expect(await stopped).toEqual({ code: '9007199254740991' });
    await expect(stream.write('y')).rejects.toMatchObject({ kind: 'stopped', code: '9007199254740991' });
    send.reset(21);
    await expect(stream.readToEnd()).rejects.toMatchObject({ kind: 'reset', code: '21' });
  });

  test.each(DIALLERS)('%s: those of iroh reach us', async (dialler) => {
    const { ours, theirs } = await rust.pair(dialler);
    const stream = await theirs.stream('openBi');
    await stream.write('x');
    const { send, recv } = await ours.acceptBi();
    await stream.call('stop', { code: (2n ** 62n - 1n).toString() });
    expect(await send.stopped).toBe(Number.MAX_SAFE_INTEGER);
    await expect(send.write(utf8('y'))).rejects.toMatchObject({
      code: 'WriteError.Stopped',
      rawCode: 2n ** 62n - 1n,
    });
    await stream.call('reset', { code: 17 });
    await expect(recv.readToEnd(LIMIT)).rejects.toMatchObject({ code: 'ReadError.Reset', errorCode: 17 });
  });

  test.each(DIALLERS)('%s: `stopped` without a code once all was acknowledged', async (dialler) => {
    const { ours, theirs } = await rust.pair(dialler);
    const send = await ours.openUni();
    await send.write(utf8('all of it'));
    send.finish();
    expect(await send.stopped).toBeUndefined();
    const stream = await theirs.stream('openUni');
    await stream.write('and theirs');
    await stream.finish();
    expect(await stream.call('stopped')).toEqual({ code: null });
  });
});

describe('I22: opening beyond the limit waits for credit', () => {
  test.each(DIALLERS)('%s: two at a time', async (dialler) => {
    const { ours, theirs } = await rust.pair(dialler, {
      our: { transport: { maxConcurrentBidiStreams: 2 } },
      their: { transport: { maxBidiStreams: 2 } },
    });
    await theirs.serve();
    const answers = Array.from({ length: 20 }, (_, i) => ask(ours, `stream ${i}`));
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 20 }, (_, i) => `stream ${i}`));
    // The peer's third waits until one of its first two is done.
    const first = await theirs.stream('openBi');
    await theirs.stream('openBi');
    let opened = false;
    const third = theirs.stream('openBi').finally(() => (opened = true));
    await first.write('x');
    await first.finish();
    const { send, recv } = await ours.acceptBi();
    expect(opened).toBe(false);
    expect(await recv.readToEnd(LIMIT)).toEqual(utf8('x'));
    send.finish();
    expect(await first.readToEnd()).toBe('');
    await third;
  });
});

describe('datagrams up to the maximum size', () => {
  test.each(DIALLERS)('%s', async (dialler) => {
    const { ours, theirs } = await rust.pair(dialler);
    await theirs.serve();
    await eventually(() => ours.paths[0]!.stats.mtu === MTU);
    const max = ours.maxDatagramSize!;
    let theirMax = 0;
    // The peer can send back no more than its own path allows.
    await eventually(async () => {
      theirMax = (await theirs.call<{ max: number }>('maxDatagramSize')).max;
      return theirMax >= 1_400;
    });
    for (const size of [0, 1, 1_000, Math.min(max, theirMax)]) {
      const data = sourceBytes(1, size);
      ours.sendDatagram(data);
      expect(sameBytes(await ours.readDatagram({ timeoutMs: 5_000 }), data)).toBe(true);
    }
  });
});

describe('closing', () => {
  test.each(DIALLERS)('%s: our code and reason', async (dialler) => {
    const { our, ours, theirs } = await rust.pair(dialler);
    ours.close(Number.MAX_SAFE_INTEGER, 'thanks, bye!');
    await our.close();
    expect(await theirs.closed()).toEqual({
      type: 'applicationClosed',
      code: '9007199254740991',
      reason: 'thanks, bye!',
    });
  });

  test.each(DIALLERS)('%s: the code and reason of iroh', async (dialler) => {
    const { ours, theirs } = await rust.pair(dialler);
    await theirs.close(42, 'thanks, bye!');
    expect(await ours.closed).toMatchObject({
      code: 'ConnectionError.ApplicationClosed',
      errorCode: 42,
      reason: utf8('thanks, bye!'),
    });
  });

  test.each(DIALLERS)('%s: the endpoint of iroh closes', async (dialler) => {
    const { their, ours } = await rust.pair(dialler);
    await their.call('closeEndpoint');
    expect(await ours.closed).toMatchObject({
      code: 'ConnectionError.ApplicationClosed',
      errorCode: 0,
      reason: utf8(''),
    });
  });
});
