/**
 * Finds the gateway's UPnP service: the search that is sent, and the answers to it (UPnP Device Architecture 1.1 §1.3.2,
 * §1.3.3).
 *
 * @module
 */
import { fromUtf8, utf8 } from '../base/bytes.ts';
import { PortMapError } from './fault.ts';

/** UPnP Device Architecture 1.1 §1.1.3. */
export const SSDP_MULTICAST_IP = '239.255.255.250';
export const SSDP_PORT = 1_900;

/** Answers have some ten short lines. */
const MAX_ANSWER_BYTES = 2_048;
/** Longer URLs are no addresses in a home. */
const MAX_URL_CHARS = 1_024;

/** What is searched for. A device of version 2 has to answer to both; some answer to one only. */
export const SEARCH_TARGETS = [
  'urn:schemas-upnp-org:device:InternetGatewayDevice:2',
  'urn:schemas-upnp-org:device:InternetGatewayDevice:1',
] as const;

/** A search, to the group or to one host. */
export function encodeSearch(target: string): Uint8Array {
  return utf8(
    [
      'M-SEARCH * HTTP/1.1',
      `HOST: ${SSDP_MULTICAST_IP}:${SSDP_PORT}`,
      'MAN: "ssdp:discover"',
      // Answers come within so many seconds.
      'MX: 1',
      `ST: ${target}`,
      '',
      '',
    ].join('\r\n'),
  );
}

/**
 * Reads an answer to {@link encodeSearch}: where the device describes itself.
 *
 * @param gateway - IPv4 of the only host that is believed.
 * @throws {PortMapError}
 */
export function decodeSearchAnswer(bytes: Uint8Array, gateway: string): URL {
  if (bytes.length > MAX_ANSWER_BYTES) throw new PortMapError('tooLarge', `SSDP: ${bytes.length} bytes`);
  const [status = '', ...lines] = fromUtf8(bytes).split(/\r?\n/);
  if (!/^HTTP\/1\.[01] /.test(status)) throw new PortMapError('malformed', 'SSDP: no HTTP answer');
  const code = Number(status.split(' ')[1]);
  if (code !== 200)
    throw new PortMapError('refused', 'SSDP: not OK', Number.isInteger(code) ? code : undefined);
  const headers = new Map<string, string>();
  for (const line of lines) {
    if (line === '') break;
    const colon = line.indexOf(':');
    if (colon > 0) headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  const target = headers.get('st') ?? '';
  if (!(SEARCH_TARGETS as readonly string[]).includes(target))
    throw new PortMapError('unasked', 'SSDP: another kind of device');
  return toGatewayUrl(headers.get('location') ?? '', undefined, gateway);
}

/**
 * A URL that the gateway gave. What it says of itself it has to say at its own address: who answers in its place could send our
 * requests anywhere.
 *
 * @param base - What a relative one is relative to.
 * @throws {PortMapError} `malformed`; `foreign`.
 */
export function toGatewayUrl(text: string, base: URL | undefined, gateway: string): URL {
  if (text === '' || text.length > MAX_URL_CHARS)
    throw new PortMapError('malformed', 'no URL of a usual length');
  if (!URL.canParse(text, base)) throw new PortMapError('malformed', 'no URL');
  const url = new URL(text, base);
  if (url.protocol !== 'http:' || url.hostname !== gateway || url.username !== '' || url.password !== '')
    throw new PortMapError('foreign', 'a URL that is not at the gateway');
  return url;
}
