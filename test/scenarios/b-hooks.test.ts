/** Hooks on whole endpoints: dials and connections that the application refuses. */
import { describe, expect, test } from '@jest/globals';
import { fromUtf8 } from '../../src/base/bytes.ts';
import { EndpointAddr, SecretKey, type ConnectionInfo, type EndpointHooks } from '../../src/index.ts';
import { ALPN, echo, endOf, failure, simulated } from '../support/endpoints.ts';

const rejecting = (code: number, reason: string): EndpointHooks => ({
  afterHandshake: () => ({ reject: { code, reason } }),
});

describe('before a dial', () => {
  test(
    'B16: a hook refuses one protocol and not the other; it sees whom and what for, before anything is sent',
    simulated(async (place) => {
      const seen: string[] = [];
      const hooks: EndpointHooks = {
        beforeConnect: (remote, alpn) => {
          seen.push(`${fromUtf8(alpn)} to ${remote.id.toString()}`);
          return fromUtf8(alpn) === 'limited' ? 'reject' : 'accept';
        },
      };
      const server = await place.serve({ alpns: ['limited', ALPN] });
      const client = await place.bind({ hooks });
      const addr = place.addrOf(server);
      expect(await failure(client.connect(addr, 'limited'))).toMatchObject({
        code: 'ConnectError.LocallyRejected',
        cause: { code: 'ConnectWithOptsError.LocallyRejected' },
      });
      expect(place.hostOf(client).up.passed).toBe(0);
      expect(await client.remoteInfo(server.id)).toBeUndefined();
      await place.dial(client, server);
      expect(seen).toEqual([`limited to ${server.id.toString()}`, `${ALPN} to ${server.id.toString()}`]);
    }),
  );

  test(
    'B16: the first refusal ends the round; a hook that fails refuses, and says so in the log',
    simulated(async (place) => {
      const asked: string[] = [];
      const lines: string[] = [];
      const hooks: EndpointHooks[] = [
        { beforeConnect: () => void asked.push('first') },
        {
          beforeConnect: async () => {
            asked.push('second');
            await place.sleep(10);
            throw new Error('broken');
          },
        },
        { beforeConnect: () => void asked.push('third') },
      ];
      const client = await place.bind({ hooks, logger: { debug: (line: string) => void lines.push(line) } });
      const dialled = client.connect(SecretKey.generate().publicKey, ALPN);
      expect((await failure(dialled)).code).toBe('ConnectError.LocallyRejected');
      expect(asked).toEqual(['first', 'second']);
      expect(lines.some((line) => line.includes('beforeConnect failed: broken'))).toBe(true);
    }),
  );

  test(
    'a hook that hangs holds up its own dial, which can be given up, and neither others nor the end',
    simulated(async (place) => {
      const server = await place.serve();
      const never = new Promise<undefined>(() => undefined);
      const hooks: EndpointHooks = {
        beforeConnect: (_, alpn) => (fromUtf8(alpn) === 'slow' ? never : undefined),
      };
      const client = await place.bind({ hooks });
      const limited = client.connect(place.addrOf(server), 'slow', { timeoutMs: 1_000 });
      place.mustSettle('a dial with a limit', limited);
      const startedAt = place.clock.now();
      await place.dial(client, server);
      expect(place.clock.now() - startedAt).toBeLessThan(100);
      expect((await failure(limited)).name).toBe('TimeoutError');
      void client.connect(place.addrOf(server), 'slow').catch(() => undefined);
      await client.close();
      expect(client.isClosed).toBe(true);
    }),
  );

  test(
    'the own id is refused after the hooks were asked, as upstream does',
    simulated(async (place) => {
      let asked = 0;
      const endpoint = await place.bind({ hooks: { beforeConnect: () => void asked++ } });
      expect((await failure(endpoint.connect(endpoint.id, ALPN))).code).toBe('ConnectError.SelfConnect');
      expect(asked).toBe(1);
    }),
  );
});

describe('after a handshake', () => {
  test(
    'B17: refused by who dialled: the caller hears so, the peer sees code and reason',
    simulated(async (place) => {
      const server = await place.serve();
      const client = await place.bind({ hooks: rejecting(403, 'not you') });
      const ended = endOf(place.acceptOn(server));
      expect(await failure(client.connect(place.addrOf(server), ALPN))).toMatchObject({
        code: 'ConnectError.LocallyRejected',
        cause: { code: 'ConnectingError.LocallyRejected' },
      });
      const closed = await ended;
      expect(closed).toMatchObject({ code: 'ConnectionError.ApplicationClosed', errorCode: 403 });
      expect(fromUtf8(closed.reason!)).toBe('not you');
    }),
  );

  test(
    'B17: refused by who accepted: the handle fails, the dialler sees code and reason',
    simulated(async (place) => {
      const server = await place.serve({ hooks: rejecting(7, 'full') });
      const client = await place.bind();
      const accepted = failure(place.acceptOn(server));
      // The dialler's handshake is complete before the refusal arrives.
      const connection = await client.connect(place.addrOf(server), ALPN, place.wait);
      const closed = await connection.closed;
      expect(closed).toMatchObject({ code: 'ConnectionError.ApplicationClosed', errorCode: 7 });
      expect(fromUtf8(closed.reason!)).toBe('full');
      expect((await accepted).code).toBe('ConnectingError.LocallyRejected');
    }),
  );

  test(
    'B17: hooks learn facts, on both sides, and what they hold keeps nothing alive',
    simulated(async (place) => {
      const infos: ConnectionInfo[] = [];
      const hooks: EndpointHooks = { afterHandshake: (info) => void infos.push(info) };
      const { client, server, ours, theirs } = await place.connect({
        client: { hooks },
        server: { hooks },
      });
      expect(infos.map(({ side }) => side).sort()).toEqual(['client', 'server']);
      const info = infos.find(({ side }) => side === 'client')!;
      expect(info.remoteId.equals(server.id)).toBe(true);
      expect([fromUtf8(info.alpn), info.stableId]).toEqual([ALPN, ours.stableId]);
      expect(info.paths).toEqual(ours.paths);
      expect(info.stats().handshakeMs).toBeGreaterThan(0);
      expect('close' in info || 'openBi' in info).toBe(false);
      // Each look has its own bytes.
      info.alpn.fill(0);
      expect(ours.alpnText).toBe(ALPN);
      theirs.close(5);
      expect(await info.closed).toMatchObject({ errorCode: 5 });
      await client.close();
    }),
  );

  test(
    'B17: after early data, too: the server had the bytes, and then hears the refusal',
    simulated(async (place) => {
      let isRefusing = false;
      const hooks: EndpointHooks = {
        afterHandshake: () => (isRefusing ? { reject: { code: 9 } } : 'accept'),
      };
      const { client, server, ours } = await place.connect({ client: { hooks } });
      await place.sleep(1_000);
      ours.close();
      isRefusing = true;
      const incoming = server.accept(place.wait);
      const connecting = client.dial(place.addrOf(server), ALPN);
      const early = (await connecting.early())!;
      const { send } = await early.connection.openBi();
      await send.write(new Uint8Array(10));
      send.finish();
      const theirs = (await incoming)!.accept().early();
      expect((await failure(early.accepted)).code).toBe('ConnectError.LocallyRejected');
      expect((await failure(connecting)).code).toBe('ConnectError.LocallyRejected');
      const { recv } = await theirs.acceptBi(place.wait);
      expect((await recv.readToEnd(10)).length).toBe(10);
      expect(await theirs.closed).toMatchObject({ errorCode: 9 });
    }),
  );

  test(
    'a hook that takes its time holds the connection back, and one whose connection ends meanwhile is let go',
    simulated(async (place) => {
      const hooks: EndpointHooks = { afterHandshake: () => place.sleep(500) };
      const client = await place.bind({ hooks });
      const server = await place.serve();
      const startedAt = place.clock.now();
      const { ours, theirs } = await place.dial(client, server);
      expect(place.clock.now() - startedAt).toBeGreaterThanOrEqual(500);
      void echo(theirs);
      expect(fromUtf8((await place.ask(ours)).answer)).toBe('ping');
      const second = client.connect(new EndpointAddr(server.id, place.addrOf(server).addrs), ALPN);
      place.mustSettle('the second dial', second);
      const accepted = await place.acceptOn(server);
      accepted.close(3);
      expect(await failure(second)).toMatchObject({
        code: 'ConnectError.Connection',
        cause: { cause: { code: 'ConnectionError.ApplicationClosed', errorCode: 3 } },
      });
    }),
  );
});
