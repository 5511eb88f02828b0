/**
 * The remotes of one endpoint, by id (upstream `iroh/src/socket/remote_map.rs`). A remote begins with the first question about
 * a peer or its first connection, and ends by itself when it is idle; questions that reach it while it ends go to its successor.
 *
 * @module
 */
import type { EndpointAddr } from '../base/endpoint-addr.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import type { Addr } from '../base/socket-addr.ts';
import { InboxClosedError, Reply } from '../transport/channel.ts';
import type { ConnectionActor } from './connection-actor.ts';
import type { RemoteInfo } from './remote-info.ts';
import type { RemoteCommand } from './remote-commands.ts';
import { RemoteState, type RemoteShared } from './remote.ts';

/** Commands that have an answer. */
type Question = Extract<RemoteCommand, { readonly reply: unknown }>;

/** All remotes of one endpoint. */
export class RemoteMap {
  readonly #shared: RemoteShared;
  readonly #name: string;
  readonly #remotes = new Map<string, RemoteState>();
  #isStopped = false;

  /** @param name - Who asks, for whoever watches. */
  constructor(shared: RemoteShared, name: string) {
    this.#shared = shared;
    this.#name = name;
  }

  /** Remotes that run. */
  get size(): number {
    return this.#remotes.size;
  }

  /**
   * Waits until an address of the peer is known.
   * @returns the mapped address that stands for all of them: where first flights go.
   * @throws {AddressLookupFailed} when nothing is found; the signal's reason when aborted.
   */
  async resolve({ id, addrs }: EndpointAddr, signal: AbortSignal | undefined): Promise<Addr> {
    const reply = new Reply<void>();
    signal?.throwIfAborted();
    // A reply that is over is not waited for any more: the remote may go idle.
    const abort = (): void => reply.reject(signal!.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      this.#ask(id, { type: 'resolve', addrs, reply }, signal);
      await reply.promise;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
    return this.#shared.mapped.ofEndpoint(id);
  }

  /** Gives a connection whose handshake is complete to the remote of its peer. Resolves once its paths are registered. */
  async addConnection(id: EndpointId, connection: ConnectionActor): Promise<void> {
    const reply = new Reply<void>();
    this.#ask(id, { type: 'addConnection', connection, reply });
    await reply.promise;
  }

  /** What is known of a peer; undefined when nothing is, and when the endpoint ends meanwhile. */
  async info(id: EndpointId): Promise<RemoteInfo | undefined> {
    if (!this.#remotes.has(id.toString())) return undefined;
    const reply = new Reply<RemoteInfo>();
    this.#ask(id, { type: 'remoteInfo', reply });
    try {
      return await reply.promise;
    } catch (error) {
      if (this.#isStopped) return undefined;
      throw error;
    }
  }

  networkChanged(isMajor: boolean): void {
    for (const remote of this.#remotes.values())
      remote.sender(this.#name).send({ type: 'networkChange', isMajor });
  }

  /** Where datagrams to all addresses of a peer go. */
  targetsOf(id: EndpointId): readonly Addr[] {
    return this.#remotes.get(id.toString())?.targets ?? [];
  }

  /** Puts a question in. What finds no room until its remote ends goes to the successor. */
  #ask(id: EndpointId, question: Question, signal?: AbortSignal): void {
    const sent = this.#ensure(id).sender(this.#name).send(question, { signal });
    sent.catch((error: unknown) => {
      try {
        if (!(error instanceof InboxClosedError)) throw error;
        this.#ask(id, question, signal);
      } catch (refusal) {
        question.reply.reject(refusal);
      }
    });
  }

  #ensure(id: EndpointId): RemoteState {
    const key = id.toString();
    const running = this.#remotes.get(key);
    if (running !== undefined) return running;
    if (this.#isStopped) throw new Error('the endpoint is closed');
    const remote: RemoteState = new RemoteState(id, this.#shared, (leftovers) =>
      this.#onEnd(remote, leftovers),
    );
    this.#remotes.set(key, remote);
    return remote;
  }

  #onEnd(remote: RemoteState, leftovers: readonly RemoteCommand[]): void {
    const key = remote.id.toString();
    if (this.#remotes.get(key) === remote) this.#remotes.delete(key);
    for (const command of leftovers) {
      // Facts tell a new remote nothing, and without a question nothing would end it.
      if (!('reply' in command)) continue;
      if (this.#isStopped) command.reply.reject(new Error('the endpoint is closed'));
      else this.#ask(remote.id, command);
    }
  }

  /** Ends all remotes. None begins after this. */
  stop(): void {
    this.#isStopped = true;
    for (const remote of [...this.#remotes.values()]) remote.stop();
  }
}
