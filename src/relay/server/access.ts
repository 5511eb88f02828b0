/**
 * Who may use a relay. Asked once per connection, after the client has proven its id.
 *
 * @module
 */
import { equalBytes, utf8 } from '../../base/bytes.ts';
import type { EndpointId } from '../../base/endpoint-id.ts';

/** A client that has proven its id. */
export interface AccessRequest {
  readonly endpointId: EndpointId;
  /** From `Authorization: Bearer` or `?token=`. */
  readonly token: string | undefined;
  /** Where it comes from, if known. */
  readonly remoteIp: string | undefined;
}

/** What becomes of it. The reason goes to the client; default {@link NOT_AUTHORIZED}. */
export type AccessVerdict = 'allow' | 'deny' | { readonly deny: string };

/** Decides, now or later, by calling `decide` once. Must not throw. */
export type AccessCheck = (request: AccessRequest, decide: (verdict: AccessVerdict) => void) => void;

/** Lets everybody in. */
export const allowEveryone: AccessCheck = (_request, decide) => decide('allow');

/** Lets in only these. */
export function allowOnly(ids: Iterable<EndpointId>): AccessCheck {
  const known = new Set(Array.from(ids, String));
  return ({ endpointId }, decide) => decide(known.has(endpointId.toString()) ? 'allow' : 'deny');
}

/** Lets in all but these. */
export function denyOnly(ids: Iterable<EndpointId>): AccessCheck {
  const known = new Set(Array.from(ids, String));
  return ({ endpointId }, decide) => decide(known.has(endpointId.toString()) ? 'deny' : 'allow');
}

/** Lets in whoever shows one of these tokens. @throws {RangeError} without a token, or with an empty one. */
export function requireToken(tokens: readonly string[]): AccessCheck {
  if (tokens.length === 0 || tokens.includes(''))
    throw new RangeError('access tokens: none, or an empty one');
  const known = tokens.map(utf8);
  return ({ token }, decide) => {
    if (token === undefined) return decide('deny');
    const shown = utf8(token);
    // All are compared, each in a time that does not depend on where it differs.
    let isKnown = false;
    for (const each of known) isKnown = equalBytes(each, shown) || isKnown;
    decide(isKnown ? 'allow' : 'deny');
  };
}

/**
 * The token of an upgrade request: the first `Authorization` header with the scheme Bearer, else the first `token` of the
 * query. @param query - Without the question mark.
 */
export function tokenOf(authorization: string | undefined, query: string): string | undefined {
  if (authorization !== undefined) {
    const match = /^bearer (.*)$/i.exec(authorization);
    if (match !== null) return match[1];
  }
  for (const part of query.split('&')) {
    if (!part.startsWith('token=')) continue;
    try {
      return decodeURIComponent(part.slice('token='.length).replaceAll('+', ' '));
    } catch {
      return undefined;
    }
  }
  return undefined;
}
