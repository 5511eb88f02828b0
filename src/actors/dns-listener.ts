/**
 * DNS on one port: UDP and TCP.
 *
 * @module
 */
import type { Addr } from '../base/socket-addr.ts';
import type { DnsServerMetrics } from '../dns/server/metrics.ts';
import type { DatagramTransport } from '../transport/datagram.ts';
import { DnsTcpListener } from '../transport/dns-tcp-listener.ts';
import type { Platform } from '../transport/platform.ts';
import type { DnsAnswers } from './dns-answers.ts';

/** Datagrams whose answers are being looked for; further ones are left alone. */
const MAX_UNDER_WAY = 10_000;
/** How often another port is tried when any will do: what UDP got may be taken for TCP. */
const PORT_ATTEMPTS = 20;

/** Where, and who answers. */
export interface DnsListenerOptions {
  readonly platform: Platform;
  readonly ip: string;
  /** 0: any. */
  readonly port: number;
  /** Of TCP. */
  readonly maxConnections: number;
  readonly answers: DnsAnswers;
  readonly metrics: DnsServerMetrics;
}

/** Two sockets with the same address. */
export class DnsListener {
  readonly #udp: DatagramTransport;
  readonly #tcp: DnsTcpListener;

  private constructor(udp: DatagramTransport, tcp: DnsTcpListener) {
    this.#udp = udp;
    this.#tcp = tcp;
  }

  /** @throws the system's error, e.g. EADDRINUSE. */
  static async listen(options: DnsListenerOptions): Promise<DnsListener> {
    const { platform, ip, port, maxConnections, answers, metrics } = options;
    for (let attempt = 1; ; attempt++) {
      const udp = await platform.bindUdp!({ ip, port });
      try {
        const tcp = await DnsTcpListener.listen({
          ip,
          port: udp.localAddr.port,
          maxConnections,
          answer: async (question) => {
            metrics.add('dns_requests_tcp');
            return (await answers.reply(question, 'stream'))?.bytes;
          },
        });
        serveDatagrams(udp, answers, metrics);
        return new DnsListener(udp, tcp);
      } catch (error) {
        await udp.close();
        if (port !== 0 || attempt === PORT_ATTEMPTS) throw error;
      }
    }
  }

  /** Where it listens. */
  get localAddr(): Addr {
    return this.#udp.localAddr;
  }

  /** Drops all connections, and resolves when all is freed. */
  async close(): Promise<void> {
    await Promise.all([this.#udp.close(), this.#tcp.close()]);
  }
}

function serveDatagrams(udp: DatagramTransport, answers: DnsAnswers, metrics: DnsServerMetrics): void {
  let underWay = 0;
  udp.onDatagrams = (batch) => {
    for (const { data, from, local } of batch) {
      metrics.add('dns_requests_udp');
      if (underWay >= MAX_UNDER_WAY) {
        metrics.add('dns_requests_dropped');
        continue;
      }
      underWay++;
      void answers.reply(data, 'datagram').then((reply) => {
        underWay--;
        if (reply !== undefined) udp.send([{ data: reply.bytes, to: from, local }], 0, 1);
      });
    }
  };
}
