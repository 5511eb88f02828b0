/** Invariants of the port mapper (M1 to M3) under random orders of everything that can happen to it and to its router. */
import { expect, test } from '@jest/globals';
import type { GatewayProtocol } from '../support/sim-gateway.ts';
import { EXTERNAL_IP, GATEWAY_IP, PortMapperRig } from '../support/port-mapper-rig.ts';
import { SimRng } from '../support/sim-rng.ts';

const RUNS = Number(process.env['SIM_RUNS'] ?? 30);
const STEPS = 40;
/** To replay one run. */
const ONLY = process.env['PORT_MAPPER_SEED'];

const PROTOCOLS: readonly GatewayProtocol[] = ['pcp', 'natPmp', 'upnp'];

/** @returns how often an address was told, and checked to be open. */
async function runOne(seed: number): Promise<number> {
  const rng = new SimRng(seed);
  const rig = new PortMapperRig({ seed, services: PROTOCOLS.filter(() => rng.chance(0.6)) });
  const { gateway, mapper, network, host, world } = rig;
  gateway.igdVersion = rng.chance(0.5) ? 1 : 2;
  gateway.isPermanentOnly = rng.chance(0.2);
  /** A router that does nothing that a client could not know of. */
  const isFair = rng.chance(0.6);
  // By UPnP no router says that it granted less.
  gateway.maxLeaseS = isFair ? 86_400 : rng.pick([10, 60, 86_400]);
  let checks = 0;
  const actions: (() => void)[] = [
    () => mapper.setPort(rng.pick([undefined, 1_111, 2_222])),
    () => mapper.setPort(1_111),
    () => mapper.procure(),
    () => mapper.procure(),
    () => mapper.check(),
    () => (gateway.isRefusing = rng.chance(0.3)),
    () => {
      const protocol = rng.pick(PROTOCOLS);
      if (rng.chance(0.7)) gateway.services.add(protocol);
      else gateway.services.delete(protocol);
    },
    () => (gateway.delayMs = rng.pick([1, 20, 300, 5_000])),
    () => (network.defaultRoute = rng.chance(0.8) ? 'eth0' : undefined),
  ];
  const tricks: (() => void)[] = [
    () => gateway.restart(),
    () => (host.gatewayIp = rng.chance(0.8) ? GATEWAY_IP : '192.168.1.254'),
    () => world.network.moveNat(host, rng.chance(0.5) ? EXTERNAL_IP : '203.0.113.99'),
    () => {
      gateway.mangleDatagram = rng.chance(0.5)
        ? undefined
        : (datagram) => {
            const data = datagram.data.slice();
            data[rng.below(data.length)]! ^= 1 << rng.below(8);
            return rng.chance(0.3) ? undefined : { ...datagram, data };
          };
    },
    () => {
      gateway.mangleWeb = rng.chance(0.5)
        ? undefined
        : async (_request, answer) => {
            const body = answer.body.slice();
            if (body.length > 0) body[rng.below(body.length)]! ^= 1 << rng.below(8);
            return { ...answer, body };
          };
    },
  ];
  for (let step = 0; step < STEPS; step++) {
    const action = rng.pick(isFair || rng.chance(0.7) ? actions : tricks);
    action();
    await rig.run(rng.pick([0, 1, 10, 500, 20_000, 1_000_000]));
    expect(rig.errors).toEqual([]);
    // M1: sockets of one question at a time, and of what is being taken back.
    expect(world.openSockets).toBeLessThanOrEqual(PROTOCOLS.length + 3);
    // M2: what is told is open, unless the router changed behind our back.
    const told = mapper.externalAddr.value;
    if (told === undefined || !isFair) continue;
    expect([...gateway.openPorts.keys()]).toContain(told.port);
    checks++;
  }
  // M3: whatever was mapped is given back, if the router can still be asked as before.
  gateway.delayMs = 1;
  gateway.mangleDatagram = undefined;
  gateway.mangleWeb = undefined;
  for (const protocol of PROTOCOLS) gateway.services.add(protocol);
  gateway.isRefusing = false;
  network.defaultRoute = 'eth0';
  const told = mapper.externalAddr.value;
  await world.run(mapper.stop(), 5_000);
  if (told !== undefined && isFair) expect([...gateway.openPorts.keys()]).not.toContain(told.port);
  await rig.run(10_000);
  await rig.stop();
  return checks;
}

test('inv-M1, inv-M2, inv-M3: random routers, ports, networks and answers', async () => {
  const seeds = ONLY === undefined ? Array.from({ length: RUNS }, (_, i) => i + 1) : [Number(ONLY)];
  let checks = 0;
  for (const seed of seeds) {
    try {
      checks += await runOne(seed);
    } catch (cause) {
      throw new Error(`PORT_MAPPER_SEED=${seed}: ${String(cause)}`, { cause });
    }
  }
  if (ONLY === undefined) expect(checks).toBeGreaterThan(100);
});
