/**
 * Asks another server whether somebody may come in.
 *
 * @module
 */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';

/** How long the answer may take, ms; the client itself waits 10 s for all of its handshake. */
const TIMEOUT_MS = 5_000;
/** Longer answers are no. */
const MAX_BODY_BYTES = 64;

/** POSTs without a body; true only for status 200 with the body `true`. Redirects are a no. Never rejects. */
export function postForVerdict(
  url: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<boolean> {
  return new Promise((resolve) => {
    const send = url.startsWith('https:') ? httpsRequest : httpRequest;
    const request = send(url, {
      method: 'POST',
      headers: { ...headers, 'Content-Length': 0 },
      timeout: TIMEOUT_MS,
      signal,
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
    request.on('close', () => resolve(false));
    request.on('response', (response) => {
      let body = '';
      response.setEncoding('latin1');
      response.on('data', (chunk: string) => {
        body += chunk;
        if (body.length > MAX_BODY_BYTES) request.destroy();
      });
      response.on('error', () => resolve(false));
      response.on('end', () => resolve(response.statusCode === 200 && body === 'true'));
    });
    request.end();
  });
}
