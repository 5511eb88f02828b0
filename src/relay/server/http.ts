/**
 * What a relay says over plain HTTP, and which upgrades it takes (`iroh-relay/src/server/http_server.rs`).
 *
 * @module
 */
import { chooseRelayProtocol, type RelayProtocol } from '../frames.ts';

/** Where WebSockets are opened. */
export const RELAY_PATH = '/relay';
/** Where latency is measured. */
export const PING_PATH = '/ping';
/** Where clients find out whether a captive portal answers in our stead: plain HTTP, and they ask on port 80. */
export const GENERATE_204_PATH = '/generate_204';
/** What a client wants to see again. */
export const CHALLENGE_HEADER = 'x-iroh-challenge';

/** Which requests a listener answers. */
export type HttpSurface =
  /** The only listener, without TLS: everything. */
  | 'all'
  /** HTTPS: everything but {@link GENERATE_204_PATH}. */
  | 'main'
  /** HTTP beside HTTPS: {@link GENERATE_204_PATH} only. */
  | 'captivePortal';

/** A request without its body. */
export interface HttpQuestion {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** The first value of a header, by its name in lower case. */
  header(name: string): string | undefined;
}

/** A response. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** On everything that the main listener says, so also on 101. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'Strict-Transport-Security': 'max-age=63072000; includeSubDomains',
  'Content-Security-Policy':
    "default-src 'none'; frame-ancestors 'none'; form-action 'none'; base-uri 'self'; block-all-mixed-content; plugin-types 'none'",
};

const HOME_PAGE = `<!DOCTYPE html>
<html lang="en">
<title>Relay</title>
<h1>Relay</h1>
<p>This is a relay server for iroh: it passes encrypted datagrams between endpoints that cannot reach each other directly.</p>
</html>
`;

/** Answers a request that is no upgrade. @param version - Of this software. */
export function answerHttp(question: HttpQuestion, surface: HttpSurface, version: string): HttpAnswer {
  const { method, path } = question;
  const isRead = method === 'GET' || method === 'HEAD';
  if (isRead && path === GENERATE_204_PATH && surface !== 'main') return answerChallenge(question);
  if (surface === 'captivePortal') return { status: 404, headers: {}, body: 'Not Found' };
  const answer = (status: number, body: string, headers: Record<string, string> = {}): HttpAnswer => ({
    status,
    headers: { ...SECURITY_HEADERS, ...headers },
    body,
  });
  if (isRead) {
    switch (path) {
      case '/':
      case '/index.html':
        return answer(200, HOME_PAGE, { 'Content-Type': 'text/html; charset=utf-8' });
      case PING_PATH:
        return answer(200, '', { 'Access-Control-Allow-Origin': '*' });
      case '/healthz':
        return answer(200, JSON.stringify({ status: 'ok', version, git_hash: 'unknown' }), {
          'Content-Type': 'application/json',
        });
      case '/robots.txt':
        return answer(200, 'User-agent: *\nDisallow: /\n', { 'Content-Type': 'text/plain' });
      case RELAY_PATH:
        return answer(400, 'only upgrades are taken here');
      default:
    }
  }
  return answer(404, 'Not Found');
}

function answerChallenge(question: HttpQuestion): HttpAnswer {
  const challenge = question.header(CHALLENGE_HEADER);
  const isFit = challenge !== undefined && /^[A-Za-z0-9._-]{1,63}$/.test(challenge);
  return { status: 204, headers: isFit ? { 'X-Iroh-Response': `response ${challenge}` } : {}, body: '' };
}

/** Whether an upgrade is taken. */
export type UpgradeVerdict = { readonly protocol: RelayProtocol } | HttpAnswer;

/** Judges a request to switch protocols. */
export function judgeUpgrade(question: HttpQuestion, surface: HttpSurface): UpgradeVerdict {
  const refuse = (body: string, headers: Record<string, string> = {}, status = 400): HttpAnswer => ({
    status,
    headers: { ...SECURITY_HEADERS, ...headers },
    body,
  });
  if (surface === 'captivePortal' || question.path !== RELAY_PATH) return refuse('Not Found', {}, 404);
  if (question.method !== 'GET') return refuse('not a GET');
  // Byte for byte, as upstream has it.
  if (question.header('upgrade') !== 'websocket') return refuse('the upgrade is to something else');
  if (question.header('sec-websocket-key') === undefined) return refuse('no sec-websocket-key');
  if (question.header('sec-websocket-version') !== '13')
    return refuse('unsupported version of the protocol', { 'sec-websocket-version': '13' });
  const offered = question.header('sec-websocket-protocol');
  if (offered === undefined) return refuse('no sec-websocket-protocol');
  const protocol = chooseRelayProtocol(offered);
  return protocol === undefined ? refuse('no relay protocol that is known here') : { protocol };
}
