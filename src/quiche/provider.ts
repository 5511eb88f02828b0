/**
 * The quiche engine for `Endpoint.bind`: loads the native binding when an endpoint wants it, and not before.
 *
 * @module
 */
import { BindError } from '../base/errors.ts';
import type { EngineOptions, EngineProvider, QuicEngine } from '../quic/engine.ts';
import { QuicheEndpoint } from './engine.ts';
import type { Quiche } from './native.ts';

/** What the binding exists for. */
const PLATFORMS = 'linux-x64 (glibc 2.34 or later), darwin-x64, darwin-arm64, win32-x64';

/**
 * quiche 0.18 (Cloudflare's QUIC in Rust) through the native binding of `@matrixai/quic`, for links between iroh-ts endpoints on
 * Node: real iroh refuses its certificates, browsers cannot load it, and it has no multipath and no NAT traversal.
 *
 * Read docs/security.md before an endpoint with it listens on the internet.
 *
 * @returns For the option `engine` of `Endpoint.bind`, which then fails with `BindError.Engine` where the binding does not run.
 */
export function quicheEngine(): EngineProvider {
  return { name: 'quiche', load };
}

async function load(): Promise<(options: EngineOptions) => QuicEngine> {
  let quiche: Quiche;
  try {
    ({ default: quiche } = await import('@matrixai/quic/native/quiche.js'));
  } catch (cause) {
    throw new BindError('BindError.Engine', `quiche runs on ${PLATFORMS} only`, cause);
  }
  return (options) => new QuicheEndpoint(quiche, options);
}
