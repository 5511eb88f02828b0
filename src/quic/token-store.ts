/**
 * A client's NEW_TOKENs, kept per server name for the next connection (RFC 9000 §8.1.3).
 *
 * @module
 */

/** Names and tokens per name that are kept; noq `TokenMemoryCache` keeps as many. Oldest go first. */
export const MAX_TOKEN_NAMES = 256;
export const MAX_TOKENS_PER_NAME = 2;

/** Tokens are single use: `take` removes. */
export class TokenStore {
  /** The name that got a token last comes last. */
  readonly #byName = new Map<string, Uint8Array[]>();

  put(serverName: string, token: Uint8Array): void {
    const tokens = this.#byName.get(serverName) ?? [];
    this.#byName.delete(serverName);
    tokens.push(token);
    if (tokens.length > MAX_TOKENS_PER_NAME) tokens.shift();
    this.#byName.set(serverName, tokens);
    if (this.#byName.size > MAX_TOKEN_NAMES) {
      for (const oldest of this.#byName.keys()) {
        this.#byName.delete(oldest);
        break;
      }
    }
  }

  /** The newest token for a server. */
  take(serverName: string): Uint8Array | undefined {
    const tokens = this.#byName.get(serverName);
    const token = tokens?.pop();
    if (tokens?.length === 0) this.#byName.delete(serverName);
    return token;
  }
}
