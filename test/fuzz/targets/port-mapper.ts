/**
 * What a router, or who answers in its place, says to the port mapper: `| form | bytes |`.
 *
 * @module
 */
import { concatBytes, fromHex, fromUtf8, utf8 } from '../../../src/base/bytes.ts';
import { PortMapError } from '../../../src/port-mapper/fault.ts';
import {
  checkDeleteMapping,
  decodeAddMapping,
  decodeExternalIp,
} from '../../../src/port-mapper/igd-control.ts';
import { decodeDescription } from '../../../src/port-mapper/igd-description.ts';
import { toExternalAddr, toLifetimeMs } from '../../../src/port-mapper/lease.ts';
import { decodeNatPmpAddress, decodeNatPmpMap } from '../../../src/port-mapper/nat-pmp.ts';
import { checkPcpAnnounce, decodePcpMap } from '../../../src/port-mapper/pcp.ts';
import { decodeSearchAnswer } from '../../../src/port-mapper/ssdp.ts';
import { parseXml } from '../../../src/port-mapper/xml.ts';
import { must, refused, type Target } from '../target.ts';

const GATEWAY = '192.168.1.1';
const LOCATION = new URL('http://192.168.1.1:5000/rootDesc.xml');
const NONCE = '81700918f1d0fb2d9d4c0abc';
const PCP_REQUEST = {
  clientIp: '192.168.1.20',
  nonce: fromHex(NONCE),
  localPort: 1_234,
  suggested: undefined,
  lifetimeS: 3_600,
};
const MAPPING = { externalPort: 5_678, localIp: '192.168.1.20', localPort: 1_234, lifetimeS: 7_200 };

const FORMS = ['pcp', 'natPmp', 'ssdp', 'description', 'control', 'xml'] as const;
type Form = (typeof FORMS)[number];

function input(form: Form, bytes: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(FORMS.indexOf(form)), bytes);
}

function isAtGateway(url: string): boolean {
  return new URL(url).hostname === GATEWAY;
}

/** Readers of one form; each may refuse what the others take. */
function readers(form: Form, bytes: Uint8Array): readonly (() => void)[] {
  switch (form) {
    case 'pcp':
      return [
        () => checkPcpAnnounce(bytes),
        () => {
          const { externalIp, externalPort, lifetimeS } = decodePcpMap(bytes, PCP_REQUEST);
          toLifetimeMs(lifetimeS);
          must(toExternalAddr(externalIp, externalPort).family === 4, 'an external address that is none');
        },
      ];
    case 'natPmp':
      return [
        () => void toExternalAddr(decodeNatPmpAddress(bytes), 1),
        () => void toLifetimeMs(decodeNatPmpMap(bytes, { ...MAPPING, suggestedPort: 0 }).lifetimeS),
      ];
    case 'ssdp':
      return [() => must(isAtGateway(decodeSearchAnswer(bytes, GATEWAY).href), 'a device elsewhere')];
    case 'description':
      return [
        () => {
          const services = decodeDescription(bytes, LOCATION, GATEWAY);
          must(services.length > 0 && services.length <= 4, 'no services, or too many');
          for (const { controlUrl } of services) must(isAtGateway(controlUrl), 'a service elsewhere');
        },
      ];
    case 'control':
      return [
        () => void decodeExternalIp(200, bytes),
        () => void decodeAddMapping('AddPortMapping', MAPPING, 500, bytes),
        () => {
          const port = decodeAddMapping('AddAnyPortMapping', MAPPING, 200, bytes);
          must(Number.isInteger(port) && port >= 0 && port <= 65_535, 'a port that is none');
        },
        () => checkDeleteMapping(200, bytes),
      ];
    case 'xml':
      return [() => void parseXml(fromUtf8(bytes))];
  }
}

const SOAP = (body: string): Uint8Array =>
  utf8(
    `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>${body}</s:Body></s:Envelope>`,
  );

export const portMapper: Target = {
  name: 'port-mapper',
  decoders: ['pcp', 'nat-pmp', 'ssdp', 'igd-description', 'igd-control', 'xml', 'lease'].map((name) => ({
    file: `src/port-mapper/${name}.ts`,
    except: /^(encode|write|toRequest|escape|choosesPort)/,
  })),
  maxLength: 1_400,
  maxWork: 60_000,
  seeds: () => [
    input(
      'pcp',
      fromHex(
        `0281000000001c2000029bed${'00'.repeat(12)}${NONCE}1100000004d204d2${'00'.repeat(10)}ffff87b4aff6`,
      ),
    ),
    input('pcp', fromHex(`0280000000000000${'00'.repeat(16)}`)),
    input('pcp', fromHex(`0281000200000000${'00'.repeat(16)}${NONCE}1100000004d204d2${'00'.repeat(16)}`)),
    input('natPmp', fromHex('00810000000000ff04d2162e00001c20')),
    input('natPmp', fromHex('00800000000000ffcb007107')),
    input(
      'ssdp',
      utf8(
        `HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nEXT:\r\nLOCATION: ${LOCATION.href}\r\n\r\n`,
      ),
    ),
    input(
      'description',
      utf8(
        '<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><URLBase>http://192.168.1.1/</URLBase><device><deviceList><device><serviceList><service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>/ctl</controlURL></service></serviceList></device></deviceList></device></root>',
      ),
    ),
    input(
      'control',
      SOAP(
        '<u:GetExternalIPAddressResponse><NewExternalIPAddress>203.0.113.7</NewExternalIPAddress></u:GetExternalIPAddressResponse>',
      ),
    ),
    input(
      'control',
      SOAP(
        '<u:AddAnyPortMappingResponse><NewReservedPort>999</NewReservedPort></u:AddAnyPortMappingResponse>',
      ),
    ),
    input(
      'control',
      SOAP('<s:Fault><detail><UPnPError><errorCode>718</errorCode></UPnPError></detail></s:Fault>'),
    ),
    input('xml', utf8('<?xml?><!-- x --><a:b c="d>"><![CDATA[e]]>&lt;&#65;&#x42;<f/></a:b>')),
  ],
  dictionary: ['<', '</', '/>', '<!--', '<![CDATA[', ']]>', '&#', '<!DOCTYPE', 'http://', '\r\n', '@'].map(
    utf8,
  ),
  run: (bytes) => {
    const form = FORMS[(bytes[0] ?? 0) % FORMS.length]!;
    for (const read of readers(form, bytes.subarray(1)))
      refused(read, (error) => error instanceof PortMapError);
  },
};
