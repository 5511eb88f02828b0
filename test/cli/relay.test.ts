/** `iroh-ts relay`: its configuration, and the built program as a child process. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { parseRelayConfig } from '../../src/cli/relay-config.ts';
import { UserError } from '../../src/cli/user-error.ts';
import { SecretKey } from '../../src/index.ts';
import { makeServerCertificate } from '../support/certificates.ts';
import { endPrograms, irohTs } from '../support/program.ts';
import { RawRelayClient } from '../support/raw-relay-client.ts';
import { openRawSocket } from '../support/raw-web-socket.ts';

const id = SecretKey.fromBytes(new Uint8Array(32).fill(1)).publicKey.toString();

function parse(
  toml: string,
  isDev = false,
  env: Record<string, string> = {},
): ReturnType<typeof parseRelayConfig> {
  return parseRelayConfig(toml, { path: '/etc/relay/relay.toml', isDev, env });
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
      relay: true,
      bind: '[::]:80',
      access: 'everyone',
      limits: {},
      metrics: { bind: '[::]:9090' },
    });
    expect(parse('', true).bind).toBe('[::]:3340');
  });

  test('everything', () => {
    const toml = `
enable_quic_addr_discovery = true
http_bind_addr = "0.0.0.0:8080"
metrics_bind_addr = "127.0.0.1:9999"
key_cache_capacity = 5

[access]
allowlist = ["${id}"]

[limits]
accept_conn_limit = 100
accept_conn_burst = 50

[limits.client.rx]
bytes_per_second = 1000000
max_burst_bytes = 2000000

[tls]
hostname = ["relay.example.com", "other.example.com"]
cert_mode = "Reloading"
cert_dir = "certs"
`;
    const certificate = { certFile: '/etc/relay/certs/default.crt', keyFile: '/etc/relay/certs/default.key' };
    expect(parse(toml)).toEqual({
      relay: true,
      bind: '0.0.0.0:8080',
      access: { allow: [id] },
      limits: {
        clientRx: { bytesPerSecond: 1_000_000, maxBurstBytes: 2_000_000 },
        acceptsPerSecond: 100,
        acceptBurst: 50,
      },
      tls: { bind: '0.0.0.0:443', ...certificate },
      addressDiscovery: { bind: '0.0.0.0:7842', certificate },
      hostname: 'relay.example.com',
      metrics: { bind: '127.0.0.1:9999' },
      reloadIntervalMs: 86_400_000,
    });
    // --dev: the certificate is for address discovery only.
    const dev = parse(toml, true);
    expect([dev.tls, dev.addressDiscovery]).toEqual([undefined, { bind: '0.0.0.0:7842', certificate }]);
  });

  test('access, and what the environment replaces', () => {
    expect(parse('access.denylist = []').access).toEqual({ deny: [] });
    expect(parse('access.shared_token = ["a", "b"]').access).toEqual({ tokens: ['a', 'b'] });
    expect(parse('access.shared_token = ["a"]', false, { IROH_RELAY_ACCESS_TOKEN: 'c' }).access).toEqual({
      tokens: ['c'],
    });
    const http = '[access.http]\nurl = "https://example.com/may"\nbearer_token = "x"';
    expect(parse(http).access).toEqual({
      http: { url: 'https://example.com/may', bearerToken: 'x' },
    });
    expect(parse(http, false, { IROH_RELAY_HTTP_BEARER_TOKEN: 'y' }).access).toMatchObject({
      http: { bearerToken: 'y' },
    });
  });

  test.each([
    ['no TOML', 'enable_relay = true\nhttp_bind_addr = [', /^\/etc\/relay\/relay\.toml:2: /],
    ['another type', '\n\nenable_relay = "yes"', /relay\.toml:3: enable_relay: /],
    ['an unknown key', 'enable_relay = true\nenable_stun = true', /relay\.toml:2: enable_stun: unknown key$/],
    [
      'an unknown key in a table',
      '[tls]\ncert_mode = "Manual"\nssl = 1',
      /relay\.toml:3: tls\.ssl: unknown key$/,
    ],
    ['no address', 'http_bind_addr = "localhost:80"', /relay\.toml:1: http_bind_addr: expected "ip:port"$/],
    [
      'a port above all',
      '[tls]\ncert_mode = "Manual"\nhttps_bind_addr = "[::]:70000"',
      /:3: tls\.https_bind_addr/,
    ],
    ['no id', '[access]\nallowlist = ["abc"]', /relay\.toml:2: access.*expected an endpoint id/],
    ['no token', 'access.shared_token = []', /relay\.toml:1: access.*must name a token/],
    ['an empty token', 'access.shared_token = [""]', /relay\.toml:1: access.*must not be empty/],
    [
      'burst without rate',
      '[limits.client.rx]\nmax_burst_bytes = 5',
      /relay\.toml:1: limits\.client\.rx: max_burst/,
    ],
    [
      'rate of nothing',
      '[limits.client.rx]\n\nbytes_per_second = 0',
      /relay\.toml:3: limits\.client\.rx\.bytes_per/,
    ],
    ['no certificate', 'enable_quic_addr_discovery = true', /relay\.toml:1: .* needs \[tls\]/],
    [
      'LetsEncrypt',
      '[tls]\ncert_mode = "LetsEncrypt"',
      /relay\.toml:2: tls\.cert_mode: LetsEncrypt is not built in/,
    ],
  ])('%s: says which line', (_name, toml, message) => expect(errorOf(toml)).toMatch(message));
});

describe('the program', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'iroh-ts-relay-cli-'));
  });

  afterEach(async () => {
    await endPrograms();
    rmSync(folder, { recursive: true, force: true });
  });

  const put = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };

  test('serves until SIGTERM, tells its clients, and exits by itself', async () => {
    const config = put('relay.toml', 'http_bind_addr = "127.0.0.1:0"\nmetrics_bind_addr = "127.0.0.1:0"\n');
    const program = irohTs(['relay', '-c', config]);
    const [, url] = await program.says(/relay server at (\S+)/);
    const [, metrics] = await program.says(/metrics at (\S+)/);
    const client = new RawRelayClient(await openRawSocket(url!), 1);
    await client.until(() => client.state === 'confirmed');
    const text = await new Promise<string>((resolve, reject) => {
      get(metrics!, { agent: false }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (body += chunk));
        response.on('end', () => resolve(body));
      }).on('error', reject);
    });
    expect(text).toContain('relayserver_accepts_total 1\n');
    const ended = client.until(() => client.state === 'closed');
    program.kill('SIGTERM');
    await ended;
    expect(client.received('restarting')).toHaveLength(1);
    expect((await program.ended()).code).toBe(0);
  });

  test('SIGHUP reads the certificates again, and keeps them when they are bad', async () => {
    const renew = async (serial: string): Promise<void> => {
      const { chain, key } = await makeServerCertificate('EC P-256', serial);
      put('default.crt', chain);
      put('default.key', key);
    };
    await renew('21');
    const config = put(
      'relay.toml',
      `enable_metrics = false
enable_quic_addr_discovery = true
http_bind_addr = "127.0.0.1:0"
[tls]
cert_mode = "Manual"
https_bind_addr = "127.0.0.1:0"
quic_bind_addr = "127.0.0.1:0"
`,
    );
    const program = irohTs(['relay', '-c', config]);
    const [, url] = await program.says(/relay server at (\S+)/);
    await program.says(/address discovery on UDP port \d+/);
    const serial = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connectTls(
          { host: '127.0.0.1', port: Number(new URL(url!).port), rejectUnauthorized: false },
          () => {
            resolve(socket.getPeerCertificate().serialNumber);
            socket.destroy();
          },
        );
        socket.on('error', reject);
      });
    expect(await serial()).toBe('21');
    await renew('22');
    program.kill('SIGHUP');
    await program.says(/certificates read again/);
    expect(await serial()).toBe('22');
    put('default.crt', 'nothing');
    program.kill('SIGHUP');
    await program.says(/certificates kept: /);
    expect(await serial()).toBe('22');
    program.kill('SIGINT');
    expect((await program.ended()).code).toBe(0);
  });

  test('a bad line, and a port that is taken, in words', async () => {
    const bad = await irohTs(['relay', '-c', put('bad.toml', 'enable_relay = 1')]).ended();
    expect([bad.code, bad.stderr]).toEqual([
      1,
      expect.stringMatching(/^iroh-ts: .*bad\.toml:1: enable_relay: /),
    ]);
    const first = irohTs([
      'relay',
      '-c',
      put('a.toml', 'http_bind_addr = "127.0.0.1:0"\nenable_metrics = false'),
    ]);
    const [, port] = await first.says(/relay server at \S+:(\d+)\//);
    const taken = put('b.toml', `http_bind_addr = "127.0.0.1:${port}"\nenable_metrics = false`);
    const second = await irohTs(['relay', '-c', taken]).ended();
    expect([second.code, second.stderr]).toEqual([1, expect.stringContaining('cannot listen on')]);
    expect(second.stderr).toContain('EADDRINUSE');
  });
});
