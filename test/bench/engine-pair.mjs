// Two engines from dist/ in one process, joined by arrays: what the protocol costs without sockets and event loop.
import { parseAddr } from '../../dist/base/socket-addr.js';
import { SecretKey } from '../../dist/crypto/keys.js';
import { DEFAULT_TRANSPORT_CONFIG } from '../../dist/quic/config.js';
import { QuicEndpoint } from '../../dist/quic/endpoint.js';
import { endpointTlsName } from '../../dist/tls/endpoint-name.js';
import { rawPublicKeyIdentity, rawPublicKeyVerifier } from '../../dist/tls/profile.js';
import { MemorySessionStore } from '../../dist/tls/session-store.js';
import { MemoryTicketStore } from '../../dist/tls/ticket-store.js';

const encoder = new TextEncoder();
import { systemRng as rng } from '../../dist/crypto/random.js';
/** Datagrams per burst, as libuv delivers them. */
const BURST = 32;

export class EnginePair {
  constructor({ transport = {}, resume = false } = {}) {
    this.now = 0;
    this.transport = { ...DEFAULT_TRANSPORT_CONFIG, ...transport };
    this.tickets = resume ? new MemoryTicketStore() : undefined;
    const verifier = rawPublicKeyVerifier();
    const serverKey = SecretKey.generate();
    this.serverName = endpointTlsName(serverKey.publicKey.toBytes());
    this.client = this.#side('10.0.0.1:1000', () => {});
    this.server = this.#side('10.0.0.2:2000', (incoming) => {
      this.server.connections.push(this.server.engine.accept(incoming, this.now));
    });
    this.server.engine.setServerConfig({
      transport: this.transport,
      tls: {
        identity: rawPublicKeyIdentity(serverKey),
        verifier,
        alpns: [encoder.encode('bench')],
        clientAuth: 'required',
        sessions: new MemorySessionStore(),
        ticketCount: 2,
        acceptEarlyData: true,
      },
    });
    this.clientTls = {
      identity: rawPublicKeyIdentity(SecretKey.generate()),
      verifier,
      alpns: [encoder.encode('bench')],
      sni: undefined,
      earlyData: false,
    };
  }

  #side(text, onIncoming) {
    return {
      engine: new QuicEndpoint({ rng, wallOffsetMs: 1_700_000_000_000 }),
      addr: parseAddr(text),
      onIncoming,
      connections: [],
      out: [],
      inbox: [],
      onEvent: undefined,
    };
  }

  dial() {
    const connection = this.client.engine.connect(
      { remote: this.server.addr, local: undefined },
      this.serverName,
      {
        transport: this.transport,
        tls: { ...this.clientTls, tickets: this.tickets ?? new MemoryTicketStore() },
      },
      this.now,
    );
    this.client.connections.push(connection);
    return connection;
  }

  /** One side takes a burst, then sends what it has. Returns datagrams moved. */
  turn(side, other) {
    const { engine, inbox, out } = side;
    let moved = 0;
    if (inbox.length > 0) {
      const burst = inbox.splice(0, BURST);
      moved += burst.length;
      engine.handleDatagrams(burst, this.now);
    }
    const deadline = engine.pollTimeout();
    if (deadline !== undefined && deadline <= this.now) engine.handleTimeout(this.now);
    for (let event = engine.pollEvent(); event !== undefined; event = engine.pollEvent()) {
      if (event.type === 'incoming') side.onIncoming(event.incoming);
      else side.onEvent?.(event.connection, event.event);
    }
    out.length = 0;
    engine.pollTransmits(out, 256, this.now);
    for (const { data } of out) {
      // A copy in memory of its own, as the socket's receive buffer is.
      other.inbox.push({ from: side.addr, local: other.addr, data: new Uint8Array(data) });
    }
    moved += out.length;
    engine.releaseTransmits();
    return moved;
  }

  /** Runs until both sides are quiet; time advances by `stepMs` per round. */
  settle(stepMs = 0.01) {
    for (;;) {
      this.now += stepMs;
      if (this.turn(this.client, this.server) + this.turn(this.server, this.client) > 0) continue;
      // Paced or delayed output may be due soon.
      const next = Math.min(
        this.client.engine.pollTimeout() ?? Infinity,
        this.server.engine.pollTimeout() ?? Infinity,
      );
      if (next - this.now > 30) return;
      this.now = Math.max(this.now, next);
    }
  }
}
