/** An endpoint closes while everything that finds it and others is under way; in virtual time, and as a process. */
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import {
  PkarrPublisher,
  PkarrResolver,
  SecretKey,
  type Endpoint,
  type HttpRequest,
  type HttpResponse,
  type LookupFactory,
} from '../../src/index.ts';
import { DialRig } from '../support/dial-rig.ts';
import { ALPN, failure, simulated, type Simulated } from '../support/endpoints.ts';
import { PkarrSite } from '../support/pkarr-site.ts';
import { endPrograms, runNode } from '../support/program.ts';

const { url } = PkarrSite;
const publisher: LookupFactory = (endpoint) =>
  new PkarrPublisher({ ...endpoint, url, filter: (addrs) => addrs });
const resolver: LookupFactory = (endpoint) => new PkarrResolver({ ...endpoint, url });

/** Questions that nobody answers, by what they are for. */
class Unanswered {
  readonly open = new Map<string, number>();
  readonly #place: Simulated;
  /** When the first and the last of them were given up. */
  readonly givenUpAt = new Set<number>();

  constructor(place: Simulated) {
    this.#place = place;
  }

  serve(origin: string): void {
    this.#place.world.serveWeb(origin, (request) => this.#hold(request));
  }

  #hold({ method = 'GET', url: asked, signal }: HttpRequest): Promise<HttpResponse> {
    const { pathname } = new URL(asked);
    const what = `${method} /${pathname.split('/')[1]}`;
    this.open.set(what, (this.open.get(what) ?? 0) + 1);
    return new Promise((_, reject) => {
      signal.addEventListener(
        'abort',
        () => {
          this.givenUpAt.add(this.#place.clock.now());
          const left = this.open.get(what)! - 1;
          if (left === 0) this.open.delete(what);
          else this.open.set(what, left);
          reject(signal.reason as Error);
        },
        { once: true },
      );
    });
  }
}

/** An endpoint of which a report, a publication, a lookup and, behind a slow router, a mapping are under way. */
async function busy(
  place: Simulated,
  routerDelayMs: number,
): Promise<{ endpoint: Endpoint; unanswered: Unanswered; dial: Promise<Error & { code: string }> }> {
  const site = await place.addRelay();
  site.goDown();
  const unanswered = new Unanswered(place);
  for (const origin of ['https://relay1.example.', 'http://relay1.example.', new URL(url).origin])
    unanswered.serve(origin);
  place.nat = 'strict';
  place.routerServices = ['pcp'];
  const endpoint = await place.bind({
    ...place.using(site),
    portMapper: true,
    lookup: [publisher, resolver],
  });
  place.gatewayOf(endpoint).delayMs = routerDelayMs;
  const dial = failure(endpoint.connect(SecretKey.fromBytes(new Uint8Array(32).fill(9)).publicKey, ALPN));
  await place.sleep(490);
  return { endpoint, unanswered, dial };
}

/** All promise reactions have run after it; no virtual time goes by. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('close() during a report, a publication, a lookup and a mapping', () => {
  test(
    'all are given up in that turn; the mapping is released; nothing is asked any more',
    simulated(async (place) => {
      const { endpoint, unanswered, dial } = await busy(place, 5);
      expect([...unanswered.open.keys()].sort()).toEqual([
        'GET /generate_204',
        'GET /ping',
        'GET /pkarr',
        'PUT /pkarr',
      ]);
      const gateway = place.gatewayOf(endpoint);
      expect(endpoint.portMapping?.ip).toBe(gateway.externalIp);
      expect(gateway.openPorts.size).toBe(1);
      const at = place.clock.now();
      const closing = endpoint.close();
      await turn();
      expect([...unanswered.open]).toEqual([]);
      expect([...unanswered.givenUpAt]).toEqual([at]);
      expect(place.clock.now()).toBe(at);
      expect((await dial).code).toBe('ConnectError.EndpointStopping');
      await closing;
      expect(gateway.openPorts.size).toBe(0);
      // The engine keeps what is closed for three PTOs, also a question to a relay that never answered.
      expect(place.clock.now() - at).toBeLessThan(1_500);
      const { length } = gateway.requests;
      await place.sleep(60_000);
      expect([...unanswered.open]).toEqual([]);
      expect(gateway.requests.length).toBe(length);
    }),
  );

  test(
    'a mapping that is being made is closed again when the router has opened it',
    simulated(async (place) => {
      // The question is under way when the end begins.
      const { endpoint } = await busy(place, 300);
      const gateway = place.gatewayOf(endpoint);
      expect(endpoint.portMapping).toBeUndefined();
      expect(gateway.openPorts.size).toBe(1);
      await endpoint.close();
      await place.sleep(1_000);
      expect(gateway.openPorts.size).toBe(0);
    }),
  );
});

const rig = new DialRig();
afterEach(async () => {
  await endPrograms();
  await rig.close();
});

const INDEX = join(import.meta.dirname, '..', '..', 'dist', 'index.js');

test('a process that closes its endpoint then has nothing left that would keep it: it ends by itself', async () => {
  // Takes connections and never answers: a relay, a lookup server. Whatever router there is may answer or not.
  let connections = 0;
  let arrived!: () => void;
  // The dial of the relay, the probe of the report, the publication, the question.
  const isBusy = new Promise<void>((resolve) => (arrived = resolve));
  const server = `http://127.0.0.1:${await rig.silent(() => {
    if (++connections === 4) arrived();
  })}/`;
  const program = runNode([
    '--input-type=module',
    '-e',
    `import { once } from 'node:events';
     import { Endpoint, PkarrPublisher, PkarrResolver, SecretKey } from ${JSON.stringify(INDEX)};
     const url = '${server}pkarr';
     const endpoint = await Endpoint.bind({
       preset: 'minimal',
       relay: [{ url: '${server}', quicPort: false }],
       portMapper: true,
       lookup: [
         (host) => new PkarrPublisher({ ...host, url, filter: (addrs) => addrs }),
         (host) => new PkarrResolver({ ...host, url }),
       ],
     });
     const dial = endpoint.connect(SecretKey.generate().publicKey, '${ALPN}').catch(({ code }) => code);
     await once(process.stdin, 'data');
     process.stdin.destroy();
     await endpoint.close();
     console.log(await dial);`,
  ]);
  await Promise.race([isBusy, program.ended()]);
  program.process.stdin.write('now');
  expect(await program.ended()).toEqual({ code: 0, stdout: 'ConnectError.EndpointStopping\n', stderr: '' });
}, 30_000);
