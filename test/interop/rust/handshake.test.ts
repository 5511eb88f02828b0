/** Handshakes with real iroh that its npm binding cannot play: several protocols, dropped attempts, suites, groups, Retry. */
import { describe, expect, test } from '@jest/globals';
import { ask, askUs, connect, DIALLERS, echoAll, useRustPeer } from './fixture.ts';
import { ALPN, WAIT } from './rust-peer.ts';

const rust = useRustPeer();

describe('B05: the order of the server decides about the protocol', () => {
  const cases = [
    { server: ['a', 'b'], client: ['b', 'a'], negotiated: 'a' },
    { server: ['b', 'a'], client: ['a', 'b'], negotiated: 'b' },
    { server: ['a'], client: ['b', 'a'], negotiated: 'a' },
    { server: ['a', 'b'], client: ['b'], negotiated: 'b' },
  ];
  test.each(cases)('iroh dials: $server × $client', async ({ server, client, negotiated }) => {
    const our = await rust.our({ alpns: server });
    const their = await rust.their();
    const dialled = their.dial(our, { alpn: client[0], extraAlpns: client.slice(1) });
    const ours = await (await our.accept(WAIT))!.accept();
    expect(ours.alpnText).toBe(negotiated);
    expect((await dialled).facts['alpn']).toBe(negotiated);
  });
});

describe('B15: an undecided attempt is dropped', () => {
  test('we dial: CONNECTION_REFUSED', async () => {
    const our = await rust.our();
    const their = await rust.their();
    const dialled = our.connect(their.addr, ALPN, WAIT).catch((error: unknown) => error);
    const { incoming } = await their.call<{ incoming: number }>('incoming');
    await rust.peer.call('forget', { handle: incoming });
    expect(await dialled).toMatchObject({
      code: 'ConnectError.Connection',
      cause: { cause: { code: 'ConnectionError.ConnectionClosed', transportCode: 'CONNECTION_REFUSED' } },
    });
  });

  test('iroh dials: CONNECTION_REFUSED', async () => {
    const our = await rust.our();
    const their = await rust.their();
    const dialled = their.dial(our).catch((error: unknown) => error);
    (await our.accept(WAIT))![Symbol.dispose]();
    expect(await dialled).toMatchObject({ closed: { type: 'connectionClosed', code: '2' } });
  });
});

describe('Retry', () => {
  test('we dial a server that retries everybody', async () => {
    const our = await rust.our();
    const their = await rust.their();
    await their.call('serve', { service: 'echo', retry: true });
    for (const text of ['full', 'resumed']) {
      const ours = await our.connect(their.addr, ALPN, WAIT);
      expect(await ask(ours, text)).toBe(text);
      ours.close();
    }
  });

  test('we dial with early data: it is sent again after the Retry', async () => {
    const our = await rust.our();
    const their = await rust.their();
    const first = await connect('we dial', our, their);
    await first.theirs.serve();
    await ask(first.ours, 'ticket');
    first.ours.close();
    await their.call('serve', { service: 'echo', retry: true });
    const { connection, accepted } = (await our.dial(their.addr, ALPN).early())!;
    const answer = ask(connection, 'early');
    expect(await answer).toBe('early');
    expect(await accepted).toBe(true);
  });

  test.each(['dial', 'early'] as const)('iroh dials, we retry (%s)', async (command) => {
    const our = await rust.our();
    const their = await rust.their();
    const first = await connect('iroh dials', our, their);
    void echoAll(first.ours);
    await askUs(first.theirs, 'ticket');
    first.ours.close();

    const dialled = their.dial(our, {}, command);
    const unproven = (await our.accept(WAIT))!;
    expect(unproven.remoteAddrValidated).toBe(false);
    unproven.retry();
    const proven = (await our.accept(WAIT))!;
    expect(proven.remoteAddrValidated).toBe(true);
    const ours = await proven.accept();
    void echoAll(ours);
    expect(await askUs(await dialled, 'after the retry')).toBe('after the retry');
  });

  test('NEW_TOKEN of the server spares the next Retry', async () => {
    const our = await rust.our();
    const their = await rust.their({ layer: 'noq', addressTokens: 2 });
    const first = await connect('we dial', our, their);
    await first.theirs.serve();
    await ask(first.ours, 'a round trip brings the token');
    first.ours.close();
    const second = our.connect(their.addr, ALPN, WAIT);
    const attempt = await their.call<{ incoming: number; remoteAddrValidated: boolean }>('incoming');
    expect(attempt.remoteAddrValidated).toBe(true);
    await rust.peer.call('incoming.accept', { incoming: attempt.incoming });
    await second;
  });
});

describe('cipher suites and groups', () => {
  test.each(DIALLERS)('%s: each suite alone', async (dialler) => {
    for (const suite of ['aes128', 'aes256', 'chacha20']) {
      const { ours, theirs } = await rust.pair(dialler, { their: { layer: 'noq', suites: [suite] } });
      await theirs.serve();
      expect(await ask(ours, suite)).toBe(suite);
    }
  });

  test('iroh offers a key of a group that we lack: HelloRetryRequest', async () => {
    const { ours, theirs } = await rust.pair('iroh dials', { their: { groups: ['secp256r1', 'x25519'] } });
    await theirs.serve();
    expect(await ask(ours, 'second hello')).toBe('second hello');
  });

  test('iroh as server would rather have another group', async () => {
    const { ours, theirs } = await rust.pair('we dial', { their: { groups: ['secp256r1', 'x25519'] } });
    await theirs.serve();
    expect(await ask(ours, 'x25519')).toBe('x25519');
  });
});
