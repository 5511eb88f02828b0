/**
 * Asks the application's hooks, in order, until one of them rejects.
 *
 * @module
 */
import { ConnectError, ConnectingError, ConnectWithOptsError } from '../base/errors.ts';
import type { EndpointAddr } from '../base/endpoint-addr.ts';
import type { Log } from '../transport/log.ts';

/** What a hook says. Nothing at all means `accept`, for hooks that only watch. */
export type HookVerdict =
  | 'accept'
  | 'reject'
  | {
      /** Refuses, and says why to the peer if the handshake is complete. */
      readonly reject: {
        /** Application error code, 0 to 2^53 − 1. */
        readonly code: number;
        /** For people; empty by default. */
        readonly reason?: string;
      };
    }
  | undefined;

/** May refuse dials and connections. A hook that throws refuses, and is reported. */
export interface Hooks<Info> {
  /** Before anything is sent or looked up; for dials only. */
  readonly beforeConnect?: (
    remote: EndpointAddr,
    alpn: Uint8Array,
  ) => HookVerdict | void | PromiseLike<HookVerdict | void>;
  /** After the handshake, for dialled and accepted connections. After 0-RTT, early data has been exchanged by then. */
  readonly afterHandshake?: (info: Info) => HookVerdict | void | PromiseLike<HookVerdict | void>;
}

/** With what a refused connection is closed. */
export interface HookRejection {
  readonly code: number;
  readonly reason: string;
}

/** @returns undefined when all hooks accept. Never rejects. */
export function runBeforeConnect<Info>(
  hooks: readonly Hooks<Info>[],
  remote: EndpointAddr,
  alpn: Uint8Array,
  log: Log,
): Promise<HookRejection | undefined> {
  // Each hook gets its own bytes.
  return runAll(hooks, (hook) => hook.beforeConnect?.(remote, alpn.slice()), 'beforeConnect', log);
}

/** @returns undefined when all hooks accept. Never rejects. */
export function runAfterHandshake<Info>(
  hooks: readonly Hooks<Info>[],
  info: Info,
  log: Log,
): Promise<HookRejection | undefined> {
  return runAll(hooks, (hook) => hook.afterHandshake?.(info), 'afterHandshake', log);
}

async function runAll<Info>(
  hooks: readonly Hooks<Info>[],
  ask: (hook: Hooks<Info>) => unknown,
  name: string,
  log: Log,
): Promise<HookRejection | undefined> {
  for (const hook of hooks) {
    try {
      const rejection = toRejection(await ask(hook));
      if (rejection !== undefined) return rejection;
    } catch (error) {
      log.write('hooks', () => `${name} failed: ${error instanceof Error ? error.message : 'not an error'}`);
      return { code: 0, reason: '' };
    }
  }
  return undefined;
}

/** @throws {TypeError} on what is no verdict: a typing error must not let peers in. */
function toRejection(verdict: unknown): HookRejection | undefined {
  if (verdict === undefined || verdict === 'accept') return undefined;
  if (verdict === 'reject') return { code: 0, reason: '' };
  if (typeof verdict === 'object' && verdict !== null && 'reject' in verdict) {
    const { code, reason = '' } = verdict.reject as { readonly code: number; readonly reason?: string };
    if (Number.isSafeInteger(code) && code >= 0 && typeof reason === 'string') return { code, reason };
  }
  throw new TypeError('not a verdict');
}

/** A dial that a `beforeConnect` hook refused, as `connect` reports it. */
export function rejectedBeforeConnect(): ConnectError {
  const message = 'a hook refused to connect';
  return new ConnectError(
    'ConnectError.LocallyRejected',
    message,
    new ConnectWithOptsError('ConnectWithOptsError.LocallyRejected', message),
  );
}

/** A dialled connection that an `afterHandshake` hook refused, as `connect` reports it. */
export function rejectedAfterHandshake(): ConnectError {
  const message = 'a hook refused the connection';
  return new ConnectError(
    'ConnectError.LocallyRejected',
    message,
    new ConnectingError('ConnectingError.LocallyRejected', message),
  );
}
