/**
 * Small HTTP requests through the browser. Trust and proxies are its own business. Twin of `http.ts`.
 *
 * @module
 */
import type { HttpRequest, HttpResponse } from './platform.ts';

/** Asks a web server. Resolves for every status. @throws the signal's reason; the browser's error; {@link Error} when the answer is too long. */
export async function httpFetch(request: HttpRequest): Promise<HttpResponse> {
  const { url, method = 'GET', body, headers = {}, signal, maxBodyBytes } = request;
  const response = await fetch(url, {
    method,
    headers,
    signal,
    redirect: 'manual',
    cache: 'no-store',
    // A copy: what lies in shared memory is no body.
    ...(body !== undefined && { body: new Uint8Array(body) }),
  });
  const chunks: Uint8Array[] = [];
  let length = 0;
  if (maxBodyBytes === 0) await response.body?.cancel();
  const reader = maxBodyBytes === 0 ? undefined : response.body?.getReader();
  for (let part = await reader?.read(); part?.done === false; part = await reader!.read()) {
    length += part.value.length;
    if (length > maxBodyBytes) {
      await reader!.cancel();
      throw new Error(`the answer is longer than ${maxBodyBytes} bytes`);
    }
    chunks.push(part.value);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return { status: response.status, headers: new Map(response.headers), body: whole };
}
