/** A20: what an endpoint counts, and how others read it. */
import { expect, test } from '@jest/globals';
import { echo, simulated } from '../support/endpoints.ts';

test(
  'A20: connections, paths, bytes and datagrams of a direct connection are counted on both sides',
  simulated(async (place) => {
    const { client, server, ours, theirs } = await place.connect();
    void echo(theirs);
    await place.ask(ours, new Uint8Array(100_000));
    for (const endpoint of [client, server]) {
      const metrics = endpoint.metrics();
      expect(metrics.value('num_conns_opened')).toBe(1);
      expect(metrics.value('num_conns_direct')).toBe(1);
      expect(metrics.value('num_conns_closed')).toBe(0);
      expect(metrics.value('transport_ip_paths_added')).toBe(1);
      expect(metrics.value('send_ipv4')).toBeGreaterThan(100_000);
      expect(metrics.value('recv_data_ipv4')).toBeGreaterThan(100_000);
      expect(metrics.value('recv_datagrams')).toBeGreaterThan(70);
      expect(metrics.value('send_relay')).toBe(0);
    }
    ours.close();
    await theirs.closed;
    await place.sleep(0);
    const metrics = client.metrics();
    expect([metrics.value('num_conns_closed'), metrics.value('transport_ip_paths_removed')]).toEqual([1, 1]);
    const snapshot = metrics.snapshot();
    await place.dial(client, server);
    // The view goes on counting, the copy stays.
    expect([metrics.value('num_conns_opened'), snapshot.get('num_conns_opened')]).toEqual([2, 1]);
    await client.close();
    expect(client.metrics().value('num_conns_closed')).toBe(2);
  }),
);

test(
  'A20: a relayed connection that becomes direct is counted as both; reports and changes of home are',
  simulated(async (place) => {
    const site = await place.addRelay();
    const { client, server } = await place.relayedPair([site]);
    const { ours } = await place.dial(client, server, place.relayAddrOf(server));
    await place.sleep(3_000);
    const metrics = client.metrics();
    const counted = (name: Parameters<typeof metrics.value>[0]): number => metrics.value(name);
    expect(counted('transport_relay_paths_added')).toBe(1);
    expect(counted('transport_ip_paths_added')).toBe(1);
    expect(counted('num_conns_direct')).toBe(1);
    expect(counted('holepunch_attempts')).toBeGreaterThan(0);
    expect(counted('relay_conns_success')).toBe(1);
    expect(counted('relay_home_change')).toBe(1);
    expect(counted('reports')).toBeGreaterThan(0);
    expect(counted('send_relay')).toBeGreaterThan(1_000);
    expect(counted('recv_data_relay')).toBeGreaterThan(1_000);
    ours.close();
    await place.sleep(100);
    expect([counted('transport_relay_paths_removed'), counted('transport_ip_paths_removed')]).toEqual([1, 1]);
    expect(counted('num_conns_opened')).toBe(counted('num_conns_closed'));
  }),
);

test(
  'A20: as OpenMetrics text: every counter with its help, in the form that the format asks for',
  simulated(async (place) => {
    const { client } = await place.connect();
    const text = client.metrics().toOpenMetrics();
    expect(text.endsWith('# EOF\n')).toBe(true);
    const lines = text.trimEnd().split('\n').slice(0, -1);
    expect(lines.length).toBe(3 * client.metrics().snapshot().size);
    for (let at = 0; at < lines.length; at += 3) {
      const [help, type, sample] = lines.slice(at, at + 3) as [string, string, string];
      const name = /^# HELP (iroh_[a-z0-9_]+) \S.*$/.exec(help)![1]!;
      expect(type).toBe(`# TYPE ${name} counter`);
      expect(sample).toMatch(new RegExp(`^${name}_total \\d+$`));
    }
    expect(text).toContain('\niroh_num_conns_opened_total 1\n');
  }),
);
