/**
 * The servers that n0 runs for everybody; upstream `iroh/src/address_lookup/pkarr.rs`, `dns.rs` (`N0_DNS_*`).
 *
 * @module
 */

/** Where to publish, and where to ask. */
interface LookupServers {
  /** A server that takes signed packets over HTTP. */
  readonly pkarrUrl: string;
  /** The domain under which it serves them. The dot at its end keeps search domains out. */
  readonly dnsOrigin: string;
}

export const N0_LOOKUP_SERVERS = {
  default: { pkarrUrl: 'https://dns.iroh.link/pkarr', dnsOrigin: 'dns.iroh.link.' },
  /** To try things on. */
  staging: { pkarrUrl: 'https://staging-dns.iroh.link/pkarr', dnsOrigin: 'staging-dns.iroh.link.' },
} as const satisfies Record<string, LookupServers>;
