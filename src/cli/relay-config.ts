/**
 * The configuration file of `iroh-ts relay`: the TOML of upstream's relay server (`iroh-relay/src/main.rs`), with errors
 * that name the line.
 *
 * @module
 */
import { dirname, join } from 'node:path';
import * as v from 'valibot';
import { EndpointId, type RelayAccess, type RelayServerOptions } from '../relay-server.ts';
import { filled, lineOf, readToml, socketAddr, splitAddr } from './toml-config.ts';
import { UserError } from './user-error.ts';

const DEFAULT_HTTP_PORT = 80;
const DEV_HTTP_PORT = 3_340;
const DEFAULT_HTTPS_PORT = 443;
const DEFAULT_METRICS_PORT = 9_090;
const DEFAULT_QUIC_PORT = 7_842;
/** In cert_mode "Reloading" certificate files are read again so often, ms. */
const CERTIFICATE_RELOAD_INTERVAL_MS = 24 * 3_600_000;

const endpointId = v.pipe(
  v.string(),
  v.check((text) => {
    try {
      EndpointId.parse(text);
      return true;
    } catch {
      return false;
    }
  }, 'expected an endpoint id'),
);
const u32 = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(0xffff_ffff));

const Access = v.union(
  [
    v.literal('everyone'),
    v.strictObject({ allowlist: v.array(endpointId) }),
    v.strictObject({ denylist: v.array(endpointId) }),
    v.strictObject({ shared_token: v.pipe(v.array(filled), v.minLength(1, 'must name a token')) }),
    v.strictObject({
      http: v.strictObject({
        url: v.pipe(v.string(), v.url(), v.regex(/^https?:/, 'expected an http(s) URL')),
        bearer_token: v.optional(filled),
      }),
    }),
  ],
  ({ issues }) => issues?.[0]?.message ?? 'expected "everyone", allowlist, denylist, shared_token or http',
);

const Config = v.strictObject({
  enable_relay: v.optional(v.boolean(), true),
  http_bind_addr: v.optional(socketAddr),
  enable_quic_addr_discovery: v.optional(v.boolean(), false),
  enable_metrics: v.optional(v.boolean(), true),
  metrics_bind_addr: v.optional(socketAddr),
  /** Of no use here: ids are not decoded per datagram. */
  key_cache_capacity: v.optional(v.number()),
  access: v.optional(Access, 'everyone'),
  limits: v.optional(
    v.strictObject({
      accept_conn_limit: v.optional(v.pipe(v.number(), v.minValue(1))),
      accept_conn_burst: v.optional(u32),
      client: v.optional(
        v.strictObject({
          rx: v.optional(
            v.pipe(
              v.strictObject({ bytes_per_second: v.optional(u32), max_burst_bytes: v.optional(u32) }),
              v.check(
                ({ bytes_per_second, max_burst_bytes }) =>
                  max_burst_bytes === undefined || bytes_per_second !== undefined,
                'max_burst_bytes needs bytes_per_second',
              ),
              v.check(
                ({ bytes_per_second }) => bytes_per_second === undefined || bytes_per_second >= 10,
                'bytes_per_second below 10 would let nothing through',
              ),
            ),
          ),
        }),
      ),
    }),
  ),
  tls: v.optional(
    v.strictObject({
      https_bind_addr: v.optional(socketAddr),
      quic_bind_addr: v.optional(socketAddr),
      hostname: v.optional(v.union([filled, v.pipe(v.array(filled), v.minLength(1))])),
      cert_mode: v.pipe(
        v.picklist(['Manual', 'Reloading', 'LetsEncrypt']),
        v.check(
          (mode) => mode !== 'LetsEncrypt',
          'LetsEncrypt is not built in: let certbot or the like write files, and use "Reloading"',
        ),
      ),
      cert_dir: v.optional(filled),
      manual_cert_path: v.optional(filled),
      manual_key_path: v.optional(filled),
      prod_tls: v.optional(v.boolean()),
      contact: v.optional(v.string()),
      dangerous_http_only: v.optional(v.boolean(), false),
    }),
  ),
});

/** Where values come from beside the file. */
export interface RelayConfigSource {
  /** For messages, and what relative paths are relative to. */
  readonly path: string;
  readonly isDev: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Reads a configuration. @throws {UserError} that names the line. */
export function parseRelayConfig(toml: string, source: RelayConfigSource): RelayServerOptions {
  const { isDev, env } = source;
  const config = readToml(Config, toml, source.path);
  const { tls, limits } = config;
  const http = splitAddr(config.http_bind_addr ?? `[::]:${isDev ? DEV_HTTP_PORT : DEFAULT_HTTP_PORT}`)!;
  const https = splitAddr(tls?.https_bind_addr ?? `${http.ip}:${DEFAULT_HTTPS_PORT}`)!;
  if (config.enable_quic_addr_discovery && tls === undefined)
    throw new UserError(
      `${source.path}:${lineOf(toml, ['enable_quic_addr_discovery'])}: enable_quic_addr_discovery needs [tls]`,
    );
  const folder = join(dirname(source.path), tls?.cert_dir ?? '.');
  const certificate = {
    certFile: tls?.manual_cert_path ?? join(folder, 'default.crt'),
    keyFile: tls?.manual_key_path ?? join(folder, 'default.key'),
  };
  const rx = limits?.client?.rx;
  return {
    relay: config.enable_relay,
    bind: http.text,
    access: toAccess(config.access, env),
    limits: {
      ...(rx?.bytes_per_second !== undefined && {
        clientRx: { bytesPerSecond: rx.bytes_per_second, maxBurstBytes: rx.max_burst_bytes },
      }),
      ...(limits?.accept_conn_limit !== undefined && {
        acceptsPerSecond: limits.accept_conn_limit,
        acceptBurst: limits.accept_conn_burst,
      }),
    },
    ...(tls !== undefined &&
      !tls.dangerous_http_only &&
      !isDev && { tls: { bind: https.text, ...certificate } }),
    ...(config.enable_quic_addr_discovery && {
      addressDiscovery: {
        bind: tls?.quic_bind_addr ?? `${https.ip}:${DEFAULT_QUIC_PORT}`,
        certificate,
      },
    }),
    ...(tls?.hostname !== undefined && {
      hostname: typeof tls.hostname === 'string' ? tls.hostname : tls.hostname[0]!,
    }),
    ...(tls?.cert_mode === 'Reloading' && { reloadIntervalMs: CERTIFICATE_RELOAD_INTERVAL_MS }),
    ...(config.enable_metrics && {
      metrics: { bind: config.metrics_bind_addr ?? `${http.ip}:${DEFAULT_METRICS_PORT}` },
    }),
  };
}

function toAccess(access: v.InferOutput<typeof Access>, env: RelayConfigSource['env']): RelayAccess {
  if (access === 'everyone') return 'everyone';
  if ('allowlist' in access) return { allow: access.allowlist };
  if ('denylist' in access) return { deny: access.denylist };
  if ('shared_token' in access) {
    const token = env['IROH_RELAY_ACCESS_TOKEN'];
    return { tokens: token === undefined ? access.shared_token : [token] };
  }
  const bearerToken = env['IROH_RELAY_HTTP_BEARER_TOKEN'] ?? access.http.bearer_token;
  return { http: { url: access.http.url, bearerToken } };
}
