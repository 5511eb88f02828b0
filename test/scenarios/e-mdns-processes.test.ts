/** Two processes of this machine find each other by id alone, over real multicast; left out, with a line, where there is none. */
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { Endpoint, EndpointId } from '../../src/index.ts';
import { MdnsLookup, type DiscoveryEvent } from '../../src/lookup/mdns.ts';
import { ALPN, WAIT } from '../support/endpoints.ts';
import { endPrograms, runNode, type Program } from '../support/program.ts';
import { workingFamilies } from '../support/real-multicast.ts';

const dist = (name: string): string => JSON.stringify(join(import.meta.dirname, '..', '..', 'dist', name));
/** Of this run only, so that others on the machine are no neighbours. */
const serviceName = `test-${process.pid}`;
const endpoints: Endpoint[] = [];

afterEach(async () => {
  await Promise.all(endpoints.splice(0).map((endpoint) => endpoint.close({ timeoutMs: 100 })));
  await endPrograms();
});

/** Serves, prints its id, dials whom it is told. */
const SCRIPT = `
  import { Endpoint } from ${dist('index.js')};
  import { MdnsLookup } from ${dist('lookup/mdns.js')};
  const lookup = new MdnsLookup({ serviceName: '${serviceName}' });
  const endpoint = await Endpoint.bind({ preset: 'minimal', alpns: ['${ALPN}'], lookup });
  console.log('id ' + endpoint.id);
  process.stdin.on('data', async (id) => {
    const connection = await endpoint.connect(String(id), '${ALPN}');
    console.log('connected to ' + connection.remoteId);
  });
  for await (const incoming of endpoint.incoming()) await incoming.accept().connected;
`;

async function startNeighbour(): Promise<{ readonly program: Program; readonly id: EndpointId }> {
  const program = runNode(['--input-type=module', '-e', SCRIPT]);
  const [, id] = await program.says(/id ([0-9a-f]{64})/);
  return { program, id: EndpointId.parse(id!) };
}

const families = await workingFamilies();

(families.length > 0 ? describe : describe.skip)('two processes', () => {
  test('find each other by id alone, in both directions; who is killed is missed', async () => {
    const { program, id } = await startNeighbour();
    const lookup = new MdnsLookup({ serviceName });
    const endpoint = await Endpoint.bind({ preset: 'minimal', alpns: [ALPN], lookup });
    endpoints.push(endpoint);
    const events: DiscoveryEvent[] = [];
    const gone = new Promise<void>((resolve) => {
      lookup.discoveryEvents$.subscribe((event) => {
        events.push(event);
        if (event.type === 'expired') resolve();
      });
    });

    const connection = await endpoint.connect(id, ALPN, WAIT);
    expect(connection.remoteId.equals(id)).toBe(true);
    const incoming = endpoint.accept(WAIT);
    program.process.stdin.write(endpoint.id.toString());
    const theirs = await (await incoming)!.accept().connected;
    expect(theirs.remoteId.equals(id)).toBe(true);
    await program.says(new RegExp(`connected to ${endpoint.id.toString()}`));

    program.kill('SIGKILL');
    await gone;
    expect(events.at(-1)).toEqual({ type: 'expired', id });
    await expect(lookupOnce(lookup, id)).rejects.toThrow('nobody');
  }, 60_000);
});

/** What is known of an id at this moment. @throws {Error} when nothing is. */
async function lookupOnce(lookup: MdnsLookup, id: EndpointId): Promise<void> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(new Error('nobody')), 100);
  for await (const answer of lookup.resolve(id, { signal: abort.signal })) {
    clearTimeout(timer);
    throw new Error(`${answer.addr.addrs.length} addresses`);
  }
}
