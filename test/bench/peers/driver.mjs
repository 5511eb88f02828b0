// The driver alone: engine, driver and one UDP socket with the same handles on top, and none of the actors.
import { ActorSystem } from '../../../dist/actors/actor-system.js';
import { ConnectionActor } from '../../../dist/actors/connection-actor.js';
import { EndpointTls } from '../../../dist/actors/endpoint-tls.js';
import { EngineDriver } from '../../../dist/actors/engine-driver.js';
import { MappedAddrs } from '../../../dist/actors/mapped-addrs.js';
import { parseAddr } from '../../../dist/base/socket-addr.js';
import { Connection } from '../../../dist/connection.js';
import { EndpointId, SecretKey } from '../../../dist/index.js';
import { DEFAULT_TRANSPORT_CONFIG } from '../../../dist/quic/config.js';
import { QuicEndpoint } from '../../../dist/quic/endpoint.js';
import { endpointTlsName } from '../../../dist/tls/endpoint-name.js';
import { Log } from '../../../dist/transport/log.js';
import { systemPlatform } from '../../../dist/transport/system-platform.js';
import { callerOf, serviceOf } from './iroh-ts.mjs';

const encoder = new TextEncoder();
const { clock, rng, bindUdp } = systemPlatform;

async function open(options) {
  const secretKey = SecretKey.generate(rng);
  const tls = new EndpointTls({
    secretKey,
    forms: ['rawPublicKey'],
    keyLog: undefined,
    rng,
    wallNow: clock.wallNow(),
  });
  const transport = { ...DEFAULT_TRANSPORT_CONFIG, ...options.transport };
  const socket = await bindUdp({ ip: '127.0.0.1', port: 0 });
  const engine = new QuicEndpoint({ rng, wallOffsetMs: clock.wallNow() - clock.now() });
  const transports = {
    onDatagrams: undefined,
    onDrained: undefined,
    get queued() {
      return socket.queued;
    },
    send: (batch) => socket.send(batch, 0, batch.length),
  };
  socket.onDatagrams = (batch) => transports.onDatagrams(batch);
  socket.onDrained = () => transports.onDrained();
  const driver = new EngineDriver(engine, transports, clock);
  const shared = {
    driver,
    mapped: new MappedAddrs(rng),
    log: new Log(undefined),
    system: new ActorSystem({ clock, onError: () => {} }),
    admit: () => Promise.resolve(),
  };
  const adopt = (quic) => {
    const actor = new ConnectionActor({ ...shared, quic });
    driver.wake();
    return actor;
  };
  const close = async () => {
    engine.close(0n, new Uint8Array(0), clock.now());
    driver.flush();
    driver.stop();
    await socket.close();
  };
  return { secretKey, tls, transport, socket, engine, driver, adopt, close };
}

export async function serve(options = {}) {
  const { secretKey, tls, transport, socket, engine, driver, adopt, close } = await open(options);
  const counters = { bytes: 0, connections: 0 };
  const alpns = ['bench/echo', 'bench/sink', 'bench/source'].map((name) => encoder.encode(name));
  engine.setServerConfig(tls.serverConfig(alpns, transport));
  const serveConnection = serviceOf(counters);
  driver.onIncoming = (incoming) => {
    const actor = adopt(engine.accept(incoming, clock.now()));
    actor.connected.promise.then(() => serveConnection(new Connection(actor))).catch(() => {});
  };
  return { address: `${secretKey.publicKey} ${socket.localAddr.text}`, counters, close };
}

export async function client(address, options = {}) {
  const [id, addr] = address.split(' ');
  const { tls, transport, engine, adopt, close } = await open(options);
  return {
    counters: {},
    async connect(alpn) {
      const quic = engine.connect(
        { remote: parseAddr(addr), local: undefined },
        endpointTlsName(EndpointId.parse(id).toBytes()),
        tls.clientConfig([encoder.encode(alpn)], transport),
        clock.now(),
      );
      const actor = adopt(quic);
      await actor.connected.promise;
      return callerOf(new Connection(actor));
    },
    close,
  };
}
