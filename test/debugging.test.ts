/** What one has to debug a connection with: qlog, key log, log lines. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Endpoint, type Connection, type EndpointOptions } from '../src/index.ts';
import { qlogErrorName } from '../src/quic/qlog-frames.ts';

const ALPN = 'test/debugging/0';
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'iroh-ts-debugging-'));
});

afterEach(() => {
  delete process.env['QLOGDIR'];
  delete process.env['SSLKEYLOGFILE'];
  rmSync(folder, { recursive: true, force: true });
});

/** Echoes 100 kB over a new connection, with the same options on both sides. */
async function echo(options: EndpointOptions): Promise<Connection> {
  const local = { preset: 'minimal', bind: ['127.0.0.1:0'], ...options } as const;
  const server = await Endpoint.bind({ ...local, alpns: [ALPN] });
  const client = await Endpoint.bind(local);
  const serve = async (): Promise<void> => {
    const connection = await (await server.accept())!.accept();
    const { send, recv } = await connection.acceptBi();
    await recv.readable.pipeTo(send.writable);
    await connection.closed;
  };
  const serving = serve();
  const connection = await client.connect(server.addr, ALPN, { timeoutMs: 10_000 });
  const { send, recv } = await connection.openBi();
  await send.write(new Uint8Array(100_000));
  send.finish();
  expect(await recv.readToEnd(100_000)).toHaveLength(100_000);
  connection.close(7, 'done');
  await serving;
  await client.close();
  await server.close();
  return connection;
}

interface Event {
  readonly time: number;
  readonly name: string;
  readonly tuple?: string;
  readonly data: Record<string, unknown> & {
    readonly header?: { readonly packet_type: string; readonly packet_number: number };
    readonly frames?: readonly ({ readonly frame_type: string } & Record<string, unknown>)[];
  };
}

interface Trace {
  readonly header: Record<string, unknown> & {
    readonly trace: {
      readonly vantage_point: { readonly type: string };
      readonly common_fields: Record<string, unknown>;
      readonly event_schemas: readonly string[];
    };
  };
  readonly events: readonly Event[];
}

/** Splits a JSON text sequence: each record is `RS json LF` (RFC 7464 §2.2). */
function parse(text: string): Trace {
  expect(text.startsWith('\u001e')).toBe(true);
  const records = text
    .slice(1)
    .split('\u001e')
    .map((record) => {
      expect(record.endsWith('\n')).toBe(true);
      expect(record.trimEnd()).not.toContain('\n');
      return JSON.parse(record) as unknown;
    });
  return { header: records[0] as Trace['header'], events: records.slice(1) as Event[] };
}

/** Required fields of the events that we write: draft-ietf-quic-qlog-quic-events-12. */
const EVENTS: Record<string, readonly string[]> = {
  'quic:connection_started': ['local', 'remote'],
  'quic:tuple_assigned': ['tuple_id'],
  'quic:packet_sent': ['header', 'frames', 'raw'],
  'quic:packet_received': ['header', 'frames', 'raw'],
  'quic:packet_lost': ['header'],
  'quic:recovery_metrics_updated': ['smoothed_rtt', 'congestion_window', 'bytes_in_flight'],
  'quic:connection_closed': ['trigger'],
};

/** Required fields of the frames that the draft defines. */
const FRAMES: Record<string, readonly string[]> = {
  padding: [],
  ping: [],
  ack: ['acked_ranges'],
  crypto: ['offset', 'raw'],
  stream: ['stream_id'],
  max_data: ['maximum'],
  max_stream_data: ['stream_id', 'maximum'],
  max_streams: ['stream_type', 'maximum'],
  new_connection_id: ['sequence_number', 'retire_prior_to', 'connection_id'],
  retire_connection_id: ['sequence_number'],
  path_challenge: ['data'],
  path_response: ['data'],
  handshake_done: [],
  connection_close: ['error_space', 'error', 'error_code'],
};

function checkSchema({ header, events }: Trace): void {
  expect(header['file_schema']).toBe('urn:ietf:params:qlog:file:sequential');
  expect(header['serialization_format']).toBe('application/qlog+json-seq');
  expect(header.trace.event_schemas).toEqual(['urn:ietf:params:qlog:events:quic']);
  expect(['client', 'server']).toContain(header.trace.vantage_point.type);
  expect(header.trace.common_fields).toMatchObject({
    time_format: 'relative_to_epoch',
    reference_time: { clock_type: 'monotonic', epoch: 'unknown' },
  });
  let last = 0;
  for (const event of events) {
    expect(event.time).toBeGreaterThanOrEqual(last);
    last = event.time;
    expect(Object.keys(EVENTS)).toContain(event.name);
    expect(Object.keys(event.data)).toEqual(expect.arrayContaining([...EVENTS[event.name]!]));
    if (event.data.header !== undefined) {
      expect(['initial', 'handshake', '0RTT', '1RTT']).toContain(event.data.header.packet_type);
    }
    for (const frame of event.data.frames ?? []) {
      expect(frame.frame_type).toMatch(/^[a-z_]+$/);
      expect(frame.frame_type).not.toBe('unknown');
      expect(Object.keys(frame)).toEqual(expect.arrayContaining([...(FRAMES[frame.frame_type] ?? [])]));
    }
  }
}

/** `type number` of each packet of a kind of event. */
function packets({ events }: Trace, name: string): string[] {
  return events
    .filter((event) => event.name === name)
    .map(({ data, tuple }) => `${tuple} ${data.header!.packet_type} ${data.header!.packet_number}`);
}

describe('qlog', () => {
  test('QLOGDIR gets a file per connection and side, in the schema of the drafts, and the sides agree', async () => {
    process.env['QLOGDIR'] = join(folder, 'made-on-demand');
    await echo({});
    const files = readdirSync(process.env['QLOGDIR']).sort();
    expect(files).toHaveLength(2);
    expect(files[0]).toMatch(/^[0-9a-f]{16,40}-client\.sqlog$/);
    expect(files[1]).toBe(files[0]!.replace('client', 'server'));
    const [client, server] = files.map((file) =>
      parse(readFileSync(join(process.env['QLOGDIR']!, file), 'utf8')),
    ) as [Trace, Trace];
    checkSchema(client);
    checkSchema(server);
    expect(client.header.trace.common_fields['group_id']).toBe(server.header.trace.common_fields['group_id']);
    // On loopback nothing is made up on the way: whatever one side received, the other had sent.
    const sent = new Set(packets(client, 'quic:packet_sent'));
    const received = packets(server, 'quic:packet_received');
    expect(received.length).toBeGreaterThan(50);
    expect(received.filter((packet) => !sent.has(packet))).toEqual([]);
  });

  test('frames are logged alike by who sends and who receives them, and the end has its reason', async () => {
    await echo({ qlog: folder });
    const [client, server] = readdirSync(folder)
      .sort()
      .map((file) => parse(readFileSync(join(folder, file), 'utf8'))) as [Trace, Trace];
    const sent = new Map(
      client.events
        .filter(({ name }) => name === 'quic:packet_sent')
        .map(({ data, tuple }) => [
          `${tuple} ${data.header!.packet_type} ${data.header!.packet_number}`,
          data.frames,
        ]),
    );
    for (const { name, data, tuple } of server.events) {
      if (name !== 'quic:packet_received') continue;
      expect(data.frames).toEqual(
        sent.get(`${tuple} ${data.header!.packet_type} ${data.header!.packet_number}`),
      );
    }
    const [reason, last] = client.events.slice(-2);
    expect(last).toMatchObject({
      name: 'quic:packet_sent',
      data: { frames: [{ frame_type: 'connection_close', error_code: 7, reason: 'done' }] },
    });
    expect(reason).toMatchObject({
      name: 'quic:connection_closed',
      data: { initiator: 'local', trigger: 'application' },
    });
    expect(server.events.at(-1)).toMatchObject({
      name: 'quic:connection_closed',
      data: { initiator: 'remote', error_code: 7, reason: 'done', trigger: 'application' },
    });
    const kinds = new Set(
      server.events.flatMap(({ data }) => data.frames?.map((frame) => frame.frame_type) ?? []),
    );
    expect([...kinds]).toEqual(
      expect.arrayContaining(['crypto', 'ack', 'stream', 'padding', 'connection_close']),
    );
  });

  test('a function takes the text, and `false` ignores QLOGDIR', async () => {
    process.env['QLOGDIR'] = folder;
    const texts = new Map<string, string>();
    let closed = 0;
    await echo({
      qlog: (name) => ({
        write: (text) => void texts.set(name, `${texts.get(name) ?? ''}${text}`),
        close: () => closed++,
      }),
    });
    expect(closed).toBe(2);
    for (const text of texts.values()) checkSchema(parse(text));
    await echo({ qlog: false });
    expect(readdirSync(folder)).toEqual([]);
  });

  test('errors have the names of the draft', () => {
    expect(qlogErrorName(0x0a)).toBe('protocol_violation');
    expect(qlogErrorName(0x178)).toBe('crypto_error_0x178');
    expect(qlogErrorName(0x4242)).toBe('unknown');
  });
});

describe('key log', () => {
  test('SSLKEYLOGFILE alone writes nothing', async () => {
    process.env['SSLKEYLOGFILE'] = join(folder, 'keys.txt');
    await echo({});
    await echo({ keylog: false });
    expect(readdirSync(folder)).toEqual([]);
  });

  test('`keylog: true` appends NSS lines, the same from both sides, for its owner only', async () => {
    const path = join(folder, 'keys.txt');
    process.env['SSLKEYLOGFILE'] = path;
    await echo({ keylog: true });
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    const counts = new Map<string, number>();
    for (const line of lines) {
      expect(line).toMatch(/^[A-Z0-9_]+ [0-9a-f]{64} ([0-9a-f]{64}|[0-9a-f]{96})$/);
      counts.set(line, (counts.get(line) ?? 0) + 1);
    }
    // Each secret once from the client and once from the server.
    expect([...counts.values()]).toEqual(lines.slice(lines.length / 2).map(() => 2));
    expect([...counts.keys()].map((line) => line.split(' ')[0]!).sort()).toEqual([
      'CLIENT_HANDSHAKE_TRAFFIC_SECRET',
      'CLIENT_TRAFFIC_SECRET_0',
      'EXPORTER_SECRET',
      'SERVER_HANDSHAKE_TRAFFIC_SECRET',
      'SERVER_TRAFFIC_SECRET_0',
    ]);
    if (process.platform !== 'win32') expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('a function gets the lines', async () => {
    const lines: string[] = [];
    await echo({ keylog: (line) => void lines.push(line) });
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) expect(line).not.toContain('\n');
  });
});

describe('log lines', () => {
  test('a logger hears of endpoints, connections and paths', async () => {
    const lines: string[] = [];
    const connection = await echo({ logger: { debug: (line) => void lines.push(line) } });
    const peer = connection.remoteId.toString().slice(0, 10);
    const expected = [
      /^iroh:endpoint [0-9a-f]{10} bound to 127\.0\.0\.1:\d+/,
      new RegExp(`^iroh:connection #\\d+ client dials ${peer} at ip:127\\.0\\.0\\.1:\\d+`),
      /^iroh:connection #\d+ server accepts ip:127\.0\.0\.1:\d+$/,
      new RegExp(`^iroh:connection #\\d+ client connected to ${peer}, "${ALPN}", in [\\d.]+ ms$`),
      /^iroh:path #\d+ client path 0 opened to ip:127\.0\.0\.1:\d+$/,
      /^iroh:connection #\d+ client closed: ConnectionError\.LocallyClosed: /,
      /^iroh:connection #\d+ server closed: ConnectionError\.ApplicationClosed: .* code 7 done$/,
      /^iroh:endpoint [0-9a-f]{10} closed$/,
    ];
    for (const pattern of expected) expect(lines).toContainEqual(expect.stringMatching(pattern));
  });

  test('a logger that throws hurts nobody', async () => {
    await echo({
      logger: {
        debug: () => {
          throw new Error('full');
        },
      },
    });
  });

  test.each([
    ['iroh:*', ['iroh:endpoint', 'iroh:connection']],
    ['iroh:connection', ['iroh:connection']],
    [undefined, []],
  ])('DEBUG=%s', async (DEBUG, namespaces) => {
    const script = join(folder, 'dial.mjs');
    const index = pathToFileURL(join(import.meta.dirname, '..', 'dist', 'index.js')).href;
    writeFileSync(
      script,
      `import { Endpoint, EndpointAddr, SecretKey, parseAddr } from ${JSON.stringify(index)};
      const endpoint = await Endpoint.bind({ preset: 'minimal', bind: ['127.0.0.1:0'] });
      const addr = new EndpointAddr(SecretKey.generate().publicKey, [{ type: 'ip', addr: parseAddr('127.0.0.1:9') }]);
      await endpoint.connect(addr, 'x', { timeoutMs: 10 }).catch(() => undefined);
      await endpoint.close({ timeoutMs: 0 });`,
    );
    const env = { ...process.env };
    delete env['DEBUG'];
    const { stderr } = await promisify(execFile)(process.execPath, [script], {
      env: { ...env, ...(DEBUG !== undefined && { DEBUG }) },
    });
    const seen = new Set([...stderr.matchAll(/iroh:\w+/g)].map(([name]) => name));
    expect([...seen].sort()).toEqual([...namespaces].sort());
  });
});
