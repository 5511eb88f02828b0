/**
 * The address of a relay server: an absolute URL whose normalised text is its identity (`iroh-base/src/relay_url.rs`).
 *
 * @module
 */
import { ParseError } from './parse-error.ts';

/**
 * A relay URL. Equality, order and map keys are the exact text after URL parsing: credentials, path, query and a trailing
 * dot of the host all count (`https://h/` and `https://h./` are different relays).
 */
export class RelayUrl {
  /** The normalised text. Never assembled by hand. */
  readonly href: string;

  private constructor(href: string) {
    this.href = href;
  }

  /** Parses and normalises any absolute URL, as the URL standard does. @throws {ParseError} `RelayUrl` */
  static parse(text: string | URL): RelayUrl {
    try {
      return new RelayUrl(new URL(text).href);
    } catch (cause) {
      throw new ParseError('ParseError.RelayUrl', 'relay url: not an absolute URL', cause);
    }
  }

  /** A fresh URL object, for its parts. */
  toUrl(): URL {
    return new URL(this.href);
  }

  /** True for the same text. */
  equals(other: RelayUrl): boolean {
    return this.href === other.href;
  }

  /** The normalised text. */
  toString(): string {
    return this.href;
  }

  /** The normalised text. */
  toJSON(): string {
    return this.href;
  }

  /** What `console.log` shows in Node. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `RelayUrl(${this.href})`;
  }
}
