/**
 * The demo: two processes. One prints a ticket, the other dials it; a file goes there and back, and what happened is
 * printed as a table.
 *
 * @module
 */
import { fork, type ChildProcess } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Endpoint, formatRemoteAddr } from '../index.ts';
import { FILE_ALPN, receiveFile, sendFile } from './file.ts';
import { formatSize } from './progress.ts';

const DEFAULT_FILE_BYTES = 64 * 1_024 * 1_024;

/** The answering process: takes a file and gives it back. */
async function answer(folder: string): Promise<void> {
  const endpoint = await Endpoint.bind({ preset: 'minimal', alpns: [FILE_ALPN] });
  process.send?.(endpoint.addr.toTicket());
  const incoming = await endpoint.accept();
  const connection = await incoming!.accept().connected;
  const { send, recv } = await connection.acceptBi();
  const copy = join(folder, 'there');
  await receiveFile(recv, () => copy);
  await sendFile(send, copy);
  await connection.closed;
  await endpoint.close();
  process.disconnect?.();
}

/** The dialling process: sends a file, gets it back, compares. */
async function dial(ticket: string, path: string, folder: string): Promise<void> {
  const endpoint = await Endpoint.bind({ preset: 'minimal' });
  const connection = await endpoint.connect(ticket, FILE_ALPN, { timeoutMs: 10_000 });
  const { size } = await stat(path);
  const { send, recv } = await connection.openBi();
  const started = performance.now();
  const there = await sendFile(send, path, 'there');
  await send.stopped;
  const turned = performance.now();
  const { sha256: back } = await receiveFile(recv, () => join(folder, 'back'), 'back');
  const ended = performance.now();
  const stats = connection.stats();
  const path0 = connection.paths.find((each) => each.isSelected)!;
  const speed = (ms: number): string =>
    `${(size / ms / 1_000).toFixed(1)} MB/s (${(ms / 1_000).toFixed(2)} s)`;
  const share = ((100 * stats.lostPackets) / Math.max(stats.sentPackets, 1)).toFixed(2);
  const isEqual = there === back;
  table([
    [
      'checksum',
      isEqual ? `equal, sha256 ${there.slice(0, 16)}…` : `DIFFERENT: ${there} there, ${back} back`,
    ],
    ['there', speed(turned - started)],
    ['back', speed(ended - turned)],
    [
      'handshake',
      `${stats.handshakeMs?.toFixed(1)} ms, ${connection.remoteId.toString().slice(0, 10)} proved its key`,
    ],
    [
      'round trip',
      `${path0.stats.minRttMs.toFixed(2)} ms at best, ${path0.stats.rttMs.toFixed(2)} ms under load`,
    ],
    ['packets', `${count(stats.sentPackets)} sent, ${count(stats.receivedPackets)} received`],
    ['lost', `${count(stats.lostPackets)} of those sent (${share} %)`],
    ['path', `${formatRemoteAddr(path0.remoteAddr)}, ${path0.stats.mtu} bytes per datagram`],
  ]);
  connection.close(0, 'done');
  await endpoint.close();
  if (!isEqual) process.exitCode = 1;
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
  });
}

async function main(): Promise<void> {
  const [file] = process.argv.slice(2);
  const folder = mkdtempSync(join(tmpdir(), 'iroh-ts-demo-'));
  try {
    let path = file;
    if (path === undefined) {
      path = join(folder, 'random');
      writeFileSync(path, randomFillSync(Buffer.allocUnsafe(DEFAULT_FILE_BYTES)));
    }
    const { size } = await stat(path);
    const child = fork(fileURLToPath(import.meta.url), ['--answer', folder]);
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const ticket = await firstMessage(child);
    console.log(
      [
        `Process ${child.pid} listens under a key of its own and prints a ticket: the key, and where it can be reached.`,
        `Process ${process.pid} dials it and sends ${file ?? 'random bytes'} (${formatSize(size)}) there and back.`,
        `\n  ${ticket}\n`,
      ].join('\n'),
    );
    await dial(ticket, path, folder);
    if ((await ended) !== 0) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const run = process.argv[2] === '--answer' ? answer(process.argv[3]!) : main();
run.catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
