/** `iroh-ts report`: what it prints of which facts, and the built program as a child process. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { describeFacts, gatherFacts, toJson, type ReportFacts } from '../../src/cli/report.ts';
import { Endpoint, parseAddr, RelayUrl, type NetReport } from '../../src/index.ts';
import { RelayServer } from '../../src/relay-server.ts';
import { makeServerCertificate } from '../support/certificates.ts';
import { endPrograms, irohTs } from '../support/program.ts';
import { EMPTY_REPORT } from '../support/socket-rig.ts';

const [near, far, silent] = ['near', 'far', 'silent'].map((name) =>
  RelayUrl.parse(`https://${name}.example./`),
);

const found: NetReport = {
  ...EMPTY_REPORT,
  udpV4: true,
  mappingVariesByDestV4: true,
  preferredRelay: near,
  latencies: [
    { url: far!, kind: 'qadV4', latencyMs: 120.4 },
    { url: near!, kind: 'qadV4', latencyMs: 20.2 },
    { url: near!, kind: 'https', latencyMs: 65 },
  ],
  globalV4: parseAddr('203.0.113.5:40001'),
};

const facts = (report: NetReport, more: Partial<ReportFacts> = {}): ReportFacts => ({
  report,
  relays: [silent!.href, far!.href, near!.href],
  boundSockets: [parseAddr('0.0.0.0:4433')],
  portMapping: parseAddr('203.0.113.5:4433'),
  network: {
    interfaces: [
      {
        name: 'eth0',
        mac: '',
        isLoopback: false,
        prefixes: [
          { ip: '192.168.1.5', length: 24, isDeprecated: false },
          { ip: 'fe80::5', length: 64, isDeprecated: false },
        ],
      },
    ],
    defaultRoute: 'eth0',
    gateway: '192.168.1.1',
    isExpensive: false,
  },
  ...more,
});

describe('in words', () => {
  test('behind a hard NAT, with a friendly router', () => {
    expect(describeFacts(facts(found))).toEqual([
      'UDP             IPv4 yes, IPv6 no',
      'public address  203.0.113.5:40001, behind a NAT',
      'mapping varies  IPv4 yes: direct connections need a friendlier NAT on the other side',
      'home relay      https://near.example./',
      'relays              20 ms  https://near.example./ (IPv4 20, HTTPS 65), home',
      '                   120 ms  https://far.example./ (IPv4 120)',
      '                        –  https://silent.example./, not heard from',
      'captive portal  no',
      'port mapping    203.0.113.5:4433, opened by the router',
      'interfaces      eth0 192.168.1.5/24 fe80::5/64, way out through 192.168.1.1',
      'sockets         0.0.0.0:4433',
    ]);
  });

  test('nobody answers but a captive portal', () => {
    const lines = describeFacts(
      facts({ ...EMPTY_REPORT, captivePortal: true }, { portMapping: undefined, relays: [near!.href] }),
    );
    expect(lines.slice(0, 7)).toEqual([
      'UDP             IPv4 no, IPv6 no',
      'public address  unknown',
      'mapping varies  unknown',
      'home relay      none: no relay answers',
      'relays                  –  https://near.example./, not heard from',
      'captive portal  yes: somebody else answers in the place of the relays',
      'port mapping    none by 192.168.1.1',
    ]);
  });

  test('no NAT, both families, one relay, no router', () => {
    const prefixes = [{ ip: '203.0.113.5', length: 24, isDeprecated: false }];
    const lines = describeFacts(
      facts(
        {
          ...found,
          udpV6: true,
          mappingVariesByDestV4: false,
          globalV6: parseAddr('[2001:db8::5]:40002'),
        },
        {
          portMapping: undefined,
          network: {
            interfaces: [{ name: 'wan', mac: '', isLoopback: false, prefixes }],
            defaultRoute: undefined,
            isExpensive: false,
          },
        },
      ),
    );
    expect(lines.slice(0, 4)).toEqual([
      'UDP             IPv4 yes, IPv6 yes',
      'public address  203.0.113.5:40001, an address of this machine',
      '                [2001:db8::5]:40002, behind a NAT',
      'mapping varies  IPv4 no; IPv6 unknown, one relay alone cannot tell',
    ]);
    expect(lines.at(-3)).toBe('port mapping    no router is known');
    expect(lines.at(-2)).toBe('interfaces      wan 203.0.113.5/24');
  });
});

test('for programs: everything by name, what is unknown is null', () => {
  expect(toJson(facts({ ...found, captivePortal: false }))).toMatchObject({
    udpV4: true,
    globalV4: '203.0.113.5:40001',
    globalV6: null,
    mappingVariesByDestV4: true,
    mappingVariesByDestV6: null,
    captivePortal: false,
    preferredRelay: 'https://near.example./',
    relays: [
      { url: 'https://near.example./', latencyMs: { qadV4: 20.2, https: 65 } },
      { url: 'https://far.example./', latencyMs: { qadV4: 120.4 } },
      { url: 'https://silent.example./', latencyMs: {} },
    ],
    portMapping: '203.0.113.5:4433',
    gateway: '192.168.1.1',
    interfaces: [{ name: 'eth0', addresses: ['192.168.1.5/24', 'fe80::5/64'] }],
    boundSockets: ['0.0.0.0:4433'],
  });
});

test('of a real relay with address discovery', async () => {
  const { root, chain: cert, key } = await makeServerCertificate();
  const relay = await RelayServer.listen({
    bind: '127.0.0.1:0',
    tls: { bind: '127.0.0.1:0', cert, key },
    addressDiscovery: { bind: '127.0.0.1:0' },
  });
  const endpoint = await Endpoint.bind({
    preset: 'minimal',
    bind: ['127.0.0.1:0'],
    relay: [{ url: relay.url, quicPort: relay.quicPort }],
    tls: { roots: [root] },
  });
  try {
    const { report, portMapping, boundSockets } = await gatherFacts(endpoint);
    expect(report).toMatchObject({ udpV4: true, udpV6: false });
    expect(report.globalV4).toBe(boundSockets[0]);
    expect(report.preferredRelay!.href).toBe(relay.url.href);
    expect(portMapping).toBeUndefined();
  } finally {
    await endpoint.close();
    await relay.close();
  }
});

describe('the program', () => {
  afterEach(endPrograms);

  test('asks the relay that is named, prints, and ends by itself', async () => {
    const relay = await RelayServer.listen({ bind: '127.0.0.1:0' });
    const program = irohTs(['report', '--relay', relay.url.href]);
    const { code, stdout, stderr } = await program.ended();
    await relay.close();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`^home relay +${relay.url.href}$`, 'm'));
    expect(stdout).toMatch(/^relays +\d+ ms +http:\S+ \(HTTPS \d+\), home$/m);
    expect(stdout).toMatch(/^interfaces .*127\.0\.0\.1/ms);
  });

  test('--json; exit code 1 when no relay answers', async () => {
    const program = irohTs(['report', '--json', '--relay', 'http://127.0.0.1:1/']);
    const { code, stdout } = await program.ended();
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      udpV4: false,
      preferredRelay: null,
      relays: [{ url: 'http://127.0.0.1:1/', latencyMs: {} }],
    });
  });

  test('what is no URL is refused', async () => {
    const { code, stderr } = await irohTs(['report', '--relay', 'nonsense']).ended();
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/nonsense is no URL of a relay/);
  });

  test('Ctrl-C ends it', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const program = irohTs([
      'report',
      '--relay',
      `http://127.0.0.1:${(silent.address() as AddressInfo).port}/`,
    ]);
    const [socket] = (await once(silent, 'connection')) as [Socket];
    socket.on('error', () => undefined);
    program.kill('SIGINT');
    expect(await program.ended()).toMatchObject({ code: 130, stdout: '', stderr: '' });
    silent.close();
  });
});
