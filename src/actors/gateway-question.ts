/**
 * One question to the gateway over UDP: sent twice if need be, from a socket of its own.
 *
 * @module
 */
import type { Millis } from '../base/clock.ts';
import type { Addr } from '../base/socket-addr.ts';
import { toAddr } from '../base/socket-addr.ts';
import { PortMapError } from '../port-mapper/fault.ts';
import type { GatewayRoute } from '../port-mapper/gateway-route.ts';
import type { Platform } from '../transport/platform.ts';

/** A question that was lost is asked once more after so long, ms: RFC 6886 §3.1. A router is one hop away. */
export const RESEND_MS = 250;

/** A question, and what counts as its answer. */
export interface GatewayQuestion<T> {
  readonly platform: Platform;
  readonly route: GatewayRoute;
  /** What is sent, and where to. */
  readonly messages: readonly { readonly to: Addr; readonly data: Uint8Array }[];
  /** Port of the gateway that answers; undefined: any. */
  readonly answeringPort: number | undefined;
  readonly limitMs: Millis;
  /** @throws {PortMapError} when it is no answer. */
  readonly read: (answer: Uint8Array) => T;
  /** Is told of what came and was no answer. */
  readonly onRefused: (error: PortMapError) => void;
}

/**
 * Asks and waits. What is no answer is passed over, for anybody may send here; a clear no ends the wait.
 * @throws {PortMapError} `silent` when nothing came in time; the signal's reason.
 */
export async function askGateway<T>(question: GatewayQuestion<T>, signal: AbortSignal): Promise<T> {
  const { platform, route, messages } = question;
  const { clock } = platform;
  signal.throwIfAborted();
  const socket = await platform.bindUdp!({ ip: route.localIp, port: 0 }).catch((error: unknown) => {
    throw new PortMapError('silent', `no socket for the gateway: ${String(error)}`);
  });
  let release = (): void => undefined;
  try {
    return await new Promise<T>((resolve, reject) => {
      socket.onDatagrams = (batch) => {
        for (const { from, data } of batch) {
          const outcome = readFrom(question, from, data);
          if ('answer' in outcome) return resolve(outcome.answer);
          question.onRefused(outcome.error);
          if (isFinal(outcome.error)) return reject(outcome.error);
        }
      };
      const send = (): void =>
        socket.send(
          messages.map(({ to, data }) => ({ to, data, local: undefined })),
          0,
          messages.length,
        );
      const abort = (): void => reject(signal.reason as Error);
      signal.addEventListener('abort', abort, { once: true });
      const resend = clock.setTimeout(send, RESEND_MS);
      const limit = clock.setTimeout(
        () => reject(new PortMapError('silent', `no answer from ${route.gateway}`)),
        question.limitMs,
      );
      release = () => {
        socket.onDatagrams = undefined;
        signal.removeEventListener('abort', abort);
        clock.clearTimeout(resend);
        clock.clearTimeout(limit);
      };
      if (signal.aborted) abort();
      else send();
    });
  } finally {
    release();
    await socket.close();
  }
}

function readFrom<T>(
  { route, answeringPort, read }: GatewayQuestion<T>,
  from: Addr,
  data: Uint8Array,
): { readonly answer: T } | { readonly error: PortMapError } {
  const expected =
    answeringPort === undefined ? toAddr(route.gateway, from.port) : toAddr(route.gateway, answeringPort);
  if (from !== expected) return { error: new PortMapError('foreign', `an answer from ${from.text}`) };
  try {
    return { answer: read(data) };
  } catch (error) {
    if (error instanceof PortMapError) return { error };
    throw error;
  }
}

function isFinal({ fault }: PortMapError): boolean {
  return fault === 'refused' || fault === 'wrongVersion' || fault === 'unusable';
}
