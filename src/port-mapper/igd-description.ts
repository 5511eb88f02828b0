/**
 * Reads how an Internet Gateway Device describes itself (UPnP Device Architecture 1.1 §2.3): which service maps ports, and where
 * it listens.
 *
 * @module
 */
import { fromUtf8 } from '../base/bytes.ts';
import { PortMapError } from './fault.ts';
import { toGatewayUrl } from './ssdp.ts';
import { childOf, parseXml, type XmlElement } from './xml.ts';

/** Descriptions of real routers have 2 to 20 KB. */
export const MAX_DESCRIPTION_BYTES = 65_536;

/** Services that map ports, best first: IGD v2, IGD v1, and v1 over PPP. */
const SERVICE_TYPES = [
  'urn:schemas-upnp-org:service:WANIPConnection:2',
  'urn:schemas-upnp-org:service:WANIPConnection:1',
  'urn:schemas-upnp-org:service:WANPPPConnection:1',
] as const;
export type IgdServiceType = (typeof SERVICE_TYPES)[number];

/** Routers have one or two of them, and the first that has an address of its own is used. */
const MAX_SERVICES = 4;

/** Where ports are mapped. */
export interface IgdService {
  readonly type: IgdServiceType;
  /** Takes POSTs. At the gateway's own address. */
  readonly controlUrl: string;
}

/** Whether the service chooses a free port by itself (WANIPConnection:2 §2.5.20, `AddAnyPortMapping`). */
export function choosesPort({ type }: IgdService): boolean {
  return type === 'urn:schemas-upnp-org:service:WANIPConnection:2';
}

/**
 * Services that map ports, best first, at least one.
 *
 * @param location - Where the description comes from.
 * @param gateway - IPv4 of the only host that is believed.
 * @throws {PortMapError} `noService` when it has none; `foreign` when all of them are elsewhere.
 */
export function decodeDescription(bytes: Uint8Array, location: URL, gateway: string): IgdService[] {
  if (bytes.length > MAX_DESCRIPTION_BYTES)
    throw new PortMapError('tooLarge', `a description of ${bytes.length} bytes`);
  // The first character may be a byte order mark; the decoder has dropped it.
  const root = parseXml(fromUtf8(bytes));
  if (root.name !== 'root') throw new PortMapError('malformed', 'no description of a device');
  const base = baseOf(root, location);
  const services: IgdService[] = [];
  let fault: unknown;
  for (const [type, element] of listServices(root)) {
    if (services.length === MAX_SERVICES) break;
    try {
      const url = toGatewayUrl(childOf(element, 'controlURL')?.text ?? '', base, gateway);
      services.push({ type, controlUrl: url.href });
    } catch (error) {
      fault ??= error;
    }
  }
  if (services.length > 0)
    return services.sort((a, b) => SERVICE_TYPES.indexOf(a.type) - SERVICE_TYPES.indexOf(b.type));
  throw fault ?? new PortMapError('noService', 'the device maps no ports');
}

/** `URLBase` is deprecated, but used. */
function baseOf(root: XmlElement, location: URL): URL {
  const text = childOf(root, 'URLBase')?.text ?? '';
  return URL.canParse(text) ? new URL(text) : location;
}

/** Of the device and the devices in it. The depth of the document is bounded, and so is this. */
function listServices(element: XmlElement): [IgdServiceType, XmlElement][] {
  return element.children.flatMap((child): [IgdServiceType, XmlElement][] => {
    if (['device', 'deviceList', 'serviceList'].includes(child.name)) return listServices(child);
    if (child.name !== 'service') return [];
    const type = SERVICE_TYPES.find((each) => each === childOf(child, 'serviceType')?.text);
    return type === undefined ? [] : [[type, child]];
  });
}
