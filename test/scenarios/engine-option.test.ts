/** Endpoints with another engine than ours, and with peers that prove their keys by certificates. */
import { describe, expect, test } from '@jest/globals';
import { BindError, Endpoint, EndpointAddr, SecretKey, type EndpointOptions } from '../../src/index.ts';
import { QuicEndpoint } from '../../src/quic/endpoint.ts';
import type { EngineProvider } from '../../src/quic/engine.ts';
import { endpointTlsName } from '../../src/tls/endpoint-name.ts';
import { ALPN, echo, failure, onLoopback, simulated } from '../support/endpoints.ts';
import { limitedEngine } from '../support/limited-engine.ts';

describe('the engine of an endpoint', () => {
  test(
    'is ours by default, and says what it can do',
    onLoopback(async (place) => {
      const endpoint = await place.bind();
      expect(endpoint.capabilities).toEqual({
        multipath: true,
        natTraversal: true,
        addressDiscovery: true,
        rawPublicKeys: true,
        migration: true,
        exporter: true,
        virtualTime: true,
      });
    }),
  );

  test('A12: one that does not load, or cannot be made, is a BindError that says why; no socket is left', async () => {
    const cause = new Error('no such addon');
    const broken: EngineProvider[] = [
      { name: 'broken', load: () => Promise.reject(cause) },
      {
        name: 'broken',
        load: () =>
          Promise.resolve(() => {
            throw cause;
          }),
      },
    ];
    for (const engine of broken)
      await onLoopback(async (place) => {
        const error = await failure(place.bind({ engine }));
        expect(error).toBeInstanceOf(BindError);
        expect(error).toMatchObject({ code: 'BindError.Engine', cause });
        expect(error.message).toContain('"broken"');
      })();
  });

  test(
    'one that does not check who answers connects nobody else than who was dialled',
    simulated(async (place) => {
      const careless: EngineProvider = {
        name: 'careless',
        load: () =>
          Promise.resolve((options) => {
            const engine = new QuicEndpoint(options);
            const connect = engine.connect.bind(engine);
            engine.connect = (to, _serverName, config, now) => {
              const answering = endpointTlsName(server.id.toBytes());
              return connect(to, answering, config, now);
            };
            return engine;
          }),
      };
      const server = await place.bind({ alpns: [ALPN] });
      const client = await place.bind({ engine: careless });
      const accepted = failure(server.accept().then((incoming) => incoming!.accept().connected));
      const other = new EndpointAddr(SecretKey.generate().publicKey, place.addrOf(server).addrs);
      const error = await failure(client.connect(other, ALPN));
      expect(error).toMatchObject({
        code: 'ConnectError.AuthenticationError',
        cause: { code: 'ConnectingError.HandshakeFailure', cause: { code: 'AuthenticationError.RemoteId' } },
      });
      expect(await accepted).toMatchObject({ code: 'ConnectionError.ConnectionClosed' });
    }),
  );

  test('something that is no engine is a TypeError', async () => {
    const options = { preset: 'minimal', engine: 'quiche' } as unknown as EndpointOptions;
    await expect(Endpoint.bind(options)).rejects.toThrow(TypeError);
  });
});

describe('what an engine lacks is not asked of it', () => {
  test(
    'addressDiscovery: relays are found by HTTPS alone, and reports say nothing of UDP',
    simulated(async (place) => {
      const site = await place.addRelay();
      const endpoint = await place.bind({
        ...place.using(site),
        engine: limitedEngine({ addressDiscovery: false }),
      });
      await place.online(endpoint);
      const { netReport } = endpoint;
      expect(netReport?.latencies.map(({ kind }) => kind)).toEqual(['https']);
      expect([netReport?.udpV4, netReport?.globalV4, netReport?.preferredRelay?.href]).toEqual([
        false,
        undefined,
        site.relay.url.href,
      ]);
      expect(endpoint.addr.addrs.map(({ type }) => type).sort()).toEqual(['ip', 'relay']);
    }),
  );

  test(
    'natTraversal: no hole is punched; the client knocks at a direct address as soon as it knows one',
    simulated(async (place) => {
      const site = await place.addRelay();
      const engine = limitedEngine({ natTraversal: false });
      const { client, server } = await place.relayedPair([site], { client: { engine }, server: { engine } });
      const { ours, theirs } = await place.dial(client, server, place.relayAddrOf(server));
      const ways = (): unknown[] =>
        [ours, theirs].map(({ paths }) => paths.find(({ isSelected }) => isSelected)?.remoteAddr.type);
      await place.sleep(70_000);
      expect([ways(), client.metrics().value('holepunch_attempts')]).toEqual([['relay', 'relay'], 0]);
      await place.dial(client, server, place.addrOf(server));
      await place.sleep(1_000);
      expect(ways()).toEqual(['ip', 'ip']);
    }),
  );
});

describe('proofs of keys', () => {
  const PROOFS = {
    'raw keys': {},
    'raw keys and certificates': { x509Peers: true },
    certificates: { engine: limitedEngine({ rawPublicKeys: false }) },
  } as const satisfies Record<string, EndpointOptions>;
  type Proof = keyof typeof PROOFS;
  const names = Object.keys(PROOFS) as Proof[];
  const pairs = names.flatMap((client) => names.map((server) => ({ client, server })));
  const isMet = ({ client, server }: { client: Proof; server: Proof }): boolean =>
    client === server || [client, server].includes('raw keys and certificates');

  test.each(pairs.filter(isMet))('$client dials $server: both know whom they talk to', (pair) =>
    simulated(async (place) => {
      const { client, server, ours, theirs } = await place.connect({
        client: PROOFS[pair.client],
        server: PROOFS[pair.server],
      });
      expect([ours.remoteId, theirs.remoteId]).toEqual([server.id, client.id]);
      void echo(theirs);
      await place.ask(ours);
      // What is known of a peer is known by its key.
      for (const [endpoint, peer] of [
        [client, server],
        [server, client],
      ] as const)
        expect((await endpoint.remoteInfo(peer.id))?.addrs.some(({ usage }) => usage === 'active')).toBe(
          true,
        );
      // A session that is resumed has the same peer.
      ours.close();
      await theirs.closed;
      const again = await place.dial(client, server);
      expect([again.ours.remoteId, again.theirs.remoteId]).toEqual([server.id, client.id]);
    })(),
  );

  test.each(pairs.filter((pair) => !isMet(pair)))('$client dials $server: an error that says why', (pair) =>
    simulated(async (place) => {
      const server = await place.serve(PROOFS[pair.server]);
      const client = await place.bind(PROOFS[pair.client]);
      void place.acceptOn(server).catch(() => undefined);
      const error = await failure(client.connect(place.addrOf(server), ALPN, place.wait));
      expect(error.code).toBe('ConnectError.CertificateType');
      expect(error.message).toMatch(/x509Peers|default engine/);
    })(),
  );

  test(
    'a certificate of another key than the one that is dialled is refused',
    simulated(async (place) => {
      const server = await place.serve(PROOFS.certificates);
      const client = await place.bind(PROOFS['raw keys and certificates']);
      const other = await place.bind();
      void place.acceptOn(server).catch(() => undefined);
      const addr = new EndpointAddr(other.id, place.addrOf(server).addrs);
      const error = await failure(client.connect(addr, ALPN, place.wait));
      expect(error.code).toBe('ConnectError.AuthenticationError');
    }),
  );
});
