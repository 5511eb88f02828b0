/**
 * Shows actors in Stately's inspector. Its screen is a web site: a browser opens https://stately.ai/inspect and is given the
 * events; there is no offline screen. Needs the package `@statelyai/inspect`, which this library does not install.
 *
 * Do not use its `createInspectorServer` beyond a test machine: it listens on all interfaces and asks nobody who they are.
 *
 * @module
 */
import type { ActorRefLike } from 'xstate';
import type { Inspector } from '../actors/actor-system.ts';
import { toPlain } from './plain.ts';
import { actorName } from './recorder.ts';

/** How Stately's inspector is reached. */
export interface StatelyOptions {
  /**
   * `browser`: this page opens the inspector's window. `webSocket`: events go as JSON to a WebSocket server, e.g. in Node.
   */
  readonly via: 'browser' | 'webSocket';
  /** The inspector's page, or the WebSocket server. Default: Stately's page; `ws://localhost:8080`. */
  readonly url?: string;
}

/** An inspector that is shown elsewhere. */
export interface StatelyInspector {
  /** Goes to `Endpoint.bind({ inspect })`. */
  readonly inspect: Inspector;
  /** Ends it. */
  stop(): void;
}

/**
 * Connects to Stately's inspector. Contexts and events are reduced to plain data, without payloads and secrets, before they
 * leave. Sends over channels are shown as events between actors.
 *
 * @throws {Error} when `@statelyai/inspect` is not installed.
 */
export async function createStatelyInspector({ via, url }: StatelyOptions): Promise<StatelyInspector> {
  const { createBrowserInspector, createWebSocketInspector } = await import('@statelyai/inspect');
  const options = { serialize: withoutPayload };
  const where = url === undefined ? {} : { url };
  const inspector =
    via === 'browser'
      ? createBrowserInspector({ ...options, ...where })
      : createWebSocketInspector({ ...options, ...{ url: 'ws://localhost:8080', ...where } });
  /** The actors that run, by name: channels know names only. */
  const actors = new Map<string, ActorRefLike>();
  return {
    inspect: (event) => {
      if (event.type === 'iroh.channel.send') {
        const source = actors.get(event.from);
        inspector.event(
          actors.get(event.to) ?? event.to,
          { type: `${event.channel}: ${event.event}`, depth: event.depth, dropped: event.dropped },
          { source: source ?? event.from },
        );
        return;
      }
      const name = actorName(event.actorRef);
      if (event.type === '@xstate.actor') actors.set(name, event.actorRef);
      if (event.type === '@xstate.snapshot' && event.snapshot.status !== 'active') actors.delete(name);
      inspector.inspect.next?.(event);
    },
    stop: () => inspector.stop(),
  };
}

/** What the inspector is told, as far as it is looked at here. */
interface Told {
  readonly event?: unknown;
  readonly snapshot?: { readonly status?: string; readonly value?: unknown; readonly context?: unknown };
  readonly definition?: string | undefined;
}

/** Its own sanitizers leave alone what children return, and the context in a machine's definition. */
function withoutPayload<E>(told: E): E {
  const { event, snapshot, definition } = told as Told;
  return {
    ...told,
    ...(event !== undefined && { event: toPlain(event) }),
    ...(snapshot !== undefined && {
      snapshot: {
        status: snapshot.status,
        ...(snapshot.value !== undefined && {
          value: toPlain(snapshot.value),
          context: toPlain(snapshot.context),
        }),
      },
    }),
    ...(definition !== undefined && { definition: withoutContext(definition) }),
  };
}

function withoutContext(definition: string): string {
  const { context: _context, ...rest } = JSON.parse(definition) as Record<string, unknown>;
  return JSON.stringify(rest);
}
