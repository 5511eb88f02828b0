/**
 * The endpoint of a command: its key from a file, from the environment, or new; its relays; and its end, by Ctrl-C too.
 *
 * @module
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import {
  Endpoint,
  EndpointAddr,
  isIrohError,
  ParseError,
  RelayUrl,
  SecretKey,
  type Connection,
  type EndpointOptions,
} from '../index.ts';
import { UserError } from './user-error.ts';

/** Options that say who a command is. */
export interface KeyOptions {
  readonly key?: string;
}

/** Options of all commands that have an endpoint. */
export interface NetworkOptions extends KeyOptions {
  /** URLs; false for none. Absent: n0's relays and lookup for who waits, the relays of the ticket for who dials. */
  readonly relay?: readonly string[] | false;
}

/** How long a dial may take, ms. A peer that is there answers in one round trip. */
const DIAL_TIMEOUT_MS = 10_000;
/** How long a command waits for a relay before it prints a ticket without one, ms; as dumbpipe does. */
const ONLINE_TIMEOUT_MS = 5_000;
/** How long a command that is ending waits for its peers, ms. */
const CLOSE_TIMEOUT_MS = 1_000;

function parseKey(text: string, where: string): SecretKey {
  try {
    return SecretKey.parse(text.trim());
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    throw new UserError(`${where} holds no secret key (64 hex characters, or base32)`, error);
  }
}

function readKey(file: string): SecretKey {
  try {
    return parseKey(readFileSync(file, 'utf8'), file);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  const key = SecretKey.generate();
  // Readable by its owner only: whoever has it is this endpoint. `wx`: never over a file that appeared meanwhile.
  writeFileSync(file, `${Buffer.from(key.toBytes()).toString('hex')}\n`, { mode: 0o600, flag: 'wx' });
  return key;
}

export function secretKeyOf(options: KeyOptions): SecretKey | undefined {
  if (options.key !== undefined) return readKey(options.key);
  const secret = process.env['IROH_SECRET'];
  return secret === undefined ? undefined : parseKey(secret, 'IROH_SECRET');
}

/** Reads the URL of a relay. @throws {UserError} */
export function parseRelay(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return RelayUrl.parse(text).href;
  throw new UserError(`${text} is no URL of a relay; one looks like https://relay.example`);
}

type RelayChoice = Pick<EndpointOptions, 'preset' | 'relay'>;

function chooseRelays({ relay }: NetworkOptions, otherwise: RelayChoice): RelayChoice {
  if (relay === undefined) return otherwise;
  return relay === false ? { preset: 'minimal' } : { preset: 'minimal', relay: relay.map(parseRelay) };
}

/** For who waits for others: without a relay it is found in its own network only. */
export function relaysToWaitAt(options: NetworkOptions): RelayChoice {
  return chooseRelays(options, { preset: 'n0' });
}

/** For who dials: the relays that the other side waits at, and no others. An id alone is looked up where n0 has such. */
export function relaysToDialOver(options: NetworkOptions, ticket: string): RelayChoice {
  const { relays, isEmpty } = parseRemote(ticket);
  if (isEmpty) return chooseRelays(options, { preset: 'n0' });
  return chooseRelays(options, { preset: 'minimal', ...(relays.length > 0 && { relay: relays }) });
}

/** The ticket of an endpoint, once it is at its relay. Without a relay that answers it says so and has what there is. */
export async function ticketOf(endpoint: Endpoint): Promise<string> {
  const isComplete = endpoint.relays.size === 0 || (await isOnline(endpoint));
  if (endpoint.state !== 'open') throw new UserError('stopped while a relay was waited for');
  if (!isComplete) console.error('no relay answers: the ticket has the addresses of this machine only');
  return endpoint.addr.toTicket();
}

async function isOnline(endpoint: Endpoint): Promise<boolean> {
  const giveUp = new AbortController();
  void endpoint.closed.then(() => giveUp.abort());
  // A report that found none is an answer, too.
  const subscription = endpoint.netReport$.subscribe((report) => {
    if (report !== undefined && report.preferredRelay === undefined) giveUp.abort();
  });
  try {
    await endpoint.online({ timeoutMs: ONLINE_TIMEOUT_MS, signal: giveUp.signal });
    return true;
  } catch {
    return false;
  } finally {
    subscription.unsubscribe();
  }
}

/**
 * Binds an endpoint, runs `body`, and closes the endpoint whatever happens. The first Ctrl-C closes it, so that peers
 * learn of it; a second one ends the process at once.
 */
export async function withEndpoint(
  options: KeyOptions,
  more: EndpointOptions,
  body: (endpoint: Endpoint) => Promise<void>,
): Promise<void> {
  const endpoint = await Endpoint.bind({ secretKey: secretKeyOf(options), ...more });
  let stopped: 'SIGINT' | 'SIGTERM' | undefined;
  const stop = (signal: 'SIGINT' | 'SIGTERM'): void => {
    stopped = signal;
    void endpoint.close({ timeoutMs: CLOSE_TIMEOUT_MS });
    // What the command reads from would keep it alive.
    process.stdin.destroy();
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    await body(endpoint);
  } catch (error) {
    // Everything that a closing endpoint breaks is expected to break.
    if (stopped === undefined) throw error;
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
    await endpoint.close({ timeoutMs: CLOSE_TIMEOUT_MS });
    if (stopped !== undefined) process.exitCode = 128 + constants.signals[stopped];
  }
}

/** Reads a ticket or an id. */
export function parseRemote(text: string): EndpointAddr {
  try {
    return EndpointAddr.from(text);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    throw new UserError('this is no ticket; a ticket is the long word that the other side printed', error);
  }
}

/** Dials what a ticket names. Errors are put into words for whoever typed the ticket. */
export async function dialTicket(endpoint: Endpoint, text: string, alpn: string): Promise<Connection> {
  const remote = parseRemote(text);
  const id = remote.id.toString().slice(0, 10);
  try {
    return await endpoint.connect(remote, alpn, { timeoutMs: DIAL_TIMEOUT_MS });
  } catch (error) {
    if (isIrohError(error, 'TimeoutError')) {
      const where = [
        ...remote.ips.map((addr) => addr.text),
        ...remote.relays.map((url) => url.toUrl().host),
      ].join(', ');
      throw new UserError(
        `no answer from ${id} at ${where} in ${DIAL_TIMEOUT_MS / 1_000} s; is it still listening?`,
        error,
      );
    }
    if (isIrohError(error, 'ConnectError.NoAddress.NoResults'))
      throw new UserError(`nobody knows where ${id} is; is it still listening?`, error);
    if (isIrohError(error, 'ConnectError.NoAddress'))
      throw new UserError(
        remote.relays.length > 0
          ? 'this ticket has a relay only, and --no-relay says not to use it'
          : 'this is an id without an address, which is looked up only without --relay and --no-relay',
        error,
      );
    if (isIrohError(error, 'ConnectError.AuthenticationError'))
      throw new UserError(`somebody answered at that address, but it is not ${id}`, error);
    if (isIrohError(error, 'ConnectError'))
      throw new UserError(`${id} cannot be reached: ${error.message}`, error);
    throw error;
  }
}
