/**
 * The lookup services of `preset: 'n0'` (upstream `iroh/src/endpoint/presets.rs`).
 *
 * @module
 */
import { N0_LOOKUP_SERVERS } from '../address-lookup/n0.ts';
import type { Platform } from '../transport/platform.ts';
import { DnsLookup } from './dns-lookup.ts';
import type { LookupFactory } from './lookup-host.ts';
import { PkarrPublisher } from './pkarr-publisher.ts';
import { PkarrResolver } from './pkarr-resolver.ts';

/** Publishing and asking over HTTP, and asking the DNS where that is possible. */
export function n0Lookups(
  which: keyof typeof N0_LOOKUP_SERVERS,
  { resolveTxt }: Platform,
): readonly LookupFactory[] {
  const { pkarrUrl: url, dnsOrigin: origin } = N0_LOOKUP_SERVERS[which];
  const overHttp: LookupFactory[] = [
    (endpoint) => new PkarrPublisher({ ...endpoint, url }),
    (endpoint) => new PkarrResolver({ ...endpoint, url }),
  ];
  return resolveTxt === undefined
    ? overHttp
    : [...overHttp, (endpoint) => new DnsLookup({ ...endpoint, origin })];
}
