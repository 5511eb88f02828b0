/**
 * What is asked of an Internet Gateway Device, and its answers: SOAP 1.1 as UPnP has it (UPnP Device Architecture 1.1 §3.2,
 * WANIPConnection:1 §2.4, WANIPConnection:2 §2.5).
 *
 * @module
 */
import { fromUtf8, utf8 } from '../base/bytes.ts';
import { toAddr } from '../base/socket-addr.ts';
import { PortMapError } from './fault.ts';
import type { IgdService } from './igd-description.ts';
import { childOf, escapeXml, parseXml, type XmlElement } from './xml.ts';

/** What is asked for, s; net-tools `portmapper/src/upnp.rs`. */
export const UPNP_LIFETIME_S = 7_200;
/** Answers are a few lines. */
export const MAX_CONTROL_ANSWER_BYTES = 16_384;
/** What the router shows its owner. */
const DESCRIPTION = 'iroh-portmap';

/** UPnP error codes that are no final no (WANIPConnection:2 §2.5.16.4 and UPnP Device Architecture 1.1 §3.2.2). */
export const IGD_ERROR = {
  invalidAction: 401,
  invalidArgs: 402,
  actionFailed: 501,
  optionalActionNotImplemented: 602,
  conflictInMappingEntry: 718,
  samePortValuesRequired: 724,
  onlyPermanentLeasesSupported: 725,
} as const;

export type IgdAction = 'GetExternalIPAddress' | 'AddPortMapping' | 'AddAnyPortMapping' | 'DeletePortMapping';

/** One POST. */
export interface IgdRequest {
  readonly action: IgdAction;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** A mapping that is asked for. */
export interface IgdMapping {
  readonly externalPort: number;
  readonly localIp: string;
  readonly localPort: number;
  /** s; 0: for ever. */
  readonly lifetimeS: number;
}

function toRequest(
  { type, controlUrl }: IgdService,
  action: IgdAction,
  args: readonly (readonly [name: string, value: string | number])[],
): IgdRequest {
  // In the order of the specification: some routers read no other.
  const inner = args.map(([name, value]) => `<${name}>${escapeXml(String(value))}</${name}>`).join('');
  const body =
    '<?xml version="1.0"?>\r\n' +
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ' +
    's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>' +
    `<u:${action} xmlns:u="${type}">${inner}</u:${action}></s:Body></s:Envelope>\r\n`;
  return {
    action,
    url: controlUrl,
    headers: { 'Content-Type': 'text/xml; charset="utf-8"', SOAPAction: `"${type}#${action}"` },
    body: utf8(body),
  };
}

/** WANIPConnection:1 §2.4.18. */
export function encodeGetExternalIp(service: IgdService): IgdRequest {
  return toRequest(service, 'GetExternalIPAddress', []);
}

/** WANIPConnection:1 §2.4.16; `any`: WANIPConnection:2 §2.5.20, a taken port becomes another one. */
export function encodeAddMapping(service: IgdService, mapping: IgdMapping, any: boolean): IgdRequest {
  return toRequest(service, any ? 'AddAnyPortMapping' : 'AddPortMapping', [
    ['NewRemoteHost', ''],
    ['NewExternalPort', mapping.externalPort],
    ['NewProtocol', 'UDP'],
    ['NewInternalPort', mapping.localPort],
    ['NewInternalClient', mapping.localIp],
    ['NewEnabled', 1],
    ['NewPortMappingDescription', DESCRIPTION],
    ['NewLeaseDuration', mapping.lifetimeS],
  ]);
}

/** WANIPConnection:1 §2.4.17. */
export function encodeDeleteMapping(service: IgdService, externalPort: number): IgdRequest {
  return toRequest(service, 'DeletePortMapping', [
    ['NewRemoteHost', ''],
    ['NewExternalPort', externalPort],
    ['NewProtocol', 'UDP'],
  ]);
}

/**
 * Reads an answer: the element whose children are what was asked for.
 * @throws {PortMapError} `refused` with the UPnP error code, or with the HTTP status when there is none.
 */
function readAnswer(action: IgdAction, status: number, bytes: Uint8Array): XmlElement {
  if (bytes.length > MAX_CONTROL_ANSWER_BYTES)
    throw new PortMapError('tooLarge', `${action}: ${bytes.length} bytes`);
  // Errors of the service come with status 500 and a body; others need not have one that can be read.
  if (status !== 200 && status !== 500)
    throw new PortMapError('refused', `${action}: HTTP ${status}`, status);
  const envelope = parseXml(fromUtf8(bytes));
  const body = childOf(envelope, 'Body');
  const fault = childOf(body, 'Fault');
  if (fault !== undefined) {
    const text = childOf(childOf(childOf(fault, 'detail'), 'UPnPError'), 'errorCode')?.text ?? '';
    const code = /^\d{1,5}$/.test(text) ? Number(text) : status;
    throw new PortMapError('refused', `${action}: error ${code}`, code);
  }
  if (status !== 200) throw new PortMapError('refused', `${action}: HTTP ${status}`, status);
  const answer = childOf(body, `${action}Response`);
  if (envelope.name !== 'Envelope' || answer === undefined)
    throw new PortMapError('unasked', `${action}: another answer`);
  return answer;
}

/** An IPv4 literal. @throws {PortMapError} */
export function decodeExternalIp(status: number, bytes: Uint8Array): string {
  const text = childOf(readAnswer('GetExternalIPAddress', status, bytes), 'NewExternalIPAddress')?.text ?? '';
  // Without an uplink it is empty.
  if (!/^[\d.]{7,15}$/.test(text)) throw new PortMapError('unusable', 'no external address');
  try {
    return toAddr(text, 0).ip;
  } catch {
    throw new PortMapError('malformed', 'an external address that is none');
  }
}

/** Which port is mapped now. @throws {PortMapError} */
export function decodeAddMapping(
  action: IgdAction,
  mapping: IgdMapping,
  status: number,
  bytes: Uint8Array,
): number {
  const answer = readAnswer(action, status, bytes);
  if (action !== 'AddAnyPortMapping') return mapping.externalPort;
  const text = childOf(answer, 'NewReservedPort')?.text ?? '';
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535)
    throw new PortMapError('malformed', 'a reserved port that is none');
  return Number(text);
}

/** @throws {PortMapError} when it was not deleted. */
export function checkDeleteMapping(status: number, bytes: Uint8Array): void {
  readAnswer('DeletePortMapping', status, bytes);
}
