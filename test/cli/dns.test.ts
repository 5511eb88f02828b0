/** `iroh-ts dns`: its configuration, and the built program as a child process, which is also killed while packets are put. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { SignedPacket } from '../../src/address-lookup/signed-packet.ts';
import { equalBytes } from '../../src/base/bytes.ts';
import { parseDnsConfig } from '../../src/cli/dns-config.ts';
import { UserError } from '../../src/cli/user-error.ts';
import { SecretKey } from '../../src/index.ts';
import { endPrograms, irohTs, type Program } from '../support/program.ts';

/** How many packets are put around the kill. */
const KILL_PUTS = Number(process.env['DNS_KILL_PUTS'] ?? 300);
const KILL_TIMEOUT_MS = 60_000 + KILL_PUTS * 30;

function parse(toml: string, env: Record<string, string> = {}): ReturnType<typeof parseDnsConfig> {
  return parseDnsConfig(toml, { path: '/etc/dns/dns.toml', env, home: '/home/me', os: 'linux' });
}

function errorOf(toml: string): string {
  try {
    parse(toml);
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
  throw new Error('expected an error');
}

describe('configuration', () => {
  test('without a file', () => {
    expect(parse('')).toEqual({
      bind: '0.0.0.0:8080',
      dnsBind: '0.0.0.0:5300',
      store: { file: '/home/me/.local/share/iroh-dns/signed-packets.sqlite' },
      metrics: { bind: '127.0.0.1:9117' },
    });
  });

  test('everything', () => {
    const toml = `
data_dir = "data"

[http]
port = 80
bind_addr = "::1"
rate_limit = "disabled"

[https]
port = 443
domains = ["dns.example.com"]
cert_mode = "manual"

[dns]
port = 53
bind_addr = "127.0.0.1"
default_soa = "dns1.irohdns.example hostmaster.irohdns.example 0 10800 3600 604800 3600"
default_ttl = 900
origins = ["irohdns.example.", "."]
rr_a = "127.0.0.1"
rr_aaaa = "::1"
rr_ns = "ns1.irohdns.example."

[mainline]
enabled = false

[metrics]
disabled = true

[zone_store]
eviction = "1d 12h"
`;
    const folder = '/etc/dns/data';
    expect(parse(toml)).toEqual({
      bind: '[::1]:80',
      tls: {
        bind: '[::1]:443',
        certFile: `${folder}/cert_cache/dns.example.com.crt`,
        keyFile: `${folder}/cert_cache/dns.example.com.key`,
      },
      hostname: 'dns.example.com',
      dnsBind: '127.0.0.1:53',
      soa: 'dns1.irohdns.example hostmaster.irohdns.example 0 10800 3600 604800 3600',
      origins: ['irohdns.example.', '.'],
      a: '127.0.0.1',
      aaaa: '::1',
      ns: ['ns1.irohdns.example.'],
      store: { file: `${folder}/signed-packets.sqlite` },
      putRateLimit: false,
      keepMs: 129_600_000,
    });
  });

  test('the DHT is asked when it is switched on, and given to when that is said, too', () => {
    const mainline = (toml: string): unknown => parse(`[mainline]\n${toml}`).mainline;
    expect(mainline('enabled = false\npublish = true')).toBeUndefined();
    expect(mainline('enabled = true')).toEqual({ publish: false });
    expect(mainline('enabled = true\nbootstrap = []')).toEqual({ publish: false });
    expect(mainline('enabled = true\nbootstrap = ["a.example:1", "192.0.2.1:2"]\npublish = true')).toEqual({
      bootstrap: ['a.example:1', '192.0.2.1:2'],
      publish: true,
    });
  });

  test('the environment says where records are', () => {
    expect(parse('data_dir = "data"', { IROH_DNS_DATA_DIR: '/srv' }).store).toEqual({
      file: '/srv/signed-packets.sqlite',
    });
    expect(parse('', { XDG_DATA_HOME: '/data' }).store).toEqual({
      file: '/data/iroh-dns/signed-packets.sqlite',
    });
  });

  test.each([
    ['no TOML', '[http]\nport = [', /^\/etc\/dns\/dns\.toml:2: /],
    ['an unknown key', '[http]\nports = 1', /dns\.toml:2: http\.ports: unknown key$/],
    ['no port', '[dns]\nport = 70000', /dns\.toml:2: dns\.port: /],
    ['no address', '[dns]\nbind_addr = "localhost"', /dns\.toml:2: dns\.bind_addr: expected an IP address$/],
    ['no authority', '[dns]\ndefault_soa = "a b"', /dns\.toml:2: dns\.default_soa: expected "primary/],
    [
      'no node of the DHT',
      '[mainline]\nenabled = true\nbootstrap = ["[::1]:6881"]',
      /dns\.toml:3: mainline\.bootstrap\S*: expected "host:port"/,
    ],
    [
      'no duration',
      '[zone_store]\neviction = "soon"',
      /dns\.toml:2: zone_store\.eviction: expected a duration/,
    ],
    [
      'certificates from elsewhere',
      '[https]\ndomains = ["a"]\ncert_mode = "lets_encrypt"',
      /dns\.toml:3: https\.cert_mode: only "manual"/,
    ],
    [
      'half of a certificate',
      '[https]\ndomains = ["a"]\ncert_mode = "manual"\ncert_path = "a.crt"',
      /dns\.toml:1: https: cert_path and key_path belong together$/,
    ],
  ])('%s: says which line', (_name, toml, message) => expect(errorOf(toml)).toMatch(message));
});

describe('the program', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'iroh-ts-dns-cli-'));
    writeFileSync(
      join(folder, 'dns.toml'),
      `data_dir = "data"
[http]
bind_addr = "127.0.0.1"
port = 0
rate_limit = "disabled"
[dns]
bind_addr = "127.0.0.1"
port = 0
[metrics]
bind_addr = "127.0.0.1:0"
`,
    );
  });

  afterEach(async () => {
    await endPrograms();
    rmSync(folder, { recursive: true, force: true });
  });

  const run = async (): Promise<{ program: Program; url: string }> => {
    const program = irohTs(['dns'], { cwd: folder });
    const [, url] = await program.says(/lookup server at (\S+)/);
    return { program, url: url! };
  };
  const newPacket = (): SignedPacket =>
    SignedPacket.sign(SecretKey.generate(), {
      strings: ['relay=https://relay.example.com/'],
      timestampMicros: BigInt(Date.now()) * 1_000n,
    });

  test('serves until SIGTERM, exits by itself, and has everything when it comes back', async () => {
    const first = await run();
    const [, metrics] = await first.program.says(/metrics at (\S+)/);
    await first.program.says(/DNS at 127\.0\.0\.1:\d+ \(UDP, TCP\) for irohdns\.example \./);
    const packet = newPacket();
    const path = `/${packet.id.toZ32()}`;
    const body = new Uint8Array(packet.toRelayPayload());
    expect((await fetch(`${first.url}${path}`, { method: 'PUT', body })).status).toBe(204);
    expect(await (await fetch(metrics!)).text()).toContain('dns_server_store_packets_inserted_total 1\n');
    first.program.kill('SIGTERM');
    expect((await first.program.ended()).code).toBe(0);
    const second = await run();
    const got = await fetch(`${second.url}${path}`);
    expect(new Uint8Array(await got.arrayBuffer())).toEqual(body);
  });

  test(
    `killed during ${KILL_PUTS} puts, it has all that it acknowledged`,
    async () => {
      const first = await run();
      const packets = Array.from({ length: KILL_PUTS }, newPacket);
      const acknowledged: SignedPacket[] = [];
      const queue = [...packets];
      const worker = async (): Promise<void> => {
        for (let packet = queue.pop(); packet !== undefined; packet = queue.pop()) {
          const url = `${first.url}/${packet.id.toZ32()}`;
          const body = new Uint8Array(packet.toRelayPayload());
          const status = await fetch(url, { method: 'PUT', body }).then(
            (response) => response.status,
            () => undefined,
          );
          if (status === 204) acknowledged.push(packet);
          // In the middle of things: others are under way.
          if (acknowledged.length === KILL_PUTS >> 1) first.program.kill('SIGKILL');
        }
      };
      await Promise.all(Array.from({ length: 16 }, worker));
      await first.program.ended();
      expect(acknowledged.length).toBeGreaterThanOrEqual(KILL_PUTS >> 1);
      expect(acknowledged.length).toBeLessThan(KILL_PUTS);
      const second = await run();
      const lost: string[] = [];
      for (const packet of acknowledged) {
        const response = await fetch(`${second.url}/${packet.id.toZ32()}`);
        const got = new Uint8Array(await response.arrayBuffer());
        if (!equalBytes(got, packet.toRelayPayload())) lost.push(packet.id.toString());
      }
      expect(lost).toEqual([]);
    },
    KILL_TIMEOUT_MS,
  );

  test('a second server of the same records says so', async () => {
    await run();
    const { code, stderr } = await irohTs(['dns'], { cwd: folder }).ended();
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/^iroh-ts: cannot open .*signed-packets\.sqlite: /m),
    ]);
  });

  test('a bad line, in words', async () => {
    writeFileSync(join(folder, 'bad.toml'), '[http]\nport = "x"');
    const { code, stderr } = await irohTs(['dns', '-c', 'bad.toml'], { cwd: folder }).ended();
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^iroh-ts: bad\.toml:2: http\.port: /)]);
  });
});
