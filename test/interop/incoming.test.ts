/** What a real iroh client hears when we accept, refuse, retry or ignore its attempt; and we of the real server. */
import { describe, expect, test } from '@jest/globals';
import { systemPlatform } from '#transport/system-platform';
import { RetryError } from '../../src/index.ts';
import type { Platform } from '../../src/transport/platform.ts';
import {
  addrOf,
  ALPN,
  bindNative,
  bindOurs,
  nativeAddrOf,
  nativeBytes,
  nativeMessage,
  WAIT,
  withEndpoints,
} from './native.ts';

/** The system's sockets, with a count of the datagrams that leave through them. */
function countingPlatform(): { platform: Platform; sent: () => number } {
  let sent = 0;
  const platform: Platform = {
    ...systemPlatform,
    bindUdp: async (request) => {
      const socket = await systemPlatform.bindUdp!(request);
      const send = socket.send.bind(socket);
      socket.send = (batch, from, to) => {
        sent += to - from;
        send(batch, from, to);
      };
      return socket;
    },
  };
  return { platform, sent: () => sent };
}

describe('a real client at our door', () => {
  test('accept(): a connection', () =>
    withEndpoints(async (our, their) => {
      const dialled = their.connect(nativeAddrOf(our), nativeBytes(ALPN));
      const incoming = (await our.accept(WAIT))!;
      expect(incoming.remoteAddrValidated).toBe(false);
      expect(incoming.localAddr).toBe(our.boundSockets.find((addr) => addr.family === 4));
      expect(incoming.offeredAlpns?.map((alpn) => [...alpn])).toEqual([nativeBytes(ALPN)]);
      const accepting = incoming.accept();
      expect(accepting.remoteAddr).toEqual(incoming.remoteAddr);
      expect([...(await accepting.alpn)]).toEqual(nativeBytes(ALPN));
      const ours = await accepting;
      expect(ours.remoteId.toString()).toBe(their.id().toString());
      expect((await dialled).remoteId().toString()).toBe(our.id.toString());
    }));

  test('refuse(): CONNECTION_REFUSED', () =>
    withEndpoints(async (our, their) => {
      const dialled = their.connect(nativeAddrOf(our), nativeBytes(ALPN)).catch(nativeMessage);
      (await our.accept(WAIT))!.refuse();
      expect(await dialled).toContain('aborted by peer: the server refused to accept a new connection');
    }));

  test('B15: an undecided attempt is disposed of: refused', () =>
    withEndpoints(async (our, their) => {
      const dialled = their.connect(nativeAddrOf(our), nativeBytes(ALPN)).catch(nativeMessage);
      (await our.accept(WAIT))![Symbol.dispose]();
      expect(await dialled).toContain('the server refused to accept a new connection');
    }));

  test('retry(): the client proves its address and comes back', () =>
    withEndpoints(async (our, their) => {
      const dialled = their.connect(nativeAddrOf(our), nativeBytes(ALPN));
      const first = (await our.accept(WAIT))!;
      first.retry();
      const second = (await our.accept(WAIT))!;
      expect(second.remoteAddr).toEqual(first.remoteAddr);
      expect(second.remoteAddrValidated).toBe(true);
      expect(() => second.retry()).toThrow(RetryError);
      const ours = await second.accept();
      const theirs = await dialled;
      theirs.close(3n, nativeBytes('after a retry'));
      expect(await ours.closed).toMatchObject({ errorCode: 3 });
    }));

  test('ignore(): silence; a later attempt of the same dial can still be accepted', async () => {
    const { platform, sent } = countingPlatform();
    const our = await bindOurs({ platform });
    const their = await bindNative();
    try {
      const dialled = their.connect(nativeAddrOf(our), nativeBytes(ALPN));
      (await our.accept(WAIT))!.ignore();
      // Unanswered, the client sends its Initial again after a PTO, and that is a new attempt.
      const again = (await our.accept(WAIT))!;
      expect(sent()).toBe(0);
      const [ours] = await Promise.all([again.accept().connected, dialled]);
      expect(ours.remoteId.toString()).toBe(their.id().toString());
    } finally {
      await Promise.all([our.close(), their.close()]);
    }
  });
});

describe('we at a real door', () => {
  const refused = {
    code: 'ConnectError.Connection',
    cause: { cause: { code: 'ConnectionError.ConnectionClosed', transportCode: 'CONNECTION_REFUSED' } },
  };

  test('accept(): a connection', () =>
    withEndpoints(async (our, their) => {
      const dialled = our.connect(addrOf(their), ALPN, WAIT);
      const incoming = (await their.acceptNext())!;
      const port = our.boundSockets.find((addr) => addr.family === 4)!.port;
      expect(await incoming.remoteAddr()).toMatchObject({ kind: 'ip', addr: `127.0.0.1:${port}` });
      const theirs = await (await incoming.accept()).connect();
      expect((await dialled).remoteId.toString()).toBe(their.id().toString());
      expect(theirs.remoteId().toString()).toBe(our.id.toString());
    }));

  test('refuse(): ConnectionClosed with CONNECTION_REFUSED', () =>
    withEndpoints(async (our, their) => {
      const dialled = our.connect(addrOf(their), ALPN, WAIT).catch((error: unknown) => error);
      await (await their.acceptNext())!.refuse();
      expect(await dialled).toMatchObject(refused);
    }));

  test('retry(): we prove our address and come back', () =>
    withEndpoints(async (our, their) => {
      const dialled = our.connect(addrOf(their), ALPN, WAIT);
      const first = (await their.acceptNext())!;
      expect(await first.remoteAddrValidated()).toBe(false);
      await first.retry();
      const second = (await their.acceptNext())!;
      expect(await second.remoteAddrValidated()).toBe(true);
      const theirs = await (await second.accept()).connect();
      (await dialled).close(3, 'after a retry');
      expect(await theirs.closed()).toBe('closed by peer: after a retry (code 3)');
    }));

  test('ignore(): we try again until our limit, then give up', () =>
    withEndpoints(async (our, their) => {
      const dialled = our.connect(addrOf(their), ALPN, { timeoutMs: 1_500 }).catch((error: unknown) => error);
      await (await their.acceptNext())!.ignore();
      await (await their.acceptNext())!.ignore();
      expect(await dialled).toMatchObject({ code: 'TimeoutError.Elapsed' });
    }));
});
