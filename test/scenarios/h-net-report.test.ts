/** Scenarios H: net reports, with address discovery servers of our own, in virtual time. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { FINDING_INTERVAL_MS } from '../../src/actors/net-report.ts';
import {
  CAPTIVE_PORTAL_DELAY_MS,
  OVERALL_REPORT_TIMEOUT_MS,
  PROBES_TIMEOUT_MS,
  QAD_GRACE_MS,
} from '../../src/machines/net-report.ts';
import { FULL_REPORT_INTERVAL_MS } from '../../src/net-report/plan.ts';
import type { HttpResponse } from '../../src/transport/platform.ts';
import { NetReportRig as Rig } from '../support/net-report-rig.ts';

let rig: Rig;
afterEach(async () => {
  await rig.end();
});

describe('a full report', () => {
  test('H11, H12: one relay: IPv4 works, its latency is measured, it is preferred', async () => {
    rig = new Rig(1);
    const relay = await rig.addRelay(20);
    await rig.start();
    const report = await rig.report();
    expect(report).toMatchObject({ udpV4: true, udpV6: false, mappingVariesByDestV4: undefined });
    expect(report.preferredRelay!.href).toBe(relay.url.href);
    expect(report.globalV4!.ip).toBe('10.0.0.7');
    expect(report.latencies.map(({ kind, latencyMs }) => [kind, Math.round(latencyMs)])).toEqual([
      ['qadV4', 60],
    ]);
    // One handshake; HTTPS is not waited for where nothing else can be learnt.
    expect(report.tookMs).toBeLessThan(150);
    expect(rig.pings).toEqual([]);
  });

  test.each([
    ['moderate' as const, false],
    ['strict' as const, true],
  ])('behind a %s NAT the mapping varies: %s', async (kind, varies) => {
    rig = new Rig(2, { nat: { kind, outsideIp: '203.0.113.1' } });
    await rig.addRelay(20);
    await rig.addRelay(25);
    await rig.start();
    const report = await rig.report();
    expect(report.mappingVariesByDestV4).toBe(varies);
    expect(report.globalV4!.ip).toBe('203.0.113.1');
  });

  test('H14: without address discovery HTTPS answers, each relay once', async () => {
    rig = new Rig(3);
    const near = await rig.addRelay(10, { hasQad: false });
    await rig.addRelay(30, { hasQad: false });
    await rig.start();
    const report = await rig.report();
    expect(report.latencies.map(({ kind, latencyMs }) => [kind, latencyMs])).toEqual([
      ['https', 60],
      ['https', 180],
    ]);
    expect(report.preferredRelay!.href).toBe(near.url.href);
    expect(report.udpV4).toBe(false);
    expect(report.tookMs).toBe(380);
  });

  test('blocked UDP delays HTTPS by a moment only', async () => {
    rig = new Rig(4);
    const relay = await rig.addRelay(10);
    relay.host.isUp = false;
    await rig.start();
    const report = await rig.report();
    expect(report.preferredRelay!.href).toBe(relay.url.href);
    expect(report.udpV4).toBe(false);
    expect(report.tookMs).toBe(200 + 60 + QAD_GRACE_MS);
  });

  test('an address that comes after the report is told, and in the next one', async () => {
    rig = new Rig(5);
    const relay = await rig.addRelay(10);
    relay.host.isUp = false;
    await rig.start();
    let findings = 0;
    rig.reporter.onFinding = () => findings++;
    await rig.report();
    relay.host.isUp = true;
    await rig.run(1_500);
    expect(findings).toBe(1);
    const report = await rig.report();
    expect(report.globalV4!.ip).toBe('10.0.0.7');
    expect(report.tookMs).toBe(0);
  });

  test('inv-N5: nobody answers: a report without relay when probes have had their time', async () => {
    rig = new Rig(6);
    const relay = await rig.addRelay(10, { hasWeb: false });
    relay.host.isUp = false;
    await rig.start();
    const report = await rig.report();
    expect(report.preferredRelay).toBeUndefined();
    expect(report.tookMs).toBeLessThanOrEqual(OVERALL_REPORT_TIMEOUT_MS);
    expect(report.tookMs).toBe(PROBES_TIMEOUT_MS);
  });
});

describe('a captive portal', () => {
  /** UDP is blocked. @param hasWeb - Whether the relay answers over HTTPS. */
  async function imprisoned(seed: number, hasWeb: boolean): Promise<void> {
    rig = new Rig(seed);
    const relay = await rig.addRelay(10, { hasWeb });
    relay.host.isUp = false;
    await rig.start();
  }

  const answer = (status: number, says?: string): HttpResponse => ({
    status,
    headers: new Map(says === undefined ? [] : [['x-iroh-response', says]]),
    body: new Uint8Array(),
  });

  test.each([
    ['the relay itself', answer(204, 'response ts_relay1.example.'), false],
    ['a page', answer(200, 'response ts_relay1.example.'), true],
    ['a redirect', answer(302), true],
    ['a 204 that does not know the challenge', answer(204), true],
    ['a 204 with another word', answer(204, 'response ts_other'), true],
  ])('%s answers', async (_who, response, isPortal) => {
    await imprisoned(20, false);
    const asked: string[] = [];
    rig.world.serveWeb('http://relay1.example.', async ({ url, headers, maxBodyBytes }) => {
      asked.push(`${rig.world.clock.now()} ${url} ${headers!['x-iroh-challenge']} ${maxBodyBytes}`);
      return response;
    });
    const report = await rig.report();
    expect(report.captivePortal).toBe(isPortal);
    expect(asked).toEqual([
      `${CAPTIVE_PORTAL_DELAY_MS} http://relay1.example./generate_204 ts_relay1.example. 0`,
    ]);
    expect(report.tookMs).toBe(PROBES_TIMEOUT_MS);
    rig.world.serveWeb('http://relay1.example.', undefined);
    // A portal without UDP is looked for again, whoever was asked for a report; else the answer is remembered.
    expect((await rig.report()).captivePortal).toBe(isPortal ? undefined : false);
    expect(rig.metrics.value('reports_full')).toBe(isPortal ? 2 : 1);
  });

  test('nobody answers, or not in time: unknown, and no report is late for it', async () => {
    await imprisoned(21, true);
    expect(await rig.report()).toMatchObject({ captivePortal: undefined, tookMs: 200 + 60 + QAD_GRACE_MS });
    let isAborted = false;
    rig.world.serveWeb(
      'http://relay1.example.',
      ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            isAborted = true;
            reject(signal.reason as Error);
          });
        }),
    );
    expect(await rig.report(true)).toMatchObject({
      captivePortal: undefined,
      tookMs: 200 + 60 + QAD_GRACE_MS,
    });
    expect(isAborted).toBe(true);
    isAborted = false;
    rig.world.serveWeb('https://relay1.example.', undefined);
    expect(await rig.report(true)).toMatchObject({ captivePortal: undefined, tookMs: PROBES_TIMEOUT_MS });
    expect(isAborted).toBe(true);
  });

  test('is not looked for where UDP works, nor in an incremental report', async () => {
    rig = new Rig(22);
    const relay = await rig.addRelay(10);
    let asked = 0;
    rig.world.serveWeb('http://relay1.example.', async () => {
      asked++;
      return answer(200);
    });
    await rig.start();
    await rig.report();
    await rig.run(1_000);
    expect(asked).toBe(0);
    relay.host.isUp = false;
    await rig.run(60_000);
    expect(await rig.report()).toMatchObject({ udpV4: false, captivePortal: undefined });
    expect(asked).toBe(0);
    expect(await rig.report(true)).toMatchObject({ udpV4: false, captivePortal: true });
    expect(asked).toBe(1);
  });

  test('the relay that is preferred is asked, if it is still there, else any', async () => {
    rig = new Rig(23);
    const relays = [await rig.addRelay(30), await rig.addRelay(10), await rig.addRelay(20)];
    const asked: string[] = [];
    for (const { url } of relays)
      rig.world.serveWeb(`http://${url.toUrl().hostname}`, async (request) => {
        asked.push(request.url);
        return answer(302);
      });
    await rig.start();
    expect((await rig.report()).preferredRelay!.href).toBe(relays[1]!.url.href);
    rig.host.isUp = false;
    await rig.report(true);
    expect(asked).toEqual(['http://relay2.example./generate_204']);
    rig.relays.delete(relays[1]!.url);
    await rig.report(true);
    expect(asked[1]).toMatch(/relay[13]/);
  });
});

describe('an incremental report', () => {
  test('uses the open connection, and asks again when it is gone', async () => {
    rig = new Rig(7);
    const relay = await rig.addRelay(20);
    await rig.start();
    await rig.report();
    await rig.run(25_000);
    expect(await rig.report()).toMatchObject({ udpV4: true, tookMs: 0 });
    await rig.world.run(relay.server.close(), 5_000);
    await rig.run(1_000);
    expect(await rig.report()).toMatchObject({ udpV4: false, tookMs: PROBES_TIMEOUT_MS });
    expect(rig.metrics.value('reports_full')).toBe(1);
  });

  test('inv-N4: a full one follows after five minutes', async () => {
    rig = new Rig(8);
    await rig.addRelay(20);
    await rig.start();
    for (let at = 0; at < FULL_REPORT_INTERVAL_MS + 60_000; at += 26_000) {
      await rig.report();
      await rig.run(26_000);
    }
    expect(rig.metrics.value('reports_full')).toBe(2);
  });

  test('inv-N6: a relay that was taken out of the map is not asked', async () => {
    rig = new Rig(9);
    const [first, second] = [await rig.addRelay(10), await rig.addRelay(20)];
    await rig.start();
    await rig.report();
    rig.relays.delete(first.url);
    const report = await rig.report();
    expect(new Set(report.latencies.map(({ url }) => url.href))).toEqual(new Set([second.url.href]));
  });

  test('a NAT that forgets is told of, at most every five seconds', async () => {
    rig = new Rig(10, { nat: { kind: 'moderate', outsideIp: '203.0.113.1' } });
    await rig.addRelay(20);
    await rig.start();
    const before = await rig.report();
    const at: number[] = [];
    rig.reporter.onFinding = () => at.push(rig.world.clock.now());
    for (let i = 0; i < 4; i++) {
      rig.world.network.moveNat(rig.host, `203.0.113.${i + 2}`);
      // The next keep-alive goes out from the new address.
      await rig.run(26_000);
    }
    expect(at.length).toBeGreaterThanOrEqual(3);
    for (let i = 1; i < at.length; i++)
      expect(at[i]! - at[i - 1]!).toBeGreaterThanOrEqual(FINDING_INTERVAL_MS);
    expect((await rig.report()).globalV4).not.toBe(before.globalV4);
  });
});

test('inv-N1: who aborts or asks again gets one answer each, and reports go on', async () => {
  rig = new Rig(11);
  await rig.addRelay(20);
  await rig.start();
  const abort = new AbortController();
  const aborted = rig.reporter.run({ isFull: true }, abort.signal);
  const reason = new Error('enough');
  abort.abort(reason);
  await expect(aborted).rejects.toBe(reason);
  const overtaken = rig.reporter.run({ isFull: true }, new AbortController().signal);
  const settled = expect(overtaken).rejects.toThrow('another report was asked for');
  expect((await rig.report(true)).udpV4).toBe(true);
  await settled;
  await rig.reporter.close();
  await expect(rig.reporter.run({ isFull: true }, new AbortController().signal)).rejects.toThrow(
    'no more reports',
  );
});
