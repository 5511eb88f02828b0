/**
 * The configuration file of `iroh-ts dns`: the TOML of upstream's lookup server (`iroh-dns-server/src/config.rs`), with errors
 * that name the line.
 *
 * @module
 */
import { dirname, join, resolve } from 'node:path';
import * as v from 'valibot';
import type { DnsServerOptions } from '../dns-server.ts';
import { filled, lineOf, readToml, socketAddr } from './toml-config.ts';
import { UserError } from './user-error.ts';

const DEFAULT_HTTP_PORT = 8_080;
const DEFAULT_HTTPS_PORT = 8_443;
const DEFAULT_DNS_PORT = 5_300;
const DEFAULT_METRICS_ADDR = '127.0.0.1:9117';
const DEFAULT_IP = '0.0.0.0';
const DATABASE = 'signed-packets.sqlite';

const port = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535));
const ip = v.union([v.pipe(v.string(), v.ipv4()), v.pipe(v.string(), v.ipv6())], 'expected an IP address');
const hostPort = v.pipe(
  v.string(),
  v.regex(/^[^\s:]+:\d{1,5}$/, 'expected "host:port", with a name or IPv4'),
);
/** `humantime`: numbers with units. */
const duration = v.pipe(
  v.string(),
  v.check((text) => toMs(text) !== undefined, 'expected a duration such as "7d" or "12h 30m"'),
);

const Config = v.strictObject({
  http: v.optional(
    v.strictObject({
      port: v.optional(port, DEFAULT_HTTP_PORT),
      bind_addr: v.optional(ip),
      rate_limit: v.optional(
        v.pipe(
          v.picklist(['disabled', 'simple', 'smart']),
          v.check((mode) => mode !== 'smart', 'smart is not built in: upstream acts as with "simple" then'),
        ),
        'simple',
      ),
    }),
    {},
  ),
  https: v.optional(
    v.strictObject({
      port: v.optional(port, DEFAULT_HTTPS_PORT),
      bind_addr: v.optional(ip),
      domains: v.pipe(v.array(filled), v.minLength(1, 'must name a domain')),
      cert_mode: v.pipe(
        v.picklist(['manual', 'lets_encrypt', 'self_signed']),
        v.check(
          (mode) => mode === 'manual',
          'only "manual" is built in: let certbot or the like write files, and send SIGHUP',
        ),
      ),
      /** Not known upstream: where else the certificate is. */
      cert_path: v.optional(filled),
      key_path: v.optional(filled),
      letsencrypt_contact: v.optional(v.string()),
      letsencrypt_prod: v.optional(v.boolean()),
    }),
  ),
  dns: v.optional(
    v.strictObject({
      port: v.optional(port, DEFAULT_DNS_PORT),
      bind_addr: v.optional(ip),
      origins: v.optional(v.pipe(v.array(filled), v.minLength(1, 'must name an origin'))),
      default_soa: v.optional(
        v.pipe(
          v.string(),
          v.regex(
            /^\s*\S+\s+\S+(\s+\d{1,10}){5}\s*$/,
            'expected "primary mailbox serial refresh retry expire minimum"',
          ),
        ),
      ),
      /** Of no use, here as upstream: each record has its own. */
      default_ttl: v.optional(v.number()),
      rr_a: v.optional(v.pipe(v.string(), v.ipv4('expected an IPv4 address'))),
      rr_aaaa: v.optional(v.pipe(v.string(), v.ipv6('expected an IPv6 address'))),
      rr_ns: v.optional(filled),
    }),
    {},
  ),
  metrics: v.optional(
    v.strictObject({ disabled: v.optional(v.boolean(), false), bind_addr: v.optional(socketAddr) }),
    {},
  ),
  mainline: v.optional(
    v.strictObject({
      enabled: v.boolean(),
      bootstrap: v.optional(v.array(hostPort)),
      /** Not known upstream: what is put is brought to the DHT as well. */
      publish: v.optional(v.boolean(), false),
    }),
  ),
  zone_store: v.optional(
    v.strictObject({
      eviction: v.optional(duration),
      /** These are as they are here. */
      eviction_interval: v.optional(duration),
      max_batch_size: v.optional(v.number()),
      max_batch_time: v.optional(duration),
    }),
  ),
  data_dir: v.optional(filled),
});

/** Where values come from beside the file. */
export interface DnsConfigSource {
  /** For messages, and what relative paths are relative to. */
  readonly path: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly os: NodeJS.Platform;
}

/** Reads a configuration. @throws {UserError} that names the line. */
export function parseDnsConfig(toml: string, source: DnsConfigSource): DnsServerOptions {
  const config = readToml(Config, toml, source.path);
  const { http, https, dns, metrics, mainline, zone_store: store } = config;
  const folder = dataFolder(config.data_dir, source);
  const near = (path: string): string => resolve(dirname(source.path), path);
  if (https !== undefined && (https.cert_path === undefined) !== (https.key_path === undefined))
    throw new UserError(
      `${source.path}:${lineOf(toml, ['https'])}: https: cert_path and key_path belong together`,
    );
  const [domain] = https?.domains ?? [];
  return {
    bind: at(http.bind_addr, http.port),
    ...(https !== undefined && {
      tls: {
        bind: at(https.bind_addr ?? http.bind_addr, https.port),
        certFile: near(https.cert_path ?? join(folder, 'cert_cache', `${domain}.crt`)),
        keyFile: near(https.key_path ?? join(folder, 'cert_cache', `${domain}.key`)),
      },
      hostname: domain,
    }),
    dnsBind: at(dns.bind_addr, dns.port),
    ...(dns.origins !== undefined && { origins: dns.origins }),
    ...(dns.default_soa !== undefined && { soa: dns.default_soa }),
    ...(dns.rr_ns !== undefined && { ns: [dns.rr_ns] }),
    ...(dns.rr_a !== undefined && { a: dns.rr_a }),
    ...(dns.rr_aaaa !== undefined && { aaaa: dns.rr_aaaa }),
    store: { file: join(folder, DATABASE) },
    ...(http.rate_limit === 'disabled' && { putRateLimit: false }),
    ...(store?.eviction !== undefined && { keepMs: toMs(store.eviction) }),
    ...(mainline?.enabled === true && {
      // None: the default ones, as upstream.
      mainline: {
        ...(mainline.bootstrap !== undefined &&
          mainline.bootstrap.length > 0 && { bootstrap: mainline.bootstrap }),
        publish: mainline.publish,
      },
    }),
    ...(!metrics.disabled && { metrics: { bind: metrics.bind_addr ?? DEFAULT_METRICS_ADDR } }),
  };
}

function at(ip = DEFAULT_IP, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** The variable, then the file, then where this system keeps data of applications. */
function dataFolder(configured: string | undefined, { path, env, home, os }: DnsConfigSource): string {
  const named = env['IROH_DNS_DATA_DIR'];
  if (named !== undefined && named !== '') return resolve(named);
  if (configured !== undefined) return resolve(dirname(path), configured);
  const base =
    os === 'win32'
      ? (env['APPDATA'] ?? join(home, 'AppData', 'Roaming'))
      : os === 'darwin'
        ? join(home, 'Library', 'Application Support')
        : (env['XDG_DATA_HOME'] ?? join(home, '.local', 'share'));
  return join(base, 'iroh-dns');
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
};

/** Undefined when it is no duration. */
function toMs(text: string): number | undefined {
  const parts = text.trim().split(/(?<=[a-z])\s*(?=\d)/);
  let sum = 0;
  for (const part of parts) {
    const [, count, unit] = /^(\d+)\s*(ms|s|m|h|d|w)$/.exec(part) ?? [];
    if (count === undefined) return undefined;
    sum += Number(count) * UNIT_MS[unit!]!;
  }
  return sum;
}
