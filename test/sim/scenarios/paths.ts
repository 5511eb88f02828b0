import { CLIENT_SECOND_IP, Pair, SERVER_SECOND_IP } from '../../support/pair.ts';
import { delay, loss } from '../../support/sim-network.ts';
import { exchange, startExchange, type Scenario } from '../scenario.ts';

export const natRebinding: Scenario = {
  name: 'nat-rebinding',
  claim:
    "the client's NAT forgets its mapping now and then: the connection follows the new address, without a pause of note",
  run(seed) {
    const pair = new Pair({ seed, links: [delay(20), loss(0.01)], clientNat: 'moderate' });
    const both = pair.connect();
    const finish = startExchange(pair, both, { streams: 8, maxBytes: 80_000 });
    for (let i = 0; i < 4; i++) {
      pair.runFor(pair.rng.between(10, 1_500));
      pair.rebindClient();
    }
    finish();
    exchange(pair, both, { streams: 3, maxBytes: 5_000 });
    pair.end();
  },
};

export const migration: Scenario = {
  name: 'client-migration',
  claim:
    'without multipath, the client moves to another socket and tells the engine: the server follows (RFC 9000 §9)',
  run(seed) {
    const pair = new Pair({
      seed,
      links: [delay(20), loss(0.02)],
      transport: { maxConcurrentPaths: undefined, maxNatAddresses: undefined },
    });
    const both = pair.connect();
    pair.require(!both.client.quic.multipath, 'multipath is off');
    const finish = startExchange(pair, both, { streams: 8, maxBytes: 60_000 });
    pair.runFor(pair.rng.between(0, 300));
    const old = pair.client.addr;
    pair.client.unbind(old);
    pair.client.bind(0, pair.rng.chance(0.5) ? CLIENT_SECOND_IP : undefined);
    pair.client.engine.handleNetworkChange(undefined, pair.now);
    finish();
    pair.require(
      both.server.quic.paths().every(({ remote }) => remote === pair.client.addr),
      'the server still sends to the old address',
    );
    pair.end();
  },
};

export const networkChange: Scenario = {
  name: 'network-change',
  claim: 'with multipath, the client changes networks: it replaces the path, and data goes on at once',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(20), loss(0.02)] });
    const both = pair.connect();
    pair.runFor(500);
    const finish = startExchange(pair, both, { streams: 8, maxBytes: 60_000, withinMs: 10_000 });
    pair.runFor(pair.rng.between(0, 300));
    pair.client.unbind(pair.client.addr);
    pair.client.bind(0, CLIENT_SECOND_IP);
    pair.client.engine.handleNetworkChange(undefined, pair.now);
    finish();
    pair.require(both.client.has('pathAbandoned'), 'the old path was not replaced');
    pair.end();
  },
};

export const pathCycles: Scenario = {
  name: 'path-cycles',
  claim:
    'paths are opened and abandoned again and again during a transfer, by either side, under loss: no byte is lost',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(15), loss(0.02)] });
    const both = pair.connect();
    const { client, server } = both;
    pair.runFor(500);
    const finish = startExchange(pair, both, { streams: 6, maxBytes: 200_000 });
    for (let i = 0; i < 8; i++) {
      const path = pair.openPath(both);
      pair.runFor(pair.rng.below(200));
      pair.requireOpen(client, server);
      const open = client.quic.paths().map(({ id }) => id);
      const gone = open.length > 1 ? pair.rng.pick(open) : path;
      const side = pair.rng.chance(0.5) ? client : server;
      if (side.quic.paths().length > 1 && side.isPathOpen(gone)) side.quic.closePath(gone, 0, pair.now);
      pair.runFor(pair.rng.below(300));
    }
    finish();
    pair.end();
  },
};

export const dyingPath: Scenario = {
  name: 'dying-path',
  claim: 'two paths carry a transfer and one of them dies silently: its data is repaired on the other',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(15)] });
    const both = pair.connect();
    pair.runFor(500);
    const second = pair.client.bind(0, CLIENT_SECOND_IP);
    const path = pair.openPath(both, { local: second });
    const finish = startExchange(pair, both, { streams: 6, maxBytes: 300_000, withinMs: 60_000 });
    pair.runFor(pair.rng.between(0, 150));
    const dead = pair.rng.chance(0.5) ? second : pair.client.addr;
    pair.client.host.up.dropIf = (datagram) => datagram.from === dead;
    pair.client.host.down.dropIf = (datagram) => datagram.to === dead;
    finish();
    // The path idles out on its own (15 s).
    const deadPath = dead === second ? path : 0;
    pair.runUntil(() => both.client.all('pathAbandoned').some((event) => event.path === deadPath), {
      withinMs: 60_000,
      what: 'the dead path was abandoned',
    });
    exchange(pair, both, { streams: 3, maxBytes: 20_000 });
    pair.end();
  },
};

export const quietSide: Scenario = {
  name: 'quiet-side',
  claim:
    'the path with the data dies, and one side does nothing but answer: its answers take the path that works',
  run(seed) {
    const pair = new Pair({
      seed,
      links: [delay(15), loss(0.01)],
      clientTransport: { keepAliveIntervalMs: undefined, pathKeepAliveIntervalMs: undefined },
    });
    const both = pair.connect();
    pair.runFor(500);
    const first = pair.client.addr;
    const path = pair.openPath(both, { local: pair.client.bind(0, CLIENT_SECOND_IP) });
    // Long enough for MTU discovery: from then on, nothing but the server's pings happens on the second path.
    pair.runFor(3_000);
    // One way only: the client has nothing in flight whose loss would tell it anything.
    const data = pair.bytes(600_000);
    const id = both.server.sendNew(data);
    pair.runFor(pair.rng.between(20, 120));
    pair.client.host.up.dropIf = (datagram) => datagram.from === first;
    pair.client.host.down.dropIf = (datagram) => datagram.to === first;
    pair.runUntil(() => both.client.isFinished(id), { withinMs: 5_000, what: 'all data is there' });
    pair.requireEqual(both.client.data(id), data, 'data');
    pair.require(
      both.client.isPathOpen(path) && both.server.isPathOpen(path),
      'the working path was given up',
    );
    pair.end();
  },
};

export const backupPath: Scenario = {
  name: 'backup-path',
  claim: 'a backup path carries no stream data until the available one is closed',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(15), loss(0.01)] });
    const both = pair.connect();
    const { client, server } = both;
    pair.runFor(500);
    const path = pair.openPath(both, {}, 'backup');
    server.quic.setPathStatus(path, 'backup');
    pair.runFor(500);
    const before = client.quic.pathStats(path)!.udpTx.bytes;
    pair.transfer(client, server, 200_000);
    const used = client.quic.pathStats(path)!.udpTx.bytes - before;
    pair.require(used < 40_000, `the backup path carried ${used} bytes`);
    client.quic.closePath(0, 0, pair.now);
    pair.transfer(client, server, 100_000);
    pair.transfer(server, client, 100_000);
    pair.end();
  },
};

export const natTraversal: Scenario = {
  name: 'nat-traversal',
  claim: 'client and server behind port-restricted NATs find a direct path by REACH_OUT rounds, under loss',
  run(seed) {
    const pair = new Pair({ seed, links: [delay(20), loss(0.02)], clientNat: 'moderate' });
    const both = pair.connect();
    const { client, server } = both;
    pair.runFor(500);
    // A second server socket that only hears from whom it has sent to would be behind a NAT; here it is plain.
    const second = pair.server.bind(0, SERVER_SECOND_IP);
    server.quic.addNatAddress(second);
    pair.runUntil(() => client.quic.remoteNatAddresses().length > 0, {
      what: 'the client knows the candidate',
    });
    client.quic.addNatAddress(pair.client.addr);
    const isThere = (): boolean =>
      client.quic.paths().some(({ remote, validated }) => remote === second && validated);
    for (let round = 0; round < 6 && !isThere(); round++) {
      client.quic.initiateNatRound(pair.now);
      pair.runFor(3_000);
    }
    pair.require(isThere(), 'no path to the second socket');
    exchange(pair, both, { streams: 4, maxBytes: 20_000 });
    pair.end();
  },
};
