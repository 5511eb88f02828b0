/**
 * A process in a namespace, commanded by JSON lines (`json-lines.mjs` is its half; the Rust peer speaks the same).
 *
 * @module
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Namespace } from './netns.ts';

/** Fields of a command, an answer or an event. */
export type Fields = Record<string, unknown>;

/** Bound of a wait for an event; peers bound their commands themselves. */
const EVENT_WAIT_MS = 30_000;
/** Lines of standard error that an error tells. */
const MAX_ERROR_LINES = 40;

/**
 * `IROH_TS_LAB_LOGS=folder` keeps what every process writes to standard error; with `DEBUG=iroh:*` ours tell what they do, with
 * `IROH_TS_LAB_REAL_LOG=debug` real ones do.
 */
const LOG_FOLDER = process.env['IROH_TS_LAB_LOGS'];

interface Pending {
  readonly cmd: string;
  readonly resolve: (answer: Fields) => void;
  readonly reject: (error: Error) => void;
}

/** The path of a script or program of this folder. */
export function pathOf(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** A running process. */
export class Child {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #label: string;
  readonly #pending = new Map<number, Pending>();
  readonly #events: Fields[] = [];
  readonly #exited: Promise<void>;
  #listeners: (() => void)[] = [];
  #errors: string[] = [];
  #nextId = 1;
  #isExited = false;

  private constructor(label: string, process: ChildProcessWithoutNullStreams) {
    this.#label = label;
    this.#process = process;
    createInterface({ input: process.stdout }).on('line', (line) => this.#onLine(line));
    createInterface({ input: process.stderr }).on('line', (line) => {
      this.#errors.push(line);
      if (this.#errors.length > MAX_ERROR_LINES) this.#errors.shift();
    });
    if (LOG_FOLDER !== undefined) {
      mkdirSync(LOG_FOLDER, { recursive: true });
      const file = createWriteStream(join(LOG_FOLDER, `${label.replace(' ', '-')}.log`));
      process.stderr.pipe(file);
    }
    process.stdin.on('error', () => undefined);
    this.#exited = new Promise((resolve) => {
      process.on('close', (code, signal) => {
        this.#isExited = true;
        for (const { cmd, reject } of this.#pending.values()) {
          reject(this.#error(cmd, `the process ended with ${code ?? signal}`));
        }
        this.#pending.clear();
        this.#wake();
        resolve();
      });
    });
  }

  /** Starts a script of this folder under Node. */
  static script(namespace: Namespace, script: string, env: NodeJS.ProcessEnv = {}): Child {
    return Child.program(namespace, [process.execPath, pathOf(script)], env);
  }

  /** Starts a program. */
  static program(namespace: Namespace, command: readonly string[], env: NodeJS.ProcessEnv = {}): Child {
    const [program, args] = namespace.command(...command);
    const label = `${namespace.name} ${command.at(-1)!.split('/').at(-1)}`;
    return new Child(label, spawn(program, args, { stdio: 'pipe', env: { ...process.env, ...env } }));
  }

  /** Its process id: `ip netns exec` becomes the program. */
  get pid(): number {
    return this.#process.pid!;
  }

  #error(cmd: string, message: string): Error {
    const errors = this.#errors.length === 0 ? '' : `\n${this.#errors.join('\n')}`;
    return new Error(`${this.#label}: ${cmd}: ${message}${errors}`);
  }

  #wake(): void {
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener();
  }

  #onLine(text: string): void {
    let line: Fields;
    try {
      line = JSON.parse(text) as Fields;
    } catch {
      line = { text };
    }
    const pending = this.#pending.get(line['id'] as number);
    if (pending === undefined) {
      this.#events.push(line);
      this.#wake();
      return;
    }
    this.#pending.delete(line['id'] as number);
    const error = line['error'] as Fields | undefined;
    if (error === undefined) pending.resolve((line['ok'] ?? {}) as Fields);
    else pending.reject(this.#error(pending.cmd, String(error['message'])));
  }

  /** Runs a command. @throws {Error} with the child's message. */
  call<T = Fields>(cmd: string, fields: Fields = {}): Promise<T> {
    if (this.#isExited) return Promise.reject(this.#error(cmd, 'the process has ended'));
    const id = this.#nextId++;
    this.#process.stdin.write(`${JSON.stringify({ id, cmd, ...fields })}\n`);
    return new Promise<Fields>((resolve, reject) =>
      this.#pending.set(id, { cmd, resolve, reject }),
    ) as Promise<T>;
  }

  /** The next event that matches, past ones included; each is given out once. Undefined after `timeoutMs`. */
  async poll(matches: (event: Fields) => boolean, timeoutMs: number): Promise<Fields | undefined> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const index = this.#events.findIndex(matches);
      if (index >= 0) return this.#events.splice(index, 1)[0]!;
      const left = end - performance.now();
      if (left <= 0 || this.#isExited) return undefined;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#listeners.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** As {@link poll}. @throws {Error} when nothing came. */
  async event(what: string, matches: (event: Fields) => boolean, timeoutMs = EVENT_WAIT_MS): Promise<Fields> {
    const event = await this.poll(matches, timeoutMs);
    if (event === undefined) throw this.#error(what, `nothing within ${timeoutMs} ms`);
    return event;
  }

  /** Waits for a line that is no JSON. @throws {Error} when the process ends before. */
  async text(line: string): Promise<void> {
    await this.event(line, (event) => event['text'] === line);
  }

  /** Sends a signal. */
  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Ends the process and waits for it. */
  async stop(): Promise<void> {
    if (!this.#isExited) this.#process.stdin.end();
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 2000);
    await this.#exited;
    clearTimeout(timer);
  }
}
