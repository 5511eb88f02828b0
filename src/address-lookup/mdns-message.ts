/**
 * What endpoints of a local network say to each other: questions and answers in the form of multicast DNS, as upstream's
 * `swarm-discovery` has them (`src/sender.rs` `make_query`, `make_response`; `src/receiver.rs` `handle_msg`;
 * `iroh-mdns-address-lookup/src/lib.rs`).
 *
 * ```text
 * question    PTR _irohv1._udp.local
 * answer      per port: SRV <id>._irohv1._udp.local → <id>-<port>.local, and TXT <id>._irohv1._udp.local "relay=…" "user-data=…"
 * additional  A, AAAA <id>-<port>.local
 * ```
 *
 * It is not quite RFC 6762 and 6763: answers have no PTR record, and may be kept for no time at all. Browsers of services list
 * nothing of it.
 *
 * @module
 */
import { equalBytes, fromUtf8, utf8 } from '../base/bytes.ts';
import { encodeBase32 } from '../base/encoding.ts';
import { EndpointAddr } from '../base/endpoint-addr.ts';
import type { EndpointId } from '../base/endpoint-id.ts';
import { ParseError } from '../base/parse-error.ts';
import { RelayUrl } from '../base/relay-url.ts';
import { isUnspecified, toAddr, type Addr } from '../base/socket-addr.ts';
import type { TransportAddr } from '../base/transport-addr.ts';
import {
  CLASS_IN,
  decodeDnsMessage,
  decodeTxtStrings,
  EMPTY_MESSAGE,
  encodeDnsMessage,
  encodeTxt,
  FLAG_AUTHORITATIVE,
  FLAG_RESPONSE,
  TYPE_A,
  TYPE_AAAA,
  TYPE_PTR,
  TYPE_SRV,
  TYPE_TXT,
  type DnsMessage,
  type DnsRecord,
} from '../dns/message.ts';
import { labelsOf } from '../dns/name.ts';
import { decodeSrv, encodeSrv } from '../dns/srv.ts';
import { MAX_ADDRS_PER_ANSWER, MAX_USER_DATA_BYTES, type EndpointInfo } from './endpoint-info.ts';
import type { PublishedData } from './service.ts';

/** Upstream `N0_SERVICE_NAME`. */
export const DEFAULT_SERVICE_NAME = 'irohv1';
/** What upstream reads of a datagram: longer ones lose their end, and are lost with it. */
export const MAX_MDNS_DATAGRAM_BYTES = 1_472;
/** Key and value of an attribute together, bytes; upstream `validate_txt_attribute`. */
const MAX_ATTRIBUTE_BYTES = 254;
const LOCAL = 'local';

/** What one node says of itself. */
export interface MdnsPeer {
  /** What it calls itself, in lower case: an endpoint id, or anything else. */
  readonly label: string;
  /** At least one, at most 64. */
  readonly addrs: readonly Addr[];
  /** The first value of each key. */
  readonly attributes: ReadonlyMap<string, string>;
}

/** What a datagram means to nodes of one service: nothing to those of others. */
export type MdnsMessage =
  | { readonly type: 'query' }
  /** Of as many peers as are in it, none included. */
  | { readonly type: 'answer'; readonly peers: readonly MdnsPeer[] };

/** The domain of a service, without a dot at its end. */
export function serviceDomain(serviceName: string): string {
  return `_${serviceName}._udp.${LOCAL}`;
}

/** @param domain - See {@link serviceDomain}. @throws {DnsError} `Name` for one that DNS cannot hold. */
export function encodeMdnsQuery(domain: string): Uint8Array {
  const questions = [{ name: domain, type: TYPE_PTR, class: CLASS_IN }];
  return encodeDnsMessage({ ...EMPTY_MESSAGE, questions });
}

/**
 * The answer of an endpoint; undefined when it has no IP address: nobody reads answers without one. Only its first relay is in
 * it. What does not fit is left out: attributes that are too long, and the last addresses.
 *
 * @throws {DnsError} `Name` for a service name that leaves no room for the id.
 */
export function encodeMdnsAnswer(domain: string, data: PublishedData): Uint8Array | undefined {
  const { id, relays } = data.addr;
  const ips = data.addr.ips.slice(0, MAX_ADDRS_PER_ANSWER);
  const attributes = [
    ...relays.slice(0, 1).map(({ href }) => ['relay', href] as const),
    ...(data.userData === undefined ? [] : [['user-data', data.userData] as const]),
  ];
  const strings = attributes
    .filter(([key, value]) => key.length + utf8(value).length <= MAX_ATTRIBUTE_BYTES)
    .map(([key, value]) => utf8(`${key}=${value}`));
  for (; ips.length > 0; ips.pop()) {
    const bytes = encodeDnsMessage(toMessage(domain, encodeBase32(id.toBytes()), ips, strings));
    if (bytes.length <= MAX_MDNS_DATAGRAM_BYTES) return bytes;
  }
  return undefined;
}

function toMessage(
  domain: string,
  label: string,
  ips: readonly Addr[],
  strings: readonly Uint8Array[],
): DnsMessage {
  const owner = `${label}.${domain}`;
  const targetOf = (port: number): string => `${label}-${port}.${LOCAL}`;
  const ports = [...new Set(ips.map(({ port }) => port))].sort((a, b) => a - b);
  return {
    ...EMPTY_MESSAGE,
    flags: FLAG_RESPONSE | FLAG_AUTHORITATIVE,
    answers: [
      ...ports.map((port) =>
        toRecord(owner, TYPE_SRV, encodeSrv({ priority: 0, weight: 0, port, target: targetOf(port) })),
      ),
      ...(strings.length === 0 ? [] : [toRecord(owner, TYPE_TXT, encodeTxt(strings))]),
    ],
    additionals: ports.flatMap((each) =>
      ips
        .filter(({ port }) => port === each)
        .map(({ family, bytes }) => toRecord(targetOf(each), family === 4 ? TYPE_A : TYPE_AAAA, bytes)),
    ),
  };
}

function toRecord(name: string, type: number, data: Uint8Array): DnsRecord {
  return { name, type, class: CLASS_IN, ttl: 0, data };
}

/** @param bytes - Borrowed; nothing of it is kept. @throws {DnsError} `Malformed` */
export function decodeMdnsMessage(domain: string, bytes: Uint8Array): MdnsMessage {
  const { questions, answers, additionals } = decodeDnsMessage(bytes);
  const service = labelsOf(domain);
  // Whoever asks for the service is heard, whatever else is asked or said.
  const isQuery = questions.some(
    (question) =>
      question.type === TYPE_PTR &&
      question.class === CLASS_IN &&
      endsWith(labelsOf(question.name), service, 0),
  );
  if (isQuery) return { type: 'query' };

  /** Who is behind a target, and at which port. */
  const services = new Map<string, { readonly label: string; readonly port: number }[]>();
  const attributes = new Map<string, Map<string, string>>();
  for (const record of answers) {
    const labels = labelsOf(record.name);
    if (record.class !== CLASS_IN || !endsWith(labels, service, 1)) continue;
    const label = labels[0]!;
    if (record.type === TYPE_SRV) {
      const { port, target } = decodeSrv(bytes, record.data);
      getOrAdd(services, targetKey(labelsOf(target)), () => []).push({ label, port });
    } else if (record.type === TYPE_TXT) {
      addAttributes(
        getOrAdd(attributes, label, () => new Map<string, string>()),
        record.data,
      );
    }
  }

  const addrs = new Map<string, Set<Addr>>();
  for (const record of additionals) {
    const labels = labelsOf(record.name);
    if (record.class !== CLASS_IN || !endsWith(labels, [LOCAL], 1) || !isAddress(record)) continue;
    for (const { label, port } of services.get(targetKey(labels)) ?? []) {
      const known = getOrAdd(addrs, label, () => new Set<Addr>());
      // A copy: the data may be a Buffer's, whose slices are views.
      const addr = toAddr(new Uint8Array(record.data), port);
      // Nobody is there.
      if (known.size < MAX_ADDRS_PER_ANSWER && port !== 0 && !isUnspecified(addr)) known.add(addr);
    }
  }
  const peers = [...addrs]
    .filter(([, { size }]) => size > 0)
    .map(([label, found]) => ({ label, addrs: [...found], attributes: attributes.get(label) ?? new Map() }));
  return { type: 'answer', peers };
}

/** What a peer says, once it is known that its label is an id. */
export function toEndpointInfo(id: EndpointId, { addrs, attributes }: MdnsPeer): EndpointInfo {
  const found: TransportAddr[] = addrs.map((addr) => ({ type: 'ip', addr }));
  const url = toRelayUrl(attributes.get('relay'));
  if (url !== undefined) found.push({ type: 'relay', url });
  const userData = attributes.get('user-data');
  const isText = userData !== undefined && utf8(userData).length <= MAX_USER_DATA_BYTES;
  return { addr: new EndpointAddr(id, found), ...(isText && { userData }) };
}

function toRelayUrl(text: string | undefined): RelayUrl | undefined {
  try {
    return text === undefined ? undefined : RelayUrl.parse(text);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    return undefined;
  }
}

/** A string without `=` says that something is so (RFC 6763 §6.4): none of ours does. What is no UTF-8 is passed over. */
function addAttributes(known: Map<string, string>, data: Uint8Array): void {
  for (const bytes of decodeTxtStrings(data)) {
    const string = fromUtf8(bytes);
    if (!equalBytes(utf8(string), bytes)) continue;
    const end = string.indexOf('=');
    const key = string.slice(0, Math.max(end, 0));
    if (key !== '' && !known.has(key)) known.set(key, string.slice(end + 1));
  }
}

function isAddress({ type, data }: DnsRecord): boolean {
  return (type === TYPE_A && data.length === 4) || (type === TYPE_AAAA && data.length === 16);
}

/** Whether a name is the domain, or `count` labels below it. */
function endsWith(labels: readonly string[], domain: readonly string[], count: number): boolean {
  return labels.length === domain.length + count && domain.every((label, i) => labels[count + i] === label);
}

/** Dots in labels are escaped, so that no two names have one key. */
function targetKey(labels: readonly string[]): string {
  return labels.join('.');
}

function getOrAdd<V>(map: Map<string, V>, key: string, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
