/**
 * The second QUIC engine: `Endpoint.bind({ engine: quicheEngine() })`. Node only, and not wire-compatible with iroh
 * (docs/security.md, docs/compatibility.md).
 *
 * @module
 */
export type { EngineOptions, EngineProvider } from './quic/engine.ts';
export { quicheEngine } from './quiche/provider.ts';
