/** Handshakes with real iroh, as client and as server: tickets, protocols, refusals, identities, closing. */
import { describe, expect, test } from '@jest/globals';
import { EndpointTicket as NativeTicket } from '@number0/iroh';
import { EndpointAddr, isIrohError, type ConnectError, SecretKey } from '../../src/index.ts';
import { utf8 } from '../../src/base/bytes.ts';
import {
  acceptNative,
  addrOf,
  ALPN,
  connect,
  DIALLERS,
  NativeAddr,
  nativeAddrOf,
  nativeBytes,
  NativeId,
  nativeMessage,
  WAIT,
  withEndpoints,
  withPair,
} from './native.ts';

/** RFC 9001 §4.8: alert no_application_protocol (RFC 7301 §3.2). */
const NO_APPLICATION_PROTOCOL = 0x100 + 120;

describe('L02: dialling by ticket', () => {
  test('we dial the ticket that iroh printed', () =>
    withEndpoints(async (our, their) => {
      const accepted = acceptNative(their);
      const ours = await our.connect(NativeTicket.fromAddr(their.addr()).toString(), ALPN, WAIT);
      expect(ours.remoteId.toString()).toBe(their.id().toString());
      expect((await accepted).remoteId().toString()).toBe(our.id.toString());
    }));

  test('iroh dials the ticket that we printed', () =>
    withEndpoints(async (our, their) => {
      const loopback = our.boundSockets.filter((addr) => addr.family === 4);
      const addr = new EndpointAddr(
        our.id,
        loopback.map((ip) => ({ type: 'ip', addr: ip })),
      );
      const dialled = their.connect(
        NativeTicket.fromString(addr.toTicket()).endpointAddr(),
        nativeBytes(ALPN),
      );
      const ours = await (await our.accept(WAIT))!.accept().connected;
      expect(ours.remoteId.toString()).toBe(their.id().toString());
      expect((await dialled).remoteId().toString()).toBe(our.id.toString());
    }));
});

describe('B05: the order of the server decides about the protocol', () => {
  const cases = [
    { server: ['a', 'b'], client: ['b', 'a'], negotiated: 'a' },
    { server: ['b', 'a'], client: ['a', 'b'], negotiated: 'b' },
    { server: ['a'], client: ['b', 'a'], negotiated: 'a' },
    { server: ['a', 'b'], client: ['b'], negotiated: 'b' },
  ];
  test.each(cases)('we dial: $server × $client', ({ server, client, negotiated }) =>
    withEndpoints(
      async (our, their) => {
        const accepted = acceptNative(their);
        const ours = await our.connect(addrOf(their), client[0]!, {
          ...WAIT,
          additionalAlpns: client.slice(1),
        });
        expect(ours.alpnText).toBe(negotiated);
        expect((await accepted).alpn()).toEqual(nativeBytes(negotiated));
      },
      { theirAlpns: server },
    ),
  );

  // The binding offers one protocol; test/interop/rust has several.
  test.each([{ server: ['a', 'b'] }, { server: ['b', 'a'] }])('iroh dials b: $server', ({ server }) =>
    withPair(
      'iroh dials',
      async ({ ours, theirs }) => {
        expect(ours.alpnText).toBe('b');
        expect(theirs.alpn()).toEqual(nativeBytes('b'));
      },
      { alpn: 'b', our: { alpns: server } },
    ),
  );
});

describe('B06: no common protocol', () => {
  test('we dial: both sides fail with the alert, and iroh goes on accepting', () =>
    withEndpoints(async (our, their) => {
      const dialled = our.connect(addrOf(their), 'unknown', WAIT).catch((error: unknown) => error);
      const incoming = await their.acceptNext();
      await expect(incoming!.accept().then((accepting) => accepting.connect())).rejects.toThrow(
        'NoApplicationProtocol',
      );
      expect(await dialled).toMatchObject({
        code: 'ConnectError.Connection',
        cause: {
          code: 'ConnectingError.ConnectionError',
          cause: { code: 'ConnectionError.ConnectionClosed', errorCode: NO_APPLICATION_PROTOCOL },
        },
      });
      const { ours } = await connect('we dial', our, their);
      expect(ours.closeReason).toBeUndefined();
    }));

  test('iroh dials: both sides fail with the alert, and we go on accepting', () =>
    withEndpoints(async (our, their) => {
      const dialled = their.connect(nativeAddrOf(our), nativeBytes('unknown')).catch(nativeMessage);
      const incoming = await our.accept(WAIT);
      await expect(incoming!.accept().connected).rejects.toMatchObject({
        code: 'ConnectionError.TransportError',
        errorCode: NO_APPLICATION_PROTOCOL,
      });
      expect(await dialled).toContain('aborted by peer: the cryptographic handshake failed: error 120');
      const { ours } = await connect('iroh dials', our, their);
      expect(ours.closeReason).toBeUndefined();
    }));
});

describe('B10: the right address with the wrong key', () => {
  test('we dial: the handshake fails, the peer is unharmed', () =>
    withEndpoints(async (our, their) => {
      const stranger = new EndpointAddr(SecretKey.generate().publicKey, addrOf(their).addrs);
      void their
        .acceptNext()
        .then((incoming) => incoming!.accept())
        .then((accepting) => accepting.connect())
        .catch(() => undefined);
      const error = await our.connect(stranger, ALPN, WAIT).catch((reason: unknown) => reason);
      expect(isIrohError(error, 'ConnectError.AuthenticationError')).toBe(true);
      expect((error as ConnectError).cause).toMatchObject({
        code: 'ConnectingError.HandshakeFailure',
        cause: { code: 'AuthenticationError.RemoteId' },
      });
      const { ours } = await connect('we dial', our, their);
      expect(ours.closeReason).toBeUndefined();
    }));

  test('iroh dials: we hear its alert, and go on', () =>
    withEndpoints(async (our, their) => {
      const stranger = NativeId.fromBytes([...SecretKey.generate().publicKey.toBytes()]);
      const at = nativeAddrOf(our).directAddresses();
      const dialled = their
        .connect(new NativeAddr(stranger, null, at), nativeBytes(ALPN))
        .catch(nativeMessage);
      await expect((await our.accept(WAIT))!.accept().connected).rejects.toMatchObject({
        code: 'ConnectionError.ConnectionClosed',
      });
      expect(await dialled).toContain('UnknownIssuer');
      const { ours } = await connect('iroh dials', our, their);
      expect(ours.closeReason).toBeUndefined();
    }));
});

describe('B08: the last close arrives', () => {
  test.each(DIALLERS)('%s: ours, then our endpoint closes', (dialler) =>
    withPair(dialler, async ({ our, ours, theirs }) => {
      ours.close(42, 'thanks, bye!');
      await our.close();
      expect(await theirs.closed()).toBe('closed by peer: thanks, bye! (code 42)');
    }),
  );

  test.each(DIALLERS)('%s: theirs, then their endpoint closes', (dialler) =>
    withPair(dialler, async ({ their, ours, theirs }) => {
      theirs.close(42n, nativeBytes('thanks, bye!'));
      await their.close();
      expect(await ours.closed).toMatchObject({
        code: 'ConnectionError.ApplicationClosed',
        errorCode: 42,
        reason: utf8('thanks, bye!'),
      });
    }),
  );

  test('a code above 2^53 - 1 from the wire is clamped and kept', () =>
    withPair('we dial', async ({ ours, theirs }) => {
      const largest = 2n ** 62n - 1n;
      theirs.close(largest, []);
      expect(await ours.closed).toMatchObject({ errorCode: Number.MAX_SAFE_INTEGER, rawCode: largest });
    }));

  test.each(DIALLERS)('%s: closing the endpoint is code 0 without a reason', (dialler) =>
    withPair(dialler, async ({ our, theirs }) => {
      await our.close();
      expect(await theirs.closed()).toBe('closed by peer: 0');
    }),
  );
});
