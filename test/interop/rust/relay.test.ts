/** Real iroh and ours on a relay server of ours with TLS and address discovery: by the relay alone, and directly from there. */
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import {
  EndpointAddr,
  EndpointId,
  Router,
  type Connection,
  type Endpoint,
  type EndpointOptions,
} from '../../../src/index.ts';
import { RelayServer, type RelayServerOptions } from '../../../src/relay-server.ts';
import { sourceChunks, sourceHash } from '../source-bytes.ts';
import { makeServerCertificate, type TestCertificate } from '../../support/certificates.ts';
import { ask, askUs, DIALLERS, echoAll, eventually, ipOf, useRustPeer, type Dialler } from './fixture.ts';
import { cuttable } from './filtered-sockets.ts';
import { ALPN, loopbackOf, WAIT, type Fields, type RustConnection, type RustEndpoint } from './rust-peer.ts';

const rust = useRustPeer();
let certificate: TestCertificate;
const relays: RelayServer[] = [];

beforeAll(async () => {
  certificate = await makeServerCertificate();
});

// After the endpoints: hooks run in the order of their definition.
afterEach(async () => {
  await Promise.all(relays.splice(0).map((relay) => relay.close()));
});

async function listen(options: RelayServerOptions = {}): Promise<RelayServer> {
  const { chain: cert, key } = certificate;
  const relay = await RelayServer.listen({
    tls: { bind: '127.0.0.1:0', cert, key },
    addressDiscovery: { bind: '127.0.0.1:0' },
    ...options,
  });
  relays.push(relay);
  return relay;
}

/** One of ours that uses the relay. */
function ourOn(
  relay: RelayServer,
  options: EndpointOptions = {},
  authToken: string | undefined = undefined,
): Promise<Endpoint> {
  const { url, quicPort } = relay;
  return rust.our({ relay: [{ url, quicPort, authToken }], tls: { roots: [certificate.root] }, ...options });
}

/** A real one that uses the relay. */
function theirOn(relay: RelayServer, fields: Fields = {}): Promise<RustEndpoint> {
  const der = certificate.root.replaceAll(/-----.*-----|\s/g, '');
  return rust.their({ relays: [relay.url.href], relayQuicPort: relay.quicPort, roots: [der], ...fields });
}

/** Both are online. */
async function bothOn(
  relay: RelayServer,
  options: EndpointOptions = {},
  fields: Fields = {},
): Promise<{ our: Endpoint; their: RustEndpoint }> {
  const [our, their] = [await ourOn(relay, options), await theirOn(relay, fields)];
  await Promise.all([our.online(WAIT), their.call('online')]);
  return { our, their };
}

/** Where a real endpoint is: on a relay, and at its socket if `isDirectToo`. */
function addrAt(their: RustEndpoint, relay: RelayServer, isDirectToo = false): EndpointAddr {
  const directs = isDirectToo ? their.addr.addrs : [];
  return new EndpointAddr(EndpointId.parse(their.id), [{ type: 'relay', url: relay.url }, ...directs]);
}

/** Connects by the relay, and directly too if `isDirectToo`. */
async function meet(
  dialler: Dialler,
  our: Endpoint,
  their: RustEndpoint,
  relay: RelayServer,
  isDirectToo = false,
): Promise<{ ours: Connection; theirs: RustConnection }> {
  if (dialler === 'we dial') {
    const accepted = their.accept();
    const ours = await our.connect(addrAt(their, relay, isDirectToo), ALPN, WAIT);
    return { ours, theirs: await accepted };
  }
  const addrs = [relay.url.href, ...(isDirectToo ? [loopbackOf(our)] : [])];
  const dialled = their.dial(our, { addrs });
  const incoming = await our.accept(WAIT);
  const [ours, theirs] = await Promise.all([incoming!.accept().connected, dialled]);
  return { ours, theirs };
}

/** Our open paths, the selected one first: `ip selected available`, `relay backup`. */
function pathsOf(ours: Connection): string[] {
  return ours.paths
    .toSorted((a, b) => Number(b.isSelected) - Number(a.isSelected))
    .map(({ remoteAddr, status, isSelected }) =>
      [remoteAddr.type, ...(isSelected ? ['selected'] : []), status].join(' '),
    );
}

/** Those of the peer, without status. */
async function theirPaths(theirs: RustConnection): Promise<string[]> {
  const { paths } = await theirs.call<{ paths: { remote: string; selected: boolean }[] }>('paths');
  return paths
    .toSorted((a, b) => Number(b.selected) - Number(a.selected))
    .map(({ remote, selected }) =>
      [remote.startsWith('https:') ? 'relay' : 'ip', ...(selected ? ['selected'] : [])].join(' '),
    );
}

/** Both sides send on the first one and keep nothing but the second one, whatever the order in which they get there. */
async function settled(ours: Connection, theirs: RustConnection, paths: readonly string[]): Promise<void> {
  const their = paths.map((path) => path.replace(/ (available|backup)$/, ''));
  await eventually(async () => {
    const now = await theirPaths(theirs);
    return String(pathsOf(ours)) === String(paths) && String(now) === String(their);
  });
}

/** So many bytes each way, byte-identical. */
async function transfer(ours: Connection, theirs: RustConnection, length: number): Promise<void> {
  const sinking = theirs.call('sink');
  const send = await ours.openUni(WAIT);
  for (const chunk of sourceChunks(1, length, 65_536)) await send.write(chunk);
  send.finish();
  expect(await sinking).toMatchObject({ bytes: length, sha256: sourceHash(1, length) });
  const sourcing = theirs.call('source', { bytes: length, seed: 2, chunk: 65_536 });
  const recv = await ours.acceptUni(WAIT);
  let received = 0;
  for await (const chunk of recv) received += chunk.length;
  expect(received).toBe(length);
  expect(await sourcing).toMatchObject({ bytes: length, sha256: sourceHash(2, length) });
}

const DIRECT = ['ip selected available', 'relay backup'];
const RELAYED = ['relay selected available'];
const refused = {
  code: 'ConnectError.Connection',
  cause: { cause: { code: 'ConnectionError.ConnectionClosed', transportCode: 'CONNECTION_REFUSED' } },
};

describe.each(DIALLERS)('%s', (dialler) => {
  test('F02: by the relay alone, echo', async () => {
    const relay = await listen();
    const { our, their } = await bothOn(relay);
    const { ours, theirs } = await meet(dialler, our, their, relay);
    expect(relay.metrics().send_packets_sent).toBeGreaterThan(0);
    await theirs.serve();
    expect(await ask(ours, 'hello')).toBe('hello');
    void echoAll(ours);
    expect(await askUs(theirs, 'hello')).toBe('hello');
  });

  test('D02: it starts at the relay, a direct path appears, and both sides select it', async () => {
    const relay = await listen();
    const { our, their } = await bothOn(relay);
    const { ours, theirs } = await meet(dialler, our, their, relay);
    const events: string[] = [];
    ours.pathEvents$.subscribe((event) => {
      if (event.type === 'opened' || event.type === 'selected')
        events.push(`${event.type} ${event.remoteAddr.type}`);
    });
    await transfer(ours, theirs, 10);
    await settled(ours, theirs, DIRECT);
    expect(ours.paths.find(({ id }) => id === 0)!.remoteAddr.type).toBe('relay');
    expect(events).toEqual(expect.arrayContaining(['opened relay', 'opened ip', 'selected ip']));
    expect(ipOf(ours.paths.find(({ isSelected }) => isSelected)!)).toBe(their.socket);
    const relayed = relay.metrics().bytes_sent;
    await transfer(ours, theirs, 1 << 20);
    // D05: what is sent from now on goes directly.
    expect(relay.metrics().bytes_sent - relayed).toBeLessThan(1 << 19);
  });

  test('D03: neither has a socket: it stays relayed, on one path', async () => {
    const relay = await listen();
    const { our, their } = await bothOn(relay, { pathPolicy: 'relay' }, { bind: [] });
    expect(our.boundSockets).toEqual([]);
    const { ours, theirs } = await meet(dialler, our, their, relay);
    await transfer(ours, theirs, 1 << 20);
    expect(pathsOf(ours)).toEqual(RELAYED);
    expect(await theirPaths(theirs)).toEqual(['relay selected']);
    expect(relay.metrics().bytes_sent).toBeGreaterThan(2 << 20);
  });

  test('D04: both addresses: directly first, the relay as backup on both sides', async () => {
    const relay = await listen();
    const { our, their } = await bothOn(relay);
    const { ours, theirs } = await meet(dialler, our, their, relay, true);
    await settled(ours, theirs, DIRECT);
    await theirs.serve();
    expect(await ask(ours, 'hello')).toBe('hello');
    await settled(ours, theirs, DIRECT);
  });

  test('D20: the direct path goes silent: both go on by the relay', async () => {
    const relay = await listen();
    const { platform, cut } = cuttable();
    const { our, their } = await bothOn(relay, { platform });
    const { ours, theirs } = await meet(dialler, our, their, relay);
    await settled(ours, theirs, DIRECT);
    cut();
    const start = performance.now();
    const sinking = theirs.call('sink');
    const send = await ours.openUni(WAIT);
    await send.write(Buffer.from('still there?'));
    send.finish();
    expect(await sinking).toMatchObject({ bytes: 12 });
    // noq sends where it did, acknowledgments as well, until nothing came from there for 15 s. We need not wait for that.
    expect(performance.now() - start).toBeLessThan(10_000);
    await settled(ours, theirs, RELAYED);
    await theirs.serve();
    expect(await ask(ours, 'good')).toBe('good');
  });

  test('F09: the relay restarts: a relayed connection goes on', async () => {
    const before = await listen();
    const { our, their } = await bothOn(before, { pathPolicy: 'relay' }, { bind: [] });
    const { ours, theirs } = await meet(dialler, our, their, before);
    await theirs.serve();
    expect(await ask(ours, 'before')).toBe('before');
    const { chain: cert, key } = certificate;
    const bind = `127.0.0.1:${before.httpsAddr!.port}`;
    await before.close();
    const after = await listen({ tls: { bind, cert, key } });
    await eventually(() => after.clientCount === 2);
    expect(await ask(ours, 'after')).toBe('after');
  });

  test('F07: a relay that demands a token', async () => {
    const relay = await listen({ access: { tokens: ['right'] } });
    const [wrong, our] = [await ourOn(relay, {}, 'wrong'), await ourOn(relay, {}, 'right')];
    const theirWrong = await theirOn(relay, { relayToken: 'wrong' });
    const their = await theirOn(relay, { relayToken: 'right' });
    await Promise.all([our.online(WAIT), their.call('online')]);
    const { ours, theirs } = await meet(dialler, our, their, relay);
    await theirs.serve();
    expect(await ask(ours, 'hello')).toBe('hello');
    await eventually(() => wrong.homeRelay?.lastError !== undefined);
    expect(wrong.homeRelay!.state).not.toBe('connected');
    expect(String(wrong.homeRelay!.lastError)).toContain('not authorized');
    // The same on the other side.
    let status: { connected: boolean; lastError: string | null } | undefined;
    await eventually(async () => {
      const { relays: all } = await theirWrong.call<{ relays: (typeof status)[] }>('relayStatus');
      status = all[0];
      return typeof status?.lastError === 'string';
    });
    expect(status).toMatchObject({ connected: false, lastError: expect.stringContaining('not authorized') });
  });

  test('F16: each on a relay of its own', async () => {
    const [relay, other] = [await listen(), await listen()];
    const our = await ourOn(relay, { pathPolicy: 'relay' });
    const their = await theirOn(other, { bind: [] });
    await Promise.all([our.online(WAIT), their.call('online')]);
    const used = dialler === 'we dial' ? other : relay;
    const { ours, theirs } = await meet(dialler, our, their, used);
    await transfer(ours, theirs, 1 << 18);
    expect(used.clientCount).toBe(2);
    expect(used.metrics().bytes_sent).toBeGreaterThan(2 << 18);
  });

  test.each([
    ['small', 10],
    ['large', 16 << 20],
  ])('H01: %s data both ways, while it becomes direct', async (_size, length) => {
    const relay = await listen();
    const { our, their } = await bothOn(relay);
    const { ours, theirs } = await meet(dialler, our, their, relay);
    await transfer(ours, theirs, length);
    await settled(ours, theirs, DIRECT);
  });

  test.each(['H02: we hear', 'H03: both hear'])(
    '%s of network changes again and again during transfers',
    async (who) => {
      const relay = await listen();
      const { our, their } = await bothOn(relay);
      const { ours, theirs } = await meet(dialler, our, their, relay);
      let isDone = false;
      const transfers = (async () => {
        for (let round = 0; round < 5; round++) await transfer(ours, theirs, 4 << 20);
      })().finally(() => (isDone = true));
      let changes = 0;
      await eventually(async () => {
        our.networkChanged();
        if (who.startsWith('H03')) await their.call('networkChange');
        changes++;
        await new Promise((resolve) => setTimeout(resolve, 100));
        return isDone;
      });
      await transfers;
      expect(changes).toBeGreaterThan(1);
      await settled(ours, theirs, DIRECT);
    },
  );

  test.each([
    ['small', 10],
    ['large', 16 << 20],
  ])('H01: %s data both ways, relayed', async (_size, length) => {
    const relay = await listen();
    const { our, their } = await bothOn(relay, { pathPolicy: 'relay' }, { bind: [] });
    const { ours, theirs } = await meet(dialler, our, their, relay);
    await transfer(ours, theirs, length);
    expect(pathsOf(ours)).toEqual(RELAYED);
  });
});

describe('attempts that come by the relay', () => {
  /** Its attempt at ours; the peer gives it up with its endpoint. */
  const dialBy = (their: RustEndpoint, our: Endpoint, relay: RelayServer): Promise<RustConnection> =>
    their.dial(our, { addrs: [relay.url.href] });

  test('G06: our router rejects one id, and serves another', async () => {
    const relay = await listen();
    const { our, their: bad } = await bothOn(relay);
    const good = await theirOn(relay);
    const router = Router.builder(our)
      .incomingFilter(({ remoteAddr }) =>
        remoteAddr.type === 'relay' && remoteAddr.endpointId.toString() === bad.id ? 'reject' : 'accept',
      )
      .accept(ALPN, echoAll)
      .spawn();
    const error = await dialBy(bad, our, relay).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ closed: { type: 'connectionClosed', code: '2' } });
    expect(await askUs(await dialBy(good, our, relay), 'hello')).toBe('hello');
    await router.shutdown();
  });

  test('G06: a real endpoint refuses and ignores us', async () => {
    const relay = await listen();
    const { our, their } = await bothOn(relay);
    const first = our.connect(addrAt(their, relay), ALPN, WAIT).catch((reason: unknown) => reason);
    const attempt = await their.call('incoming');
    expect(attempt).toMatchObject({
      remoteAddr: relay.url.href,
      relayedId: our.id.toString(),
      remoteAddrValidated: false,
    });
    await rust.peer.call('incoming.refuse', { incoming: attempt['incoming'] });
    expect(await first).toMatchObject(refused);
    const second = our.connect(addrAt(their, relay), ALPN, WAIT);
    const { incoming } = await their.call('incoming');
    await rust.peer.call('incoming.ignore', { incoming });
    // Our next flight is another attempt for it.
    await (await their.accept()).serve();
    expect(await ask(await second, 'hello')).toBe('hello');
  });

  test('G07: our router retries once, then it sees a validated attempt', async () => {
    const relay = await listen();
    const { our, their } = await bothOn(relay);
    const seen: [string, boolean][] = [];
    const router = Router.builder(our)
      .incomingFilter(({ remoteAddr, remoteAddrValidated }) => {
        seen.push([remoteAddr.type, remoteAddrValidated]);
        return remoteAddrValidated ? 'accept' : 'retry';
      })
      .accept(ALPN, echoAll)
      .spawn();
    expect(await askUs(await dialBy(their, our, relay), 'hello')).toBe('hello');
    expect(seen).toEqual([
      ['relay', false],
      ['relay', true],
    ]);
    await router.shutdown();
  });

  test('G07: a real endpoint retries us', async () => {
    const relay = await listen();
    const { our, their } = await bothOn(relay);
    await their.call('serve', { service: 'echo', retry: true });
    const ours = await our.connect(addrAt(their, relay), ALPN, WAIT);
    expect(await ask(ours, 'hello')).toBe('hello');
  });
});

describe('address discovery', () => {
  test('H12: our relay tells a real endpoint and ours the addresses of their sockets', async () => {
    const relay = await listen();
    const { our, their } = await bothOn(relay);
    await eventually(() => our.netReport?.globalV4 !== undefined);
    expect(our.netReport!.globalV4!.text).toBe(loopbackOf(our));
    await eventually(async () => {
      const { report } = await their.call<{ report: string | null }>('netReport');
      return report?.includes(`global_v4: Some(${their.socket})`) === true;
    });
  });

  test('H01, H11: a real endpoint measures our relay over QUIC and HTTPS, and takes it for its home', async () => {
    const relay = await listen();
    const their = await theirOn(relay);
    const url = `RelayUrl("${relay.url.href}")`;
    await eventually(async () => {
      const { report } = await their.call<{ report: string | null }>('netReport');
      const wanted = ['udp_v4: true', `preferred_relay: Some(${url})`, `ipv4: {${url}: `, `https: {${url}: `];
      return report !== null && wanted.every((part) => report.includes(part));
    });
  });
});

test('D02: two real endpoints meet on our relay and go on directly', async () => {
  const relay = await listen();
  const [server, client] = [await theirOn(relay), await theirOn(relay)];
  await Promise.all([server.call('online'), client.call('online')]);
  const fields = { remote: server.id, addrs: [relay.url.href], alpn: ALPN };
  const [accepted, { connection }] = await Promise.all([
    server.accept(),
    client.call<{ connection: number }>('dial', fields),
  ]);
  const paths = async (handle: number): Promise<boolean> => {
    const answer = await rust.peer.call<{ paths: { remote: string; selected: boolean }[] }>('paths', {
      connection: handle,
    });
    return answer.paths.some(({ remote, selected }) => selected && !remote.startsWith('https:'));
  };
  await eventually(async () => (await paths(connection)) && (await paths(accepted.handle)));
});
