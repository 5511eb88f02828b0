/**
 * The driver of `test/interop/rust-peer`: a real iroh (or noq, the QUIC below it) in another process, commanded by JSON
 * lines. Its sources name the fields of every command; what tests read of the answers is typed here.
 *
 * @module
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Endpoint, EndpointAddr, EndpointId, parseAddr, type EndpointOptions } from '../../../src/index.ts';

const BINARY = fileURLToPath(
  new URL(
    `../../../.rust/target/release/rust-peer${process.platform === 'win32' ? '.exe' : ''}`,
    import.meta.url,
  ),
);

export const ALPN = 'iroh-ts/interop/0';
/** Upper bound of every wait on our side: generous, because the machine may be busy. */
export const WAIT = { timeoutMs: 20_000 };

/** Fields of a command or an answer. */
export type Fields = Record<string, unknown>;

/** A command that the peer could not carry out. */
export class RustPeerError extends Error {
  override readonly name = 'RustPeerError';
  /** What kind of iroh error it was: `connection`, `stopped`, `reset`, `zeroRttRejected`, … */
  readonly kind: string;
  /** Application code of a stream error, decimal. */
  readonly code: string | undefined;
  readonly closed: Fields | undefined;

  constructor(command: string, error: Fields) {
    super(`${command}: ${String(error['message'])}`);
    this.kind = String(error['kind']);
    this.code = error['code'] as string | undefined;
    this.closed = error['closed'] as Fields | undefined;
  }
}

interface Pending {
  readonly command: string;
  readonly resolve: (answer: Fields) => void;
  readonly reject: (error: Error) => void;
}

interface Waiting {
  readonly matches: (event: Fields) => boolean;
  readonly resolve: (event: Fields) => void;
}

/** A running peer. */
export class RustPeer {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #pending = new Map<number, Pending>();
  readonly #events: Fields[] = [];
  #waiting: Waiting[] = [];
  #nextId = 1;
  #isEnding = false;

  /** @throws {Error} when the binary was not built. */
  constructor() {
    if (!existsSync(BINARY)) {
      throw new Error(
        `${BINARY} is missing: build it with "npm run rust:build" (needs cargo; takes minutes)`,
      );
    }
    this.#process = spawn(BINARY, [], { stdio: 'pipe' });
    this.#process.stderr.pipe(process.stderr);
    createInterface({ input: this.#process.stdout }).on('line', (line) => {
      this.#onLine(JSON.parse(line) as Fields);
    });
    this.#process.on('exit', (code) => {
      if (this.#isEnding) return;
      for (const { command, reject } of this.#pending.values()) {
        reject(new Error(`the Rust peer exited with ${code} during ${command}`));
      }
    });
  }

  #onLine(line: Fields): void {
    const { id, ok, error } = line;
    if (id === undefined) {
      const waiting = this.#waiting.find(({ matches }) => matches(line));
      if (waiting === undefined) {
        this.#events.push(line);
      } else {
        this.#waiting = this.#waiting.filter((each) => each !== waiting);
        waiting.resolve(line);
      }
      return;
    }
    const pending = this.#pending.get(id as number);
    this.#pending.delete(id as number);
    if (error === undefined) pending?.resolve((ok ?? {}) as Fields);
    else pending?.reject(new RustPeerError(pending.command, error as Fields));
  }

  /** Runs a command. @throws {RustPeerError} */
  call<T = Fields>(command: string, fields: Fields = {}): Promise<T> {
    const id = this.#nextId++;
    this.#process.stdin.write(`${JSON.stringify({ id, cmd: command, ...fields })}\n`);
    const answer = new Promise<Fields>((resolve, reject) =>
      this.#pending.set(id, { command, resolve, reject }),
    );
    return answer as Promise<T>;
  }

  /** The next event that matches, past ones included; each is given out once. */
  event(matches: (event: Fields) => boolean): Promise<Fields> {
    const index = this.#events.findIndex(matches);
    if (index >= 0) return Promise.resolve(this.#events.splice(index, 1)[0]!);
    return new Promise((resolve) => this.#waiting.push({ matches, resolve }));
  }

  /** The next event of a connection's paths with this type and these fields. */
  async pathEvent(connection: number, type: string, fields: Fields = {}): Promise<Fields> {
    const event = await this.event((each) => {
      if (each['event'] !== 'path' || each['connection'] !== connection) return false;
      const path = each['path'] as Fields;
      return (
        path['type'] === type &&
        Object.entries(fields).every(([key, value]) => JSON.stringify(path[key]) === JSON.stringify(value))
      );
    });
    return event['path'] as Fields;
  }

  /** Binds an endpoint on loopback. */
  async bind(fields: Fields = {}): Promise<RustEndpoint> {
    const bound = await this.call<{ endpoint: number; endpointId: string; sockets: string[] }>('bind', {
      alpns: [ALPN],
      bind: ['127.0.0.1:0'],
      ...fields,
    });
    return new RustEndpoint(this, bound.endpoint, bound.endpointId, bound.sockets[0]!);
  }

  /** Ends the process and waits for it. */
  async stop(): Promise<void> {
    this.#isEnding = true;
    if (this.#process.exitCode !== null) return;
    const exited = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.stdin.end();
    await exited;
  }
}

/** One endpoint of the peer. */
export class RustEndpoint {
  readonly peer: RustPeer;
  readonly handle: number;
  readonly id: string;
  /** `ip:port` of its first socket. */
  readonly socket: string;

  constructor(peer: RustPeer, handle: number, id: string, socket: string) {
    this.peer = peer;
    this.handle = handle;
    this.id = id;
    this.socket = socket;
  }

  call<T = Fields>(command: string, fields: Fields = {}): Promise<T> {
    return this.peer.call<T>(command, { endpoint: this.handle, ...fields });
  }

  /** For our `connect`. */
  get addr(): EndpointAddr {
    return new EndpointAddr(EndpointId.parse(this.id), [{ type: 'ip', addr: parseAddr(this.socket) }]);
  }

  /** Dials one of ours. */
  dial(our: Dialable, fields: Fields = {}, command: 'dial' | 'early' = 'dial'): Promise<RustConnection> {
    return this.#connection(command, {
      remote: our.id.toString(),
      ...(fields['addrs'] === undefined && { addrs: [loopbackOf(our)] }),
      alpn: ALPN,
      ...fields,
    });
  }

  /** Accepts the next attempt. */
  accept(fields: Fields = {}): Promise<RustConnection> {
    return this.#connection('accept', fields);
  }

  async #connection(command: string, fields: Fields): Promise<RustConnection> {
    const answer = await this.call<{ connection: number } & Fields>(command, fields);
    return new RustConnection(this.peer, answer.connection, answer);
  }
}

/** One connection of the peer. */
export class RustConnection {
  readonly peer: RustPeer;
  readonly handle: number;
  /** What the peer knew when it was made: `alpn`, `remote`, `early`. */
  readonly facts: Fields;

  constructor(peer: RustPeer, handle: number, facts: Fields) {
    this.peer = peer;
    this.handle = handle;
    this.facts = facts;
  }

  call<T = Fields>(command: string, fields: Fields = {}): Promise<T> {
    return this.peer.call<T>(command, { connection: this.handle, ...fields });
  }

  /** `openBi`, `openUni`, `acceptBi` or `acceptUni`. */
  async stream(command: 'openBi' | 'openUni' | 'acceptBi' | 'acceptUni'): Promise<RustStream> {
    const { stream, early } = await this.call<{ stream: number; early: boolean | null }>(command);
    return new RustStream(this.peer, stream, early === true);
  }

  /** Echoes streams and datagrams from now on. */
  async serve(): Promise<void> {
    await this.call('echo');
  }

  async pathEvents(): Promise<void> {
    await this.call('watchPaths');
  }

  /** Waits for a path event; {@link pathEvents} first. */
  pathEvent(type: string, fields: Fields = {}): Promise<Fields> {
    return this.peer.pathEvent(this.handle, type, fields);
  }

  async close(code: number, reason: string): Promise<void> {
    await this.call('close', { code, reason });
  }

  /** The reason, as `CloseReason` of the engine names them. */
  async closed(): Promise<Fields> {
    return (await this.call<{ reason: Fields }>('closed')).reason;
  }
}

/** One stream of the peer. */
export class RustStream {
  readonly #peer: RustPeer;
  readonly #handle: number;
  /** It was opened with early data. */
  readonly isEarly: boolean;

  constructor(peer: RustPeer, handle: number, isEarly: boolean) {
    this.#peer = peer;
    this.#handle = handle;
    this.isEarly = isEarly;
  }

  call<T = Fields>(command: string, fields: Fields = {}): Promise<T> {
    return this.#peer.call<T>(command, { stream: this.#handle, ...fields });
  }

  async write(data: string): Promise<void> {
    await this.call('write', { data: Buffer.from(data).toString('base64') });
  }

  async finish(): Promise<void> {
    await this.call('finish');
  }

  async readToEnd(): Promise<string> {
    return text((await this.call<{ data: string }>('readToEnd')).data);
  }

  /** The next bytes; null at the end. */
  async read(): Promise<string | null> {
    const { data } = await this.call<{ data: string | null }>('read');
    return data === null ? null : text(data);
  }
}

function text(base64: string): string {
  return Buffer.from(base64, 'base64').toString();
}

/** What the peer dials: an endpoint of ours, whole or raw. */
export type Dialable = Pick<Endpoint, 'id' | 'boundSockets'>;

/** Binds one of ours on loopback. */
export function bindOurs(options: EndpointOptions = {}): Promise<Endpoint> {
  return Endpoint.bind({ preset: 'minimal', alpns: [ALPN], bind: ['127.0.0.1:0'], ...options });
}

/** `ip:port` of our first IPv4 socket. */
export function loopbackOf(our: Dialable): string {
  return our.boundSockets.find((addr) => addr.ip === '127.0.0.1')!.text;
}
