/**
 * The demo: two processes, a relay and a lookup server, all on this machine. One process publishes at the lookup server which
 * relay it is at; the other knows its id only, finds it there, and dials it through the relay. The connection becomes direct,
 * loses the direct path, goes on over the relay, and becomes direct again, while a file goes there and back. Who found it and
 * each change of the path is printed as it happens; at the end a table says what was measured.
 *
 * @module
 */
import { fork, type ChildProcess } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DnsServer } from '../dns-server.ts';
import {
  DnsLookup,
  Endpoint,
  formatRemoteAddr,
  PkarrPublisher,
  PkarrResolver,
  systemPlatform,
  type BiStream,
  type Connection,
  type EndpointId,
  type Path,
  type RelayConfig,
} from '../index.ts';
import { RelayServer } from '../relay-server.ts';
import { engineOf } from './engine.ts';
import { FILE_ALPN, receiveFile, sendFile } from './file.ts';
import { secretKeyOf } from './identity.ts';
import { formatSize, say } from './progress.ts';
import { TimedLookup, type Finding } from './timed-lookup.ts';
import { formatChange, formatNote, Timeline } from './timeline.ts';
import { UdpSwitch } from './udp-switch.ts';
import { UserError } from './user-error.ts';

const { clock } = systemPlatform;

const DEFAULT_FILE_BYTES = 32 * 1_024 * 1_024;
/** A byte goes there and back so often, ms: whatever path there is has something to carry. */
const PULSE_INTERVAL_MS = 50;
/** Not behind the bytes of the file: it is to tell of the path. */
const PULSE_PRIORITY = 1;
/** UDP stays blocked for so long once the relay carries the data, ms. */
const RELAYED_MS = 1_000;
/** How much of the file is back when UDP is blocked. */
const OUTAGE_AFTER = 0.25;
/** Any step takes at most so long, ms; all of them far less, unless the machine is very busy. */
const STEP_LIMIT_MS = 30_000;

/** The embedded relay speaks HTTP only, so it has no address discovery. */
const relayAt = (url: string): RelayConfig => ({ url, quicPort: false });

/** Where the processes meet, and where they find each other. */
interface Servers {
  /** URL of the relay. */
  readonly relay: string;
  /** URL of the lookup server, for signed packets. */
  readonly pkarrUrl: string;
  /** `ip:port` of the lookup server, for DNS. */
  readonly dnsServers: readonly string[];
  /** Domain that it answers for. */
  readonly origin: string;
}

/** What both processes are told. */
interface Setting extends Servers {
  /** Name of the engine of both; undefined: our own. */
  readonly engine: string | undefined;
}

/** The answering process: publishes itself, and says its id; echoes one stream; gives back the file that comes on another. */
async function answer(folder: string, { relay, pkarrUrl, engine }: Setting): Promise<void> {
  const endpoint = await Endpoint.bind({
    preset: 'minimal',
    alpns: [FILE_ALPN],
    relay: [relayAt(relay)],
    engine: engineOf(engine),
    // Publishes the relay. The direct addresses are for the two to find out, if the engine can.
    lookup: (host) =>
      new PkarrPublisher({
        ...host,
        url: pkarrUrl,
        ...(engine !== undefined && { filter: (addrs) => addrs }),
      }),
  });
  // Who started us is gone: nobody will dial.
  const giveUp = (): void => process.exit(1);
  process.once('disconnect', giveUp);
  try {
    // Whoever dials by the relay alone finds us once we are there.
    await endpoint.online({ timeoutMs: STEP_LIMIT_MS });
    process.send?.(endpoint.id.toString());
    const incoming = await endpoint.accept();
    const connection = await incoming!.accept().connected;
    const pulse = await connection.acceptBi();
    pulse.send.priority = PULSE_PRIORITY;
    const echoing = pulse.recv.readable.pipeTo(pulse.send.writable).catch(() => undefined);
    const { send, recv } = await connection.acceptBi();
    const copy = join(folder, 'there');
    await receiveFile(recv, () => copy);
    await sendFile(send, copy);
    await connection.closed;
    await echoing;
  } finally {
    await endpoint.close();
    process.off('disconnect', giveUp);
    process.disconnect?.();
  }
}

/** A byte every {@link PULSE_INTERVAL_MS} that is echoed: how long was nothing heard? */
class Pulse {
  /** The longest time between two echoes, ms. */
  longestPauseMs = 0;
  readonly #stream: BiStream;
  #timer: unknown;
  #heardAt = clock.now();

  constructor(stream: BiStream) {
    this.#stream = stream;
    stream.send.priority = PULSE_PRIORITY;
    this.#beat();
    void this.#listen();
  }

  #beat(): void {
    this.#timer = clock.setTimeout(() => this.#beat(), PULSE_INTERVAL_MS);
    // What cannot be sent is seen by its absence.
    this.#stream.send.write(Uint8Array.of(0)).catch(() => undefined);
  }

  async #listen(): Promise<void> {
    try {
      for await (const _ of this.#stream.recv) {
        const now = clock.now();
        this.longestPauseMs = Math.max(this.longestPauseMs, now - this.#heardAt);
        this.#heardAt = now;
      }
    } catch {
      // The connection is over.
    } finally {
      this.stop();
    }
  }

  stop(): void {
    clock.clearTimeout(this.#timer);
  }
}

interface Story {
  /** Whom to dial; nothing else is known of it. */
  readonly id: string;
  readonly setting: Setting;
  /** What goes there and back. */
  readonly path: string;
  readonly folder: string;
  readonly timeline: Timeline;
}

/** A line of the timeline that is no change of path. */
function note(timeline: Timeline, text: string, where = ''): void {
  say(formatNote(timeline.elapsedMs, text, where));
}

/** Both ways to ask the lookup server; whoever answers first is enough. Each answer is printed. */
function lookups({ pkarrUrl, dnsServers, origin }: Servers, timeline: Timeline): TimedLookup[] {
  const onFound = ({ service, tookMs, addrs }: Finding): void =>
    note(timeline, `found by ${service} in ${tookMs.toFixed(0)} ms`, addrs);
  return [
    new TimedLookup('pkarr over HTTP', new PkarrResolver({ url: pkarrUrl }), onFound),
    new TimedLookup('DNS', new DnsLookup({ origin, servers: dnsServers }), onFound),
  ];
}

/** The dialling process: sends a file, gets it back, loses the direct path meanwhile. */
async function dial(story: Story): Promise<void> {
  const { setting, timeline } = story;
  const udp = new UdpSwitch();
  const services = lookups(setting, timeline);
  const endpoint = await Endpoint.bind({
    preset: 'minimal',
    secretKey: secretKeyOf({}),
    relay: [relayAt(setting.relay)],
    engine: engineOf(setting.engine),
    lookup: services,
    platform: udp.platform,
    inspect: timeline.recorder.inspect,
  });
  try {
    await transfer(endpoint, { ...story, udp, services });
  } finally {
    await endpoint.close();
  }
}

/** The dialling process once it has an endpoint. */
async function transfer(
  endpoint: Endpoint,
  {
    id,
    setting,
    path,
    folder,
    timeline,
    udp,
    services,
  }: Story & { readonly udp: UdpSwitch; readonly services: readonly TimedLookup[] },
): Promise<void> {
  // Where addresses have to be published the first flight would find them, and nothing be seen of a relay.
  const isPublished = !endpoint.capabilities.natTraversal;
  if (isPublished)
    note(timeline, 'UDP is blocked at first: this engine knows direct addresses from the start');
  udp.isOn = !isPublished;
  const connection = await endpoint.connect(id, FILE_ALPN, { timeoutMs: STEP_LIMIT_MS });
  if (isPublished) {
    await timeline.until('relayed', STEP_LIMIT_MS);
    note(timeline, 'UDP works');
    udp.isOn = true;
  }
  const pulse = new Pulse(await connection.openBi());
  await timeline.until('direct', STEP_LIMIT_MS);

  const { size } = await stat(path);
  const { send, recv } = await connection.openBi();
  const started = clock.now();
  const there = await sendFile(send, path, { label: 'there', connection });
  await send.stopped;
  const turned = clock.now();
  let left = size * OUTAGE_AFTER;
  let outage: Promise<void> | undefined;
  const { sha256: back } = await receiveFile(recv, () => join(folder, 'back'), {
    label: 'back',
    connection,
    onBytes: (bytes) => {
      left -= bytes;
      if (left <= 0) outage ??= loseDirectPath(udp, timeline);
    },
  });
  const ended = clock.now();
  // An empty file brings no bytes.
  await (outage ?? loseDirectPath(udp, timeline));
  pulse.stop();
  const relayedBytes = bytesOf(pathOf(connection, 'relay'));
  const direct = pathOf(connection, 'ip')!;
  const stats = connection.stats();
  const proven = connection.remoteId.toString().slice(0, 10);
  connection.close(0, 'done');

  const speed = (ms: number): string =>
    `${(size / ms / 1_000).toFixed(1)} MB/s (${(ms / 1_000).toFixed(2)} s)`;
  const share = ((100 * stats.lostPackets) / Math.max(stats.sentPackets, 1)).toFixed(2);
  const isEqual = there === back;
  const found = services
    .flatMap(({ name, tookMs }) => (tookMs === undefined ? [] : [{ name, tookMs }]))
    .sort((one, other) => one.tookMs - other.tookMs)
    .map(({ name, tookMs }) => `by ${name} in ${tookMs.toFixed(0)} ms`);
  table([
    ['found', found.join(', ')],
    [
      'checksum',
      isEqual ? `equal, sha256 ${there.slice(0, 16)}…` : `DIFFERENT: ${there} there, ${back} back`,
    ],
    ['there', speed(turned - started)],
    ['back', `${speed(ended - turned)}, UDP blocked meanwhile`],
    [
      'pause',
      `${pulse.longestPauseMs.toFixed(0)} ms at most between echoes of a byte sent every ${PULSE_INTERVAL_MS} ms`,
    ],
    ['handshake', `${stats.handshakeMs?.toFixed(1)} ms, ${proven}… proved its key`],
    [
      'round trip',
      `${direct.stats.minRttMs.toFixed(2)} ms at best, ${direct.stats.rttMs.toFixed(2)} ms under load`,
    ],
    ['packets', `${count(stats.sentPackets)} sent, ${count(stats.receivedPackets)} received`],
    ['lost', `${count(stats.lostPackets)} of those sent (${share} %)`],
    ['path', `${formatRemoteAddr(direct.remoteAddr)}, ${direct.stats.mtu} bytes per datagram`],
    ['relay', `${setting.relay} carried ${formatSize(relayedBytes)}`],
  ]);
  if (!isEqual) process.exitCode = 1;
}

/** Blocks UDP until the relay has carried the data for a while; then waits for the direct path. */
async function loseDirectPath(udp: UdpSwitch, timeline: Timeline): Promise<void> {
  note(timeline, 'UDP is blocked: datagrams get lost, and nobody is told');
  udp.isOn = false;
  await timeline.until('relayed', STEP_LIMIT_MS);
  await new Promise<void>((resolve) => void clock.setTimeout(resolve, RELAYED_MS));
  note(timeline, 'UDP works again');
  udp.isOn = true;
  await timeline.until('direct', STEP_LIMIT_MS);
}

function pathOf(connection: Connection, type: Path['remoteAddr']['type']): Path | undefined {
  return connection.paths.find(({ remoteAddr }) => remoteAddr.type === type);
}

function bytesOf(path: Path | undefined): number {
  return path === undefined ? 0 : path.stats.udpTx.bytes + path.stats.udpRx.bytes;
}

function count(packets: number): string {
  return packets.toLocaleString('en-US');
}

function table(rows: readonly (readonly [string, string])[]): void {
  const width = Math.max(...rows.map(([, value]) => value.length));
  const line = (left: string, middle: string, right: string): string =>
    `${left}${'─'.repeat(12)}${middle}${'─'.repeat(width + 2)}${right}`;
  console.log(`\n${line('┌', '┬', '┐')}`);
  for (const [name, value] of rows) console.log(`│ ${name.padEnd(11)}│ ${value.padEnd(width)} │`);
  console.log(line('└', '┴', '┘'));
}

/** What the answering process says first. @throws {Error} when it ends without a word. */
function firstMessage(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('message', (text) => resolve(text as string));
    child.once('exit', (code) => reject(new Error(`the other process ended with ${code}`)));
    child.once('error', reject);
  });
}

/** @throws {Error} after `limitMs`. */
async function within<T>(limitMs: number, promise: Promise<T>, otherwise: string): Promise<T> {
  let timer: unknown;
  const limit = new Promise<never>((_, reject) => {
    timer = clock.setTimeout(() => reject(new Error(`${otherwise}, after ${limitMs} ms`)), limitMs);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clock.clearTimeout(timer);
  }
}

/** The answering process; it has a key of its own. */
function startAnswering(folder: string, setting: Setting): ChildProcess {
  const { IROH_SECRET: _, ...env } = process.env;
  return fork(fileURLToPath(import.meta.url), ['--answer', folder, JSON.stringify(setting)], { env });
}

interface Arguments {
  /** What to send; random bytes without. */
  readonly file: string | undefined;
  /** Where the recording goes; none without. */
  readonly record: string | undefined;
  readonly engine: string | undefined;
}

/** @throws {UserError} */
function readArguments(): Arguments {
  try {
    const { values, positionals } = parseArgs({
      options: { record: { type: 'string' }, engine: { type: 'string' } },
      allowPositionals: true,
    });
    return { file: positionals[0], record: values.record, engine: values.engine };
  } catch (error) {
    const usage = 'npm run demo -- [--engine quiche] [--record FILE] [FILE]';
    throw new UserError(`${(error as Error).message}\nusage: ${usage}`, error);
  }
}

async function main(): Promise<void> {
  const { file, record, engine } = readArguments();
  engineOf(engine);
  const folder = mkdtempSync(join(tmpdir(), 'iroh-ts-demo-'));
  let relayServer: RelayServer | undefined;
  let lookupServer: DnsServer | undefined;
  let child: ChildProcess | undefined;
  let timeline: Timeline | undefined;
  const removeFolder = (): void => rmSync(folder, { recursive: true, force: true });
  const stop = (exitCode: number): void => {
    child?.kill();
    removeFolder();
    process.exit(exitCode);
  };
  const interrupt = (signal: 'SIGINT' | 'SIGTERM'): void => stop(128 + constants.signals[signal]);
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  // Nobody reads any more: `npm run demo | head`.
  process.stdout.once('error', () => stop(1));
  try {
    const path = file ?? join(folder, 'random');
    if (file === undefined) writeFileSync(path, randomFillSync(Buffer.allocUnsafe(DEFAULT_FILE_BYTES)));
    const { size } = await stat(path).catch((error: unknown) => {
      throw new UserError(`cannot read ${path}`, error);
    });
    let onPublish!: (id: EndpointId) => void;
    const published = new Promise<EndpointId>((resolve) => (onPublish = resolve));
    relayServer = await RelayServer.listen();
    lookupServer = await DnsServer.listen({ onPublish });
    const setting: Setting = {
      engine,
      relay: relayServer.url.href,
      pkarrUrl: lookupServer.pkarrUrl,
      dnsServers: lookupServer.dnsAddrs.map(({ text }) => text),
      origin: lookupServer.origins[0]!,
    };
    child = startAnswering(folder, setting);
    const ended = new Promise<number | null>((resolve) => child!.once('exit', resolve));
    const id = await within(2 * STEP_LIMIT_MS, firstMessage(child), 'the other process says no id');
    await within(STEP_LIMIT_MS, published, 'the other process does not publish itself');
    console.log(
      [
        `Process ${child.pid} is at a relay, and has published that at a lookup server, signed. This is its id:`,
        `\n  ${id}\n`,
        `Process ${process.pid} dials that id, and sends ${file ?? 'random bytes'} (${formatSize(size)}) there and back.`,
        'Relay and lookup server run on this machine. Who finds it, how data travels, and why:\n',
      ].join('\n'),
    );
    timeline = new Timeline((change) => say(formatChange(change)));
    await dial({ id, setting, path, folder, timeline });
    if ((await ended) !== 0) process.exitCode = 1;
  } finally {
    child?.kill();
    await Promise.all([relayServer?.close(), lookupServer?.close()]);
    removeFolder();
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    if (record !== undefined && timeline !== undefined) {
      writeFileSync(record, timeline.recorder.toString());
      console.log(`The recording is in ${record}.`);
    }
  }
}

const [, , role, ...rest] = process.argv;
const run = role === '--answer' ? answer(rest[0]!, JSON.parse(rest[1]!) as Setting) : main();
run.catch((error: unknown) => {
  console.error(error instanceof UserError ? error.message : error);
  process.exitCode = 1;
});
