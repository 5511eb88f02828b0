/**
 * Whether somebody else answers in the place of a relay: the page of a hotel that wants to be agreed to, say (upstream
 * `iroh/src/net_report/reportgen.rs`, `check_captive_portal`).
 *
 * @module
 */
import type { RelayUrl } from '../base/relay-url.ts';

/** A relay repeats no longer challenge; `iroh-relay/src/server.rs`. */
const MAX_CHALLENGE_CHARS = 63;

/** What a relay is asked. */
export interface PortalQuestion {
  /** Plain HTTP: a portal cannot speak for the relay over TLS. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** What it has to say. */
  readonly expected: string;
}

/**
 * The question to a relay. It is asked on port 80 whatever the port of its URL, as upstream does; a relay without TLS has one
 * port for everything, and is asked there.
 */
export function portalQuestion(relay: RelayUrl): PortalQuestion {
  const { protocol, host, hostname } = relay.toUrl();
  const origin = `http://${protocol === 'http:' ? host : hostname}`;
  // Upstream says the host as it is: a relay does not repeat an IPv6 address or a long name, and is held to be a portal.
  const challenge = `ts_${hostname.replaceAll(/[^\w.-]/g, '_')}`.slice(0, MAX_CHALLENGE_CHARS);
  return {
    url: `${origin}/generate_204`,
    headers: { 'x-iroh-challenge': challenge },
    expected: `response ${challenge}`,
  };
}

/** Whether an answer is somebody else's. @param answer - Names of headers in lower case. */
export function isPortalAnswer(
  { expected }: PortalQuestion,
  { status, headers }: { readonly status: number; readonly headers: ReadonlyMap<string, string> },
): boolean {
  return status !== 204 || headers.get('x-iroh-response') !== expected;
}
