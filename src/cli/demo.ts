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
import { Endpoint } from '../index.ts';
import { FILE_ALPN, receiveFile, sendFile } from './file.ts';

const DEFAULT_FILE_BYTES = 64 * 1_024 * 1_024;

/** The answering process: takes a file and gives it back. */
async function answer(folder: string): Promise<void> {
  const endpoint = await Endpoint.bind({ preset: 'minimal', alpns: [FILE_ALPN] });
  process.send?.(endpoint.addr.toTicket());
  const incoming = await endpoint.accept();
  const connection = await incoming!.accept().connected;
  const { send, recv } = await connection.acceptBi();
  const copy = join(folder, 'there');
  await receiveFile(recv, () => copy, 'there');
  await sendFile(send, copy, 'back');
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
  const selected = connection.paths.find((each) => each.isSelected)!;
  const mbps = (ms: number): string => `${(size / ms / 1_000).toFixed(1)} MB/s`;
  console.log(`\nsha256 there ${there}\nsha256 back  ${back}  ${there === back ? 'equal' : 'DIFFERENT'}\n`);
  const rows: [string, string][] = [
    ['there', mbps(turned - started)],
    ['back', mbps(ended - turned)],
    ['handshake', `${stats.handshakeMs?.toFixed(1)} ms`],
    ['round trip', `${selected.stats.rttMs.toFixed(2)} ms`],
    ['packets', `${stats.sentPackets} sent, ${stats.receivedPackets} received`],
    ['lost', String(stats.lostPackets)],
    ['path', `${selected.remoteAddr.text}, ${selected.stats.mtu} bytes per datagram`],
  ];
  for (const [name, value] of rows) console.log(`${name.padEnd(12)}${value}`);
  connection.close(0, 'done');
  await endpoint.close();
  if (there !== back) process.exitCode = 1;
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
    const child: ChildProcess = fork(fileURLToPath(import.meta.url), ['--answer', folder]);
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const ticket = await new Promise<string>((resolve) =>
      child.once('message', (text) => resolve(text as string)),
    );
    console.log(`the other process listens as\n${ticket}\n`);
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
