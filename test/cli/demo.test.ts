/** The demo's story, and its recording: what is printed is what the machines did, and nothing secret is in it. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { SecretKey } from '../../src/index.ts';
import { endPrograms, runNode } from '../support/program.ts';

const DEMO = join(import.meta.dirname, '..', '..', 'dist', 'cli', 'demo.js');

/** A line of a recording, as far as it matters here. */
interface Line {
  readonly kind: string;
  readonly t?: number;
  readonly actor?: string;
  readonly status?: string;
  readonly value?: { readonly active?: { readonly selected?: string } };
  readonly context?: { readonly reason?: string; readonly selected?: { readonly remote?: string } };
}

/** `0.421 s  relayed → direct  stalled  ip:…` */
interface Change {
  readonly seconds: string;
  readonly from: string;
  readonly to: string;
  readonly reason: string;
  readonly remote: string;
}

const secretKey = SecretKey.generate();
/** Not a byte of this may be recorded, in any spelling. */
const payload = randomBytes(100_000);
let folder: string;
let code: number | null;
let stdout: string;
let recording: string;
let lines: Line[];
let printed: Change[];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'iroh-ts-demo-test-'));
  const file = join(folder, 'payload');
  writeFileSync(file, payload);
  const program = runNode([DEMO, '--record', 'run.ndjson', file], {
    cwd: folder,
    env: { IROH_SECRET: toHex(secretKey.toBytes()) },
  });
  ({ code, stdout } = await program.ended());
  recording = readFileSync(join(folder, 'run.ndjson'), 'utf8');
  lines = recording
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  const pattern = /^ +(\d+\.\d{3}) s {2}(\w+) +→ (\w+) +(\w+) *(\S*)$/gm;
  printed = [...stdout.matchAll(pattern)].map(([, seconds, from, to, reason, remote]) => ({
    seconds: seconds!,
    from: from!,
    to: to!,
    reason: reason!,
    remote: remote!,
  }));
}, 60_000);

afterAll(async () => {
  await endPrograms();
  rmSync(folder, { recursive: true, force: true });
});

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** What the recording says about the region `selected` of the one remote. */
function recordedChanges(): Change[] {
  const changes: Change[] = [];
  let from = 'none';
  for (const { kind, actor, t, value, context } of lines) {
    const to = value?.active?.selected;
    if (kind !== 'state' || !actor!.startsWith('remote ') || to === undefined || to === from) continue;
    changes.push({
      seconds: (t! / 1_000).toFixed(3),
      from,
      to,
      reason: context!.reason!,
      remote: context!.selected?.remote ?? '',
    });
    from = to;
  }
  return changes;
}

describe('the demo', () => {
  test('dials by id alone: says which service found it and how long that took, before anything else', () => {
    // A line of its own, to be copied; nothing says more of the other side than its id.
    const [, id] = /^ {2}([0-9a-f]{64})$/m.exec(stdout)!;
    expect(stdout).not.toMatch(/endpoint[a-z2-7]{40}/);
    const timeline = stdout.split('\n').filter((line) => /^ +\d+\.\d{3} s/.test(line));
    const [, , , relay] = /^ +\d+\.\d{3} s {2}found by (pkarr over HTTP|DNS) in (\d+) ms +(\S+)$/.exec(
      timeline[0]!,
    )!;
    expect(relay).toMatch(/^relay:http:\/\/127\.0\.0\.1:\d+\/$/);
    expect(printed[0]).toMatchObject({ from: 'none', to: 'relayed', remote: relay });
    expect(stdout).toMatch(/^│ found +│ by (pkarr over HTTP|DNS) in \d+ ms/m);
    expect(stdout).toContain(`${id!.slice(0, 10)}… proved its key`);
  });

  test('takes the relay first, becomes direct, falls back to the relay, becomes direct again, and ends by itself', () => {
    expect(code).toBe(0);
    const story = printed.map(({ from, to, reason, remote }) => `${from} → ${to} ${reason} ${remote}`);
    // On a machine that is busy enough a path may stall for a moment all by itself: that may stand between these.
    let at = -1;
    for (const step of [
      'none → relayed established relay:',
      'relayed → direct established ip:',
      'direct → relayed stalled relay:',
      'relayed → direct resumed ip:',
      'direct → none lastConnectionClosed ',
    ]) {
      at = story.findIndex((line, index) => index > at && line.startsWith(step));
      expect([step, at >= 0]).toEqual([step, true]);
    }
    expect(at).toBe(story.length - 1);
  });

  test('falls back soon after the loss, long before the path’s idle time-out, while bytes flow', () => {
    const blocked = Number(/^ +(\d+\.\d{3}) s {2}UDP is blocked/m.exec(stdout)![1]);
    const fallback = printed.find(({ seconds, to }) => Number(seconds) >= blocked && to === 'relayed')!;
    // Within a second on a machine that has time; test/scenarios/d-paths.test.ts measures it in virtual time.
    expect(Number(fallback.seconds) - blocked).toBeLessThan(5);
    const [, pause] = /^│ pause +│ (\d+) ms/m.exec(stdout)!;
    expect(Number(pause)).toBeLessThan(6_000);
  });

  test('compares the checksums, and says what the relay carried', () => {
    expect(stdout).toMatch(/^│ checksum +│ equal/m);
    expect(stdout).toMatch(/^│ relay +│ http:\/\/127\.0\.0\.1:\d+\/ carried \d+\.\d KiB/m);
  });

  test('is readable where there is no terminal: no control characters', () => {
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  });
});

describe('the recording of the demo', () => {
  test('holds every transition of the printed timeline', () => {
    expect(recordedChanges()).toEqual(printed);
    expect(lines[0]).toMatchObject({ kind: 'recording', dropped: 0 });
  });

  test('holds the actors of the endpoint, from their starts to their ends', () => {
    const started = lines.filter(({ kind }) => kind === 'actor').map(({ actor }) => actor!.split(' ')[0]);
    expect([...new Set(started)]).toEqual(expect.arrayContaining(['endpoint', 'socket', 'remote', 'relay']));
    const ended = lines.filter(({ status }) => status === 'done').map(({ actor }) => actor!.split(' ')[0]);
    expect([...new Set(ended)]).toEqual(expect.arrayContaining(['endpoint', 'socket', 'remote', 'relay']));
  });

  test('holds no secret and no payload byte', () => {
    expect(recording).toContain(secretKey.publicKey.toString().slice(0, 10));
    for (const bytes of [
      secretKey.toBytes(),
      ...[0, 50_000, 99_968].map((at) => payload.subarray(at, at + 32)),
    ]) {
      const buffer = Buffer.from(bytes);
      const spellings = [
        toHex(buffer.subarray(0, 8)),
        // Without the last characters, which depend on what follows.
        buffer.toString('base64').slice(0, 10),
        buffer.toString('base64url').slice(0, 10),
        buffer.subarray(0, 8).join(','),
        buffer.toString('latin1').slice(0, 8),
      ];
      for (const spelling of spellings) expect(recording.toLowerCase()).not.toContain(spelling.toLowerCase());
    }
  });
});

test('Ctrl-C ends it, and what it started and wrote', async () => {
  const temporary = mkdtempSync(join(folder, 'tmp-'));
  const program = runNode([DEMO], { cwd: folder, env: { TMPDIR: temporary } });
  await program.says(/relayed → direct/);
  program.kill('SIGINT');
  // Both processes write to these pipes: they end when both have ended.
  expect((await program.ended()).code).toBe(130);
  expect(readdirSync(temporary).filter((name) => name.startsWith('iroh-ts-demo-'))).toEqual([]);
});

test('it ends quietly when nobody reads it any more', async () => {
  const temporary = mkdtempSync(join(folder, 'tmp-'));
  const program = spawn(process.execPath, [DEMO], { env: { ...process.env, TMPDIR: temporary } });
  let complaints = '';
  program.stderr.on('data', (chunk: Buffer) => (complaints += String(chunk)));
  await once(program.stdout, 'data');
  program.stdout.destroy();
  const [code] = (await once(program, 'close')) as [number];
  expect([code, complaints]).toEqual([1, '']);
  expect(readdirSync(temporary).filter((name) => name.startsWith('iroh-ts-demo-'))).toEqual([]);
});

test('--engine quiche: relayed, direct, relayed, direct again, by migration', async () => {
  const program = runNode([DEMO, '--engine', 'quiche', join(folder, 'payload')], { cwd: folder });
  const { code: ended, stdout: text } = await program.ended();
  const ways = [...text.matchAll(/ s {2}\w+ +→ (\w+)/g)].map(([, to]) => to);
  expect([ended, ways]).toEqual([0, ['relayed', 'direct', 'relayed', 'direct', 'none']]);
  expect(text).toMatch(/^│ checksum +│ equal/m);
  const wrong = await runNode([DEMO, '--engine', 'bogus']).ended();
  expect([wrong.code, wrong.stderr]).toEqual([1, 'no engine "bogus": iroh-ts or quiche\n']);
}, 60_000);

test('a wrong option and a file that is not there are told in a line', async () => {
  const wrong = await runNode([DEMO, '--bogus']).ended();
  expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('usage: npm run demo')]);
  const missing = await runNode([DEMO, join(folder, 'missing')]).ended();
  expect([missing.code, missing.stderr]).toEqual([1, `cannot read ${join(folder, 'missing')}\n`]);
});
