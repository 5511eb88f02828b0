/**
 * What the options of an endpoint mean. Those that mean nothing are errors, not defaults: not everybody has a compiler that
 * tells.
 *
 * @module
 */
import { keyLogFromEnvironment, qlogFromEnvironment, qlogToFolder } from '#transport/debug-output';
import { utf8 } from './base/bytes.ts';
import { SecretKey } from './crypto/keys.ts';
import type { Alpn, EndpointOptions } from './endpoint.ts';
import type { QlogFactory } from './quic/qlog.ts';
import type { KeyLog } from './tls/session.ts';
import type { Platform } from './transport/platform.ts';

const CHOICES = {
  preset: ['n0', 'minimal'],
  pathPolicy: ['any', 'direct', 'relay'],
} as const satisfies Partial<Record<keyof EndpointOptions, readonly string[]>>;

const LISTS = ['alpns', 'bind', 'externalAddrs', 'transports'] as const satisfies (keyof EndpointOptions)[];

/** Looks at what nobody else looks at. @throws TypeError for another name than there is, or something else than a list. */
export function checkOptions(options: EndpointOptions): void {
  for (const name of ['preset', 'pathPolicy'] as const) {
    const choices: readonly unknown[] = CHOICES[name];
    const value = options[name];
    if (value !== undefined && !choices.includes(value))
      throw new TypeError(`${name}: expected "${choices.join('" or "')}", got ${JSON.stringify(value)}`);
  }
  for (const name of LISTS) {
    const value: unknown = options[name];
    if (value !== undefined && !Array.isArray(value)) throw new TypeError(`${name}: expected an array`);
  }
  const { engine }: { readonly engine?: { readonly load?: unknown } | undefined } = options;
  if (engine !== undefined && typeof engine.load !== 'function')
    throw new TypeError('engine: expected an EngineProvider');
}

/** A new key when none is given. @throws {ParseError} `SecretKey.Length`; TypeError */
export function toSecretKey(secretKey: EndpointOptions['secretKey'], { rng }: Platform): SecretKey {
  if (secretKey === undefined) return SecretKey.generate(rng);
  if (secretKey instanceof Uint8Array) return SecretKey.fromBytes(secretKey);
  // What was given may be a secret all the same.
  if (!(secretKey instanceof SecretKey))
    throw new TypeError('secretKey: expected a SecretKey or 32 bytes; SecretKey.parse reads text');
  return secretKey;
}

/** @throws the system's error when the file cannot be written. */
export function toKeyLog(keylog: EndpointOptions['keylog']): KeyLog | undefined {
  if (keylog === true) return keyLogFromEnvironment();
  return keylog === false ? undefined : keylog;
}

/** @throws the system's error when the folder cannot be made. */
export function toQlogFactory(qlog: EndpointOptions['qlog']): QlogFactory | undefined {
  if (qlog === undefined) return qlogFromEnvironment();
  if (qlog === false) return undefined;
  return typeof qlog === 'string' ? qlogToFolder(qlog) : qlog;
}

/** A copy: `slice` of a Buffer would be a view. */
export function toAlpn(alpn: Alpn): Uint8Array {
  return typeof alpn === 'string' ? utf8(alpn) : new Uint8Array(alpn);
}

/** None, one, or several. */
export function toList<T>(option: T | readonly T[] | undefined): readonly T[] {
  if (option === undefined) return [];
  return Array.isArray(option) ? (option as readonly T[]) : [option as T];
}
