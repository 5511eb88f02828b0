/**
 * Child processes that tests talk to: output collected, lines waited for, ended whatever happens.
 *
 * @module
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const MAIN = join(import.meta.dirname, '..', '..', 'dist', 'cli', 'main.js');

/** A running program. */
export class Program {
  readonly process: ChildProcessWithoutNullStreams;
  readonly #stdout: Buffer[] = [];
  #stderr = '';
  readonly #ended: Promise<number | null>;

  constructor(
    command: string,
    args: readonly string[],
    options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
  ) {
    this.process = spawn(command, args, { ...options, stdio: 'pipe' });
    this.process.stdout.on('data', (data: Buffer) => this.#stdout.push(data));
    this.process.stderr.on('data', (data: Buffer) => (this.#stderr += data.toString()));
    // A program that has ended takes no more input.
    this.process.stdin.on('error', () => undefined);
    this.#ended = once(this.process, 'close').then(([code]) => code as number | null);
  }

  get stdout(): Buffer {
    return Buffer.concat(this.#stdout);
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** The first match in what it says on either stream. @throws {Error} when it ends without saying it. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.#stderr) ?? pattern.exec(this.stdout.toString());
      if (match !== null) return match;
      const heard = [this.process.stdout, this.process.stderr].map((stream) => once(stream, 'data'));
      const code = await Promise.race([...heard, this.#ended]);
      if (typeof code === 'number' && pattern.exec(`${this.#stderr}${this.stdout.toString()}`) === null)
        throw new Error(`ended with ${code} before it said ${pattern}:\n${this.#stderr}`);
    }
  }

  /** Waits for its end. */
  async ended(): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
    const code = await this.#ended;
    return { code, stdout: this.stdout.toString(), stderr: this.#stderr };
  }

  kill(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }
}

const running = new Set<Program>();

/** Starts Node with a script of its own. */
export function runNode(
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Record<string, string> } = {},
): Program {
  const env: NodeJS.ProcessEnv = { ...process.env };
  for (const name of ['DEBUG', 'IROH_SECRET', 'QLOGDIR', 'SSLKEYLOGFILE']) delete env[name];
  const program = new Program(process.execPath, args, { ...options, env: { ...env, ...options.env } });
  running.add(program);
  void program.ended().then(() => running.delete(program));
  return program;
}

/** Starts the built `iroh-ts` command. */
export function irohTs(
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Record<string, string> } = {},
): Program {
  return runNode([MAIN, ...args], options);
}

/** Ends whatever a test left running. */
export async function endPrograms(): Promise<void> {
  const left = [...running];
  for (const program of left) program.kill('SIGKILL');
  await Promise.all(left.map((program) => program.ended()));
}

/** The ticket that a listening program prints. */
export async function ticketOf(program: Program): Promise<string> {
  const match = await program.says(/\b(endpoint[a-z2-7]{50,})\b/);
  return match[1]!;
}
