/**
 * Where an endpoint is, as TXT records under `_iroh.<its id>`: one `attribute=value` each (upstream `iroh-dns/src/attrs.rs`,
 * `endpoint_info.rs`).
 *
 * Reading is liberal: what is not understood is passed over. Rust iroh is not: an attribute that it does not know spoils the
 * whole set for it, and of a value it reads what comes before the next `=`. So nothing of our own is written here.
 *
 * @module
 */
import { utf8 } from '../base/bytes.ts';
import { EndpointAddr } from '../base/endpoint-addr.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import { parseTransportAddr, formatTransportAddr, type TransportAddr } from '../base/transport-addr.ts';
import { MAX_TXT_STRING_BYTES } from '../dns/message.ts';
import type { PublishedData } from './service.ts';

/** The label of the records; upstream `IROH_TXT_NAME`. */
const IROH_LABEL = '_iroh';
/** Text of the application's own, bytes of UTF-8: with its attribute it just fills a string of a TXT record. */
export const MAX_USER_DATA_BYTES = 245;
/** Nobody has so many; more are made up to keep us busy. */
export const MAX_ADDRS_PER_ANSWER = 64;

/** What is known of an endpoint. */
export interface EndpointInfo {
  readonly addr: EndpointAddr;
  /** What its application says. */
  readonly userData?: string | undefined;
}

/**
 * The name that the records of an endpoint have.
 *
 * @param origin - Domain of the server, with or without dots around it. Without: as in signed packets, where the id is the end
 * of the name.
 */
export function txtNameOf(id: EndpointId, origin?: string): string {
  const name = `${IROH_LABEL}.${id.toZ32()}`;
  const domain = origin?.replace(/^\.+/, '') ?? '';
  return domain === '' ? name : `${name}.${domain}`;
}

/** Attribute by attribute, as upstream writes them: relays, addresses, the application's text. What is too long for a string is left out. */
export function toTxtStrings({ addr, userData }: PublishedData): string[] {
  const strings = [
    ...addr.addrs.flatMap((each) => (each.type === 'relay' ? [`relay=${each.url.href}`] : [])),
    ...addr.addrs.flatMap((each) => (each.type === 'relay' ? [] : [`addr=${toAddrValue(each)}`])),
    ...(userData === undefined ? [] : [`user-data=${userData}`]),
  ];
  return strings.filter((string) => utf8(string).length <= MAX_TXT_STRING_BYTES);
}

/** Reads what {@link toTxtStrings} writes, and what others add to it. Of several texts the first one counts. */
export function fromTxtStrings(id: EndpointId, strings: Iterable<string>): EndpointInfo {
  const addrs: TransportAddr[] = [];
  let userData: string | undefined;
  for (const string of strings) {
    const end = string.indexOf('=');
    const value = string.slice(end + 1);
    switch (string.slice(0, Math.max(end, 0))) {
      case 'relay':
      case 'addr': {
        const addr = toTransportAddr(string.startsWith('relay') ? 'relay' : 'addr', value);
        if (addr !== undefined && addrs.length < MAX_ADDRS_PER_ANSWER) addrs.push(addr);
        break;
      }
      case 'user-data':
        if (utf8(value).length <= MAX_USER_DATA_BYTES) userData ??= value;
    }
  }
  return { addr: new EndpointAddr(id, addrs), ...(userData !== undefined && { userData }) };
}

/** Without the kind that {@link formatTransportAddr} puts in front. */
function toAddrValue(addr: TransportAddr): string {
  return formatTransportAddr(addr).slice(addr.type.length + 1);
}

/** Undefined when it is none. */
function toTransportAddr(attribute: 'relay' | 'addr', value: string): TransportAddr | undefined {
  // A custom address is two hex numbers with `_` between them, which no socket address has.
  const kind = attribute === 'relay' ? 'relay' : value.includes('_') ? 'custom' : 'ip';
  try {
    const addr = parseTransportAddr(`${kind}:${value}`);
    // Nobody can be reached at port 0.
    return addr.type === 'ip' && addr.addr.port === 0 ? undefined : addr;
  } catch {
    return undefined;
  }
}
