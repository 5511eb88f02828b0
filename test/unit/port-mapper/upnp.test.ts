import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromUtf8, utf8 } from '../../../src/base/bytes.ts';
import {
  checkDeleteMapping,
  decodeAddMapping,
  decodeExternalIp,
  encodeAddMapping,
  encodeDeleteMapping,
  encodeGetExternalIp,
} from '../../../src/port-mapper/igd-control.ts';
import {
  choosesPort,
  decodeDescription,
  MAX_DESCRIPTION_BYTES,
  type IgdService,
} from '../../../src/port-mapper/igd-description.ts';
import { decodeSearchAnswer, encodeSearch, SEARCH_TARGETS } from '../../../src/port-mapper/ssdp.ts';
import { parseXml } from '../../../src/port-mapper/xml.ts';
import { PortMapError } from '../../../src/port-mapper/fault.ts';
import { faultOf } from '../../support/port-map-faults.ts';

const GATEWAY = '192.168.1.1';
const LOCATION = new URL('http://192.168.1.1:5000/rootDesc.xml');

describe('XML', () => {
  test('elements, text, CDATA, entities; comments, instructions and attributes are passed over', () => {
    const text =
      '\uFEFF<?xml version="1.0"?><!-- <x> -->\n<a:root b="1>2" c=\'"\'> x &lt;&#65;&#x42;&amp;&unknown; <b/><c>  </c><![CDATA[<&lt;]]></a:root >\n';
    expect(parseXml(fromUtf8(utf8(text)))).toEqual({
      name: 'root',
      text: 'x <AB&&unknown; <&lt;',
      children: [
        { name: 'b', text: '', children: [] },
        { name: 'c', text: '', children: [] },
      ],
    });
  });

  test.each([
    ['', 'malformed'],
    ['text', 'malformed'],
    ['<a>', 'malformed'],
    ['<a', 'malformed'],
    ['<a b="', 'malformed'],
    ['< a></a>', 'malformed'],
    ['<a></b>', 'malformed'],
    ['<a></a></a>', 'malformed'],
    ['<a/><b/>', 'malformed'],
    ['<a/>text', 'malformed'],
    ['<!-- ', 'malformed'],
    ['<a><![CDATA[</a>', 'malformed'],
    ['<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 'malformed'],
    [`${'<a>'.repeat(40)}${'</a>'.repeat(40)}`, 'tooLarge'],
    [`<a>${'<b/>'.repeat(5_000)}</a>`, 'tooLarge'],
  ] as const)('%j: %s', (text, fault) => expect(faultOf(() => parseXml(text))).toBe(fault));

  test('takes time that is linear in the length', () => {
    const startedAt = performance.now();
    for (const piece of ['<', '<a ', '<!--', '&', '<![CDATA[', '</', '<a b="', '&#', '<a>'])
      expect(faultOf(() => parseXml(piece.repeat(65_536 / piece.length)))).not.toBe('another error');
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });

  test('any text is read or refused with a reason', () => {
    const pieces = fc.constantFrom(
      '<a>',
      '</a>',
      '<a/>',
      '&amp;',
      '<!--',
      '-->',
      '<![CDATA[',
      ']]>',
      'x',
      '"',
      '<?',
      '?>',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(pieces).map((each) => each.join('')),
        ),
        (text) => expect(faultOf(() => parseXml(text))).not.toBe('another error'),
      ),
    );
  });
});

describe('SSDP', () => {
  const answer = (headers: Record<string, string>, status = 'HTTP/1.1 200 OK'): Uint8Array =>
    utf8(
      [status, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`), '', ''].join('\r\n'),
    );
  const GOOD = { LOCATION: LOCATION.href, ST: SEARCH_TARGETS[1] };

  test('the search, UPnP Device Architecture 1.1 §1.3.2', () => {
    expect(fromUtf8(encodeSearch(SEARCH_TARGETS[0]))).toBe(
      'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\n' +
        'ST: urn:schemas-upnp-org:device:InternetGatewayDevice:2\r\n\r\n',
    );
  });

  test('an answer, with headers in any case', () => {
    const sent = answer({
      'cache-control': 'max-age=120',
      Location: LOCATION.href,
      st: SEARCH_TARGETS[0],
      ext: '',
    });
    expect(decodeSearchAnswer(sent, GATEWAY).href).toBe(LOCATION.href);
  });

  test.each([
    ['garbage', new Uint8Array(100).fill(0xff), 'malformed'],
    ['an announcement', answer(GOOD, 'NOTIFY * HTTP/1.1'), 'malformed'],
    ['an error', answer(GOOD, 'HTTP/1.1 404 no'), 'refused'],
    ['a printer', answer({ ...GOOD, ST: 'urn:schemas-upnp-org:device:Printer:1' }), 'unasked'],
    ['no location', answer({ ST: SEARCH_TARGETS[1] }), 'malformed'],
    ['a location that is none', answer({ ...GOOD, LOCATION: 'nowhere' }), 'malformed'],
    ['a location elsewhere', answer({ ...GOOD, LOCATION: 'http://192.0.2.1/x' }), 'foreign'],
    ['a location with a name', answer({ ...GOOD, LOCATION: 'http://router.example/x' }), 'foreign'],
    ['a file', answer({ ...GOOD, LOCATION: 'file:///etc/passwd' }), 'foreign'],
    ['a password', answer({ ...GOOD, LOCATION: 'http://a:b@192.168.1.1/' }), 'foreign'],
    ['a long location', answer({ ...GOOD, LOCATION: `${LOCATION.href}${'x'.repeat(1_100)}` }), 'malformed'],
    ['3 KB', answer({ ...GOOD, SERVER: 'x'.repeat(3_000) }), 'tooLarge'],
  ] as const)('%s: %s', (_name, bytes, fault) =>
    expect(faultOf(() => decodeSearchAnswer(bytes, GATEWAY))).toBe(fault),
  );

  test('any bytes are read or refused with a reason', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.string(), (bytes, location) => {
        expect(faultOf(() => decodeSearchAnswer(bytes, GATEWAY))).not.toBe('another error');
        const sent = answer({ ...GOOD, LOCATION: location });
        expect(faultOf(() => decodeSearchAnswer(sent, GATEWAY))).not.toBe('another error');
      }),
    );
  });
});

const WANIP = (version: number, url: string): string =>
  `<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:${version}</serviceType><controlURL>${url}</controlURL></service>`;
const PPP = WANIP(1, '/ppp').replace('WANIP', 'WANPPP');
const description = (services: string, extra = ''): Uint8Array =>
  utf8(
    `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">${extra}<device><serviceList>` +
      '<service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType><controlURL>/l3f</controlURL></service>' +
      '</serviceList><deviceList><device><deviceList><device>' +
      `<serviceList>${services}</serviceList></device></deviceList></device></deviceList></device></root>`,
  );

describe('descriptions', () => {
  const read = (services: string, extra?: string): unknown[] =>
    decodeDescription(description(services, extra), LOCATION, GATEWAY).map(({ type, controlUrl }) => [
      type.split(':').slice(-2).join(':'),
      controlUrl,
    ]);

  test('services that map ports, best first, relative to the description', () => {
    expect(read(`${PPP}${WANIP(1, 'ctl/IPConn')}${WANIP(2, 'http://192.168.1.1:49000/x')}`)).toEqual([
      ['WANIPConnection:2', 'http://192.168.1.1:49000/x'],
      ['WANIPConnection:1', 'http://192.168.1.1:5000/ctl/IPConn'],
      ['WANPPPConnection:1', 'http://192.168.1.1:5000/ppp'],
    ]);
  });

  test('relative to URLBase, where there is one', () => {
    expect(read(WANIP(1, '/ctl'), '<URLBase>http://192.168.1.1:8080/</URLBase>')).toEqual([
      ['WANIPConnection:1', 'http://192.168.1.1:8080/ctl'],
    ]);
  });

  test('a service elsewhere is passed over, and a fault when there is no other', () => {
    const elsewhere = WANIP(2, 'http://192.0.2.1/ctl');
    expect(read(`${elsewhere}${WANIP(1, '/ctl')}`)).toEqual([
      ['WANIPConnection:1', 'http://192.168.1.1:5000/ctl'],
    ]);
    expect(faultOf(() => read(elsewhere))).toBe('foreign');
    expect(faultOf(() => read(WANIP(1, '/ctl'), '<URLBase>http://192.0.2.1/</URLBase>'))).toBe('foreign');
  });

  test('four services are read at most', () => {
    expect(read(WANIP(1, '/a').repeat(100))).toHaveLength(4);
  });

  test.each([
    ['nothing that maps ports', description(''), 'noService'],
    ['another version', description(WANIP(3, '/ctl')), 'noService'],
    ['no URL', description(WANIP(1, '')), 'malformed'],
    ['no root', utf8('<html></html>'), 'malformed'],
    ['garbage', new Uint8Array(100).fill(0xfe), 'malformed'],
    ['too long', new Uint8Array(MAX_DESCRIPTION_BYTES + 1), 'tooLarge'],
  ] as const)('%s: %s', (_name, bytes, fault) =>
    expect(faultOf(() => decodeDescription(bytes, LOCATION, GATEWAY))).toBe(fault),
  );

  test('any change of a byte is read or refused with a reason', () => {
    const good = description(WANIP(1, '/ctl'));
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), (at, value) => {
        const bytes = good.slice().fill(value, at, at + 1);
        expect(faultOf(() => decodeDescription(bytes, LOCATION, GATEWAY))).not.toBe('another error');
      }),
    );
  });
});

describe('control', () => {
  const v1: IgdService = {
    type: 'urn:schemas-upnp-org:service:WANIPConnection:1',
    controlUrl: 'http://192.168.1.1/c',
  };
  const v2: IgdService = { ...v1, type: 'urn:schemas-upnp-org:service:WANIPConnection:2' };
  const mapping = { externalPort: 5_678, localIp: '192.168.1.20', localPort: 1_234, lifetimeS: 7_200 };
  const soap = (body: string): Uint8Array =>
    utf8(
      `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>${body}</s:Body></s:Envelope>`,
    );
  const fault = (code: string): Uint8Array =>
    soap(
      '<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0">' +
        `<errorCode>${code}</errorCode><errorDescription>no</errorDescription></UPnPError></detail></s:Fault>`,
    );

  test('requests name service, action and arguments, in the order of the specification', () => {
    const { url, headers, body } = encodeAddMapping(v1, mapping, false);
    expect(url).toBe('http://192.168.1.1/c');
    expect(headers['SOAPAction']).toBe('"urn:schemas-upnp-org:service:WANIPConnection:1#AddPortMapping"');
    const action = parseXml(fromUtf8(body)).children[0]!.children[0]!;
    expect(action.name).toBe('AddPortMapping');
    expect(action.children.map(({ name, text }) => `${name}=${text}`)).toEqual([
      'NewRemoteHost=',
      'NewExternalPort=5678',
      'NewProtocol=UDP',
      'NewInternalPort=1234',
      'NewInternalClient=192.168.1.20',
      'NewEnabled=1',
      'NewPortMappingDescription=iroh-portmap',
      'NewLeaseDuration=7200',
    ]);
    expect([choosesPort(v1), choosesPort(v2)]).toEqual([false, true]);
    expect(encodeAddMapping(v2, mapping, true).action).toBe('AddAnyPortMapping');
    expect(fromUtf8(encodeDeleteMapping(v1, 5_678).body)).toContain(
      '<NewRemoteHost></NewRemoteHost><NewExternalPort>5678</NewExternalPort><NewProtocol>UDP</NewProtocol>',
    );
    expect(fromUtf8(encodeGetExternalIp(v1).body)).toContain('<u:GetExternalIPAddress xmlns:u="urn:');
  });

  test('answers', () => {
    const ip = soap(
      '<u:GetExternalIPAddressResponse><NewExternalIPAddress> 203.0.113.7 </NewExternalIPAddress></u:GetExternalIPAddressResponse>',
    );
    expect(decodeExternalIp(200, ip)).toBe('203.0.113.7');
    expect(decodeAddMapping('AddPortMapping', mapping, 200, soap('<u:AddPortMappingResponse/>'))).toBe(5_678);
    const any = soap(
      '<u:AddAnyPortMappingResponse><NewReservedPort>999</NewReservedPort></u:AddAnyPortMappingResponse>',
    );
    expect(decodeAddMapping('AddAnyPortMapping', mapping, 200, any)).toBe(999);
    expect(() => checkDeleteMapping(200, soap('<u:DeletePortMappingResponse/>'))).not.toThrow();
  });

  test('an error of the service has its code', () => {
    for (const [status, code, expected] of [
      [500, '718', 718],
      [200, '725', 725],
      [500, 'x', 500],
    ] as const) {
      let error: unknown;
      try {
        decodeAddMapping('AddPortMapping', mapping, status, fault(code));
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(PortMapError);
      expect(error).toMatchObject({ fault: 'refused', routerCode: expected });
    }
  });

  test.each([
    ['another status', () => decodeExternalIp(404, new Uint8Array(0)), 'refused'],
    ['a redirect', () => decodeExternalIp(302, new Uint8Array(0)), 'refused'],
    ['an error that says nothing', () => decodeExternalIp(500, soap('')), 'refused'],
    ['garbage', () => decodeExternalIp(200, utf8('no XML')), 'malformed'],
    ['another answer', () => decodeExternalIp(200, soap('<u:AddPortMappingResponse/>')), 'unasked'],
    ['no address', () => decodeExternalIp(200, soap('<u:GetExternalIPAddressResponse/>')), 'unusable'],
    [
      'an address that is none',
      () =>
        decodeExternalIp(
          200,
          soap(
            '<u:GetExternalIPAddressResponse><NewExternalIPAddress>1.2.3.456</NewExternalIPAddress></u:GetExternalIPAddressResponse>',
          ),
        ),
      'malformed',
    ],
    [
      'a port that is none',
      () =>
        decodeAddMapping(
          'AddAnyPortMapping',
          mapping,
          200,
          soap(
            '<u:AddAnyPortMappingResponse><NewReservedPort>65536</NewReservedPort></u:AddAnyPortMappingResponse>',
          ),
        ),
      'malformed',
    ],
    ['too long', () => decodeExternalIp(200, new Uint8Array(20_000)), 'tooLarge'],
  ] as const)('%s: %s', (_name, read, expected) => expect(faultOf(read)).toBe(expected));
});
