/**
 * A router of a simulated home: opens ports when it is asked by PCP, NAT-PMP or UPnP, as it is told to, and well or badly.
 *
 * @module
 */
import { fromUtf8, Reader, utf8, Writer } from '../../src/base/bytes.ts';
import type { Millis } from '../../src/base/clock.ts';
import { toAddr } from '../../src/base/socket-addr.ts';
import type { HttpRequest, HttpResponse } from '../../src/transport/platform.ts';
import type { SimDatagram, SimHost } from './sim-network.ts';
import type { SimWorld } from './sim-platform.ts';

const GATEWAY_PORT = 5_351;
const SSDP_PORT = 1_900;
const WEB_PORT = 5_000;

/** What is asked of a router. */
export type GatewayProtocol = 'pcp' | 'natPmp' | 'upnp';

/** An open port. */
export interface OpenPort {
  readonly protocol: GatewayProtocol;
  readonly localIp: string;
  readonly localPort: number;
  /** Infinity: for ever. */
  readonly until: Millis;
  /** PCP's proof of whose it is. */
  readonly nonce: string;
}

/** Changes an answer, or swallows it. */
export type Mangle<A> = (answer: A) => A | undefined;

/** The router that a host with a NAT sits behind. */
export class SimGateway {
  readonly services: Set<GatewayProtocol>;
  igdVersion: 1 | 2 = 1;
  /** What it grants at most, s. */
  maxLeaseS = 86_400;
  /** UPnP: knows no leases that end (error 725). */
  isPermanentOnly = false;
  /** Ports that belong to others. */
  readonly taken = new Set<number>();
  /** Says no to everybody who wants a port. */
  isRefusing = false;
  /** How long an answer takes, ms. */
  delayMs: Millis = 2;
  mangleDatagram: Mangle<SimDatagram> | undefined;
  mangleWeb: ((request: HttpRequest, answer: HttpResponse) => Promise<HttpResponse>) | undefined;
  /** What was asked, in order. */
  readonly requests: string[] = [];
  readonly #world: SimWorld;
  readonly #host: SimHost;
  readonly #ports = new Map<number, OpenPort>();
  #nextPort = 50_000;

  constructor(world: SimWorld, host: SimHost, services: readonly GatewayProtocol[]) {
    this.#world = world;
    this.#host = host;
    this.services = new Set(services);
    host.onGatewayDatagram = (datagram) => this.#onDatagram(datagram);
    world.serveWeb(`http://${this.ip}:${WEB_PORT}`, (request) => this.#serve(request));
  }

  get ip(): string {
    return this.#host.gatewayIp!;
  }

  get externalIp(): string {
    return this.#host.nat!.outsideIp;
  }

  /** Ports that are open now, by number. */
  get openPorts(): ReadonlyMap<number, OpenPort> {
    return new Map([...this.#ports].filter(([, { until }]) => until > this.#now));
  }

  get #now(): Millis {
    return this.#world.clock.now();
  }

  /** Forgets everything, as when it is switched off and on. */
  restart(): void {
    this.#ports.clear();
  }

  #open(port: number, entry: OpenPort): void {
    this.#ports.set(port, entry);
    const inside = toAddr(entry.localIp, entry.localPort);
    this.#host.nat!.forwardPort(port, inside, () => {
      const now = this.#ports.get(port);
      return now !== undefined && now.until > this.#now && now.localPort === entry.localPort;
    });
  }

  /** Undefined: others have it. */
  #freePort(wanted: number, localPort: number, isChoosing: boolean): number | undefined {
    const isFree = (port: number): boolean =>
      !this.taken.has(port) && (this.openPorts.get(port)?.localPort ?? localPort) === localPort;
    if (wanted !== 0 && isFree(wanted)) return wanted;
    if (!isChoosing) return undefined;
    while (!isFree(++this.#nextPort));
    return this.#nextPort;
  }

  // --- datagrams ------------------------------------------------------------------------------------------------------------

  #onDatagram({ from, to, data }: SimDatagram): void {
    const source = toAddr(this.ip, to.port);
    for (const answer of this.#answersTo(from.ip, to.port, data)) {
      const sent = { from: source, to: from, data: answer };
      const mangled = this.mangleDatagram === undefined ? sent : this.mangleDatagram(sent);
      if (mangled === undefined) continue;
      this.#world.clock.setTimeout(() => this.#host.receiveLocally(mangled), this.delayMs);
    }
  }

  #answersTo(ip: string, port: number, data: Uint8Array): Uint8Array[] {
    if (port === SSDP_PORT) return this.services.has('upnp') ? this.#answerSearch(fromUtf8(data)) : [];
    if (port !== GATEWAY_PORT) return [];
    const hasPcp = this.services.has('pcp');
    if (!hasPcp && !this.services.has('natPmp')) return [];
    const isPcp = data[0] === 2;
    // RFC 6887 §9: whoever knows one version only says so in it.
    if (isPcp && !hasPcp) return [new Uint8Array([0, 0x80 | data[1]!, 0, 1, 0, 0, 0, 0])];
    if (!isPcp && !this.services.has('natPmp')) {
      const answer = new Uint8Array(24);
      answer.set([2, 0x80 | data[1]!, 0, 1]);
      return [answer];
    }
    return [isPcp ? this.#answerPcp(ip, new Reader(data)) : this.#answerNatPmp(ip, new Reader(data))];
  }

  #answerPcp(ip: string, request: Reader): Uint8Array {
    request.u8();
    const opcode = request.u8();
    request.u16();
    const lifetimeS = request.u32();
    const clientIp = toAddr(request.take(16), 0).ip;
    const out = new Writer();
    const head = (result: number, grantedS: number): void => {
      out.put(new Uint8Array([2, 0x80 | opcode, 0, result]));
      out.u32(grantedS);
      out.u32(Math.floor(this.#now / 1_000));
      out.zeros(12);
    };
    if (opcode === 0) {
      this.requests.push('pcp announce');
      head(clientIp === ip ? 0 : 12, 0);
      return out.copy();
    }
    const data = request.take(36);
    const fields = new Reader(data);
    const nonce = fields.take(12).join('.');
    fields.u32();
    const localPort = fields.u16();
    const wanted = fields.u16();
    this.requests.push(`pcp ${lifetimeS === 0 ? 'delete' : 'map'} ${localPort}`);
    const entries = [...this.openPorts].filter(([, each]) => each.localPort === localPort);
    const foreign = entries.some(([, each]) => each.nonce !== nonce);
    if (this.isRefusing || foreign) {
      head(foreign ? 2 : 8, 30);
      out.put(data);
      return out.copy();
    }
    let port = 0;
    const grantedS = Math.min(lifetimeS, this.maxLeaseS);
    if (lifetimeS === 0) for (const [each] of entries) this.#ports.delete(each);
    else {
      port = entries[0]?.[0] ?? this.#freePort(wanted, localPort, true)!;
      this.#open(port, {
        protocol: 'pcp',
        localIp: ip,
        localPort,
        nonce,
        until: this.#now + grantedS * 1_000,
      });
    }
    head(0, grantedS);
    out.put(data.subarray(0, 18));
    out.u16(port);
    out.zeros(10);
    out.u16(0xffff);
    out.put(toAddr(this.externalIp, 0).bytes);
    return out.copy();
  }

  #answerNatPmp(ip: string, request: Reader): Uint8Array {
    request.u8();
    const opcode = request.u8();
    const out = new Writer();
    const head = (result: number): void => {
      out.put(new Uint8Array([0, 0x80 | opcode, 0, result]));
      out.u32(Math.floor(this.#now / 1_000));
    };
    if (opcode === 0) {
      this.requests.push('natPmp address');
      head(0);
      out.put(toAddr(this.externalIp, 0).bytes);
      return out.copy();
    }
    request.u16();
    const localPort = request.u16();
    const wanted = request.u16();
    const lifetimeS = request.u32();
    this.requests.push(`natPmp ${lifetimeS === 0 ? 'delete' : 'map'} ${localPort}`);
    if (this.isRefusing) {
      head(4);
      return out.copy();
    }
    const entries = [...this.openPorts].filter(([, each]) => each.localPort === localPort);
    let port = 0;
    const grantedS = Math.min(lifetimeS, this.maxLeaseS);
    if (lifetimeS === 0) for (const [each] of entries) this.#ports.delete(each);
    else {
      port = entries[0]?.[0] ?? this.#freePort(wanted, localPort, true)!;
      const until = this.#now + grantedS * 1_000;
      this.#open(port, { protocol: 'natPmp', localIp: ip, localPort, nonce: '', until });
    }
    head(0);
    out.u16(localPort);
    out.u16(port);
    out.u32(grantedS);
    return out.copy();
  }

  #answerSearch(text: string): Uint8Array[] {
    const target = /^ST: (.*InternetGatewayDevice:(\d))\r$/m.exec(text);
    if (!text.startsWith('M-SEARCH') || target === null || Number(target[2]) > this.igdVersion) return [];
    this.requests.push('upnp search');
    const lines = [
      'HTTP/1.1 200 OK',
      'CACHE-CONTROL: max-age=120',
      `ST: ${target[1]}`,
      'EXT:',
      `LOCATION: http://${this.ip}:${WEB_PORT}/desc.xml`,
    ];
    return [utf8([...lines, '', ''].join('\r\n'))];
  }

  // --- HTTP -----------------------------------------------------------------------------------------------------------------

  async #serve(request: HttpRequest): Promise<HttpResponse> {
    const isThere = this.services.has('upnp');
    // What is asked is done at once; who gives up while the answer is under way does not hear of it.
    const answer = isThere ? this.#answerWeb(request) : undefined;
    await this.#wait(request.signal);
    if (answer === undefined) throw new Error('connection refused');
    return this.mangleWeb === undefined ? answer : this.mangleWeb(request, answer);
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const abort = (): void => {
        this.#world.clock.clearTimeout(timer);
        reject(signal.reason as Error);
      };
      const timer = this.#world.clock.setTimeout(() => {
        signal.removeEventListener('abort', abort);
        resolve();
      }, this.delayMs);
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  #answerWeb({ url, method, body }: HttpRequest): HttpResponse {
    const path = new URL(url).pathname;
    if (path === '/desc.xml') {
      this.requests.push('upnp describe');
      return ok(
        `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device><serviceList><service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:${this.igdVersion}</serviceType><controlURL>/control</controlURL></service></serviceList></device></root>`,
      );
    }
    if (path !== '/control' || method !== 'POST') return { ...ok(''), status: 404 };
    return this.#answerControl(fromUtf8(body!));
  }

  #answerControl(text: string): HttpResponse {
    const action = /<u:(\w+) /.exec(text)![1]!;
    const value = (name: string): string => new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1] ?? '';
    const port = Number(value('NewExternalPort'));
    const localPort = Number(value('NewInternalPort'));
    const leaseS = Number(value('NewLeaseDuration'));
    this.requests.push(`upnp ${action}${port === 0 ? '' : ` ${port}`}`);
    if (action === 'GetExternalIPAddress')
      return reply(action, `<NewExternalIPAddress>${this.externalIp}</NewExternalIPAddress>`);
    if (action === 'DeletePortMapping') return this.#ports.delete(port) ? reply(action, '') : fault(714);
    if (this.isRefusing) return fault(606);
    if (this.isPermanentOnly && leaseS !== 0) return fault(725);
    const isAny = action === 'AddAnyPortMapping';
    if (isAny && this.igdVersion === 1) return fault(401);
    const free = this.#freePort(port, localPort, isAny);
    if (free === undefined) return fault(718);
    const until = leaseS === 0 ? Infinity : this.#now + Math.min(leaseS, this.maxLeaseS) * 1_000;
    this.#open(free, { protocol: 'upnp', localIp: value('NewInternalClient'), localPort, nonce: '', until });
    return reply(action, isAny ? `<NewReservedPort>${free}</NewReservedPort>` : '');
  }
}

function ok(text: string): HttpResponse {
  return { status: 200, headers: new Map(), body: utf8(text) };
}

function reply(action: string, inner: string): HttpResponse {
  return ok(
    `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><u:${action}Response xmlns:u="urn:x">${inner}</u:${action}Response></s:Body></s:Envelope>`,
  );
}

function fault(code: number): HttpResponse {
  return {
    ...ok(
      `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError><errorCode>${code}</errorCode></UPnPError></detail></s:Fault></s:Body></s:Envelope>`,
    ),
    status: 500,
  };
}
