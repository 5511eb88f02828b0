// What a peer in a namespace can be told, whichever implementation it is: peer.mjs and native-peer.mjs bring an adapter.
//
//   adapter.bind({ relays, alpn, … }) → endpoint
//   endpoint: id, sockets(), addr() → { relay, direct }, online(), addExternalAddr(text), dial({ remote, relay, addrs }) → connection,
//             accept() → connection or undefined at the end, close()
//   connection: remoteId, selected() → { kind: 'ip' | 'relay', remote } or undefined, onPaths(callback), openBi(), acceptBi(),
//             closed (promise of a text), close()
//   bi: write(bytes), finish(), read() → bytes, none at the end
import { serve } from './json-lines.mjs';

const ALPN = 'iroh-ts/system/0';
const PING_BYTES = 64;
const BEAT_BYTES = 8;

/** The same in all processes of the machine, ms. */
const now = () => Number(process.hrtime.bigint()) / 1e6;

function within(promise, ms, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what()}: nothing within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A connection with the story of its selected paths, times in ms since it stood. */
class Tracked {
  constructor(connection) {
    this.connection = connection;
    this.startedAt = performance.now();
    this.story = [];
    this.listeners = new Set();
    this.closedBecause = undefined;
    this.look();
    connection.onPaths(() => this.look());
    connection.closed.then((reason) => {
      this.closedBecause = reason;
      for (const listener of this.listeners) listener();
    });
  }

  look() {
    const selected = this.connection.selected();
    const last = this.story.at(-1);
    if (selected === undefined || (last?.remote === selected.remote && last.kind === selected.kind)) return;
    this.story.push({ ...selected, ms: performance.now() - this.startedAt });
    for (const listener of this.listeners) listener();
  }

  /** Resolves with the first selected path since `from` that matches. */
  waitPath({ kind, not = [], prefixes = [''], from = 0, timeoutMs }) {
    const find = () =>
      this.story.find(
        (path, index) =>
          (index >= from || index === this.story.length - 1) &&
          path.kind === kind &&
          !not.includes(path.remote) &&
          prefixes.some((prefix) => path.remote.startsWith(prefix)),
      );
    let listener;
    const found = new Promise((resolve, reject) => {
      listener = () => {
        // Some implementations tell of a change before it can be read.
        this.look();
        const path = find();
        if (path !== undefined) resolve(path);
        else if (this.closedBecause !== undefined)
          reject(new Error(`the connection closed: ${this.closedBecause}`));
      };
      this.listeners.add(listener);
      listener();
    });
    const poll = setInterval(listener, 20);
    return within(found, timeoutMs, () => `a ${kind} path; ${JSON.stringify(this.story)}`).finally(() => {
      this.listeners.delete(listener);
      clearInterval(poll);
    });
  }
}

function noteBeat(tracked) {
  tracked.beats.push(now());
  tracked.onBeat?.();
}

async function readAll(bi) {
  const chunks = [];
  for (let chunk = await bi.read(); chunk.length > 0; chunk = await bi.read()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function echo(connection) {
  for (;;) {
    const bi = await connection.acceptBi();
    void (async () => {
      for (let chunk = await bi.read(); chunk.length > 0; chunk = await bi.read()) await bi.write(chunk);
      await bi.finish();
    })().catch(() => undefined);
  }
}

/** Serves the commands; the process ends with its standard input. */
export function servePeer(adapter) {
  const endpoints = [];
  const connections = [];
  const track = (connection) => {
    echo(connection).catch(() => undefined);
    return connections.push(new Tracked(connection)) - 1;
  };

  const emit = serve({
    async bind(options) {
      const endpoint = await adapter.bind({ alpn: ALPN, ...options });
      const index = endpoints.push(endpoint) - 1;
      void (async () => {
        for (;;) {
          const connection = await endpoint.accept();
          if (connection === undefined) return;
          emit({
            event: 'accepted',
            endpoint: index,
            connection: track(connection),
            remote: connection.remoteId,
          });
        }
      })().catch((error) => emit({ event: 'acceptFailed', endpoint: index, message: String(error) }));
      return { endpoint: index, id: endpoint.id };
    },

    async online({ endpoint, timeoutMs }) {
      const startedAt = performance.now();
      await within(endpoints[endpoint].online(), timeoutMs, () => 'online');
      return { ms: performance.now() - startedAt };
    },

    sockets: ({ endpoint }) => ({ sockets: endpoints[endpoint].sockets() }),

    addr: ({ endpoint }) => endpoints[endpoint].addr(),

    addExternalAddr: ({ endpoint, addr }) => endpoints[endpoint].addExternalAddr(addr),

    async dial({ endpoint, timeoutMs, ...remote }) {
      const startedAt = performance.now();
      const connection = await within(
        endpoints[endpoint].dial({ alpn: ALPN, ...remote }),
        timeoutMs,
        () => 'dial',
      );
      const ms = performance.now() - startedAt;
      const index = track(connection);
      return { connection: index, ms, selected: connections[index].story[0] };
    },

    async ping({ connection, timeoutMs }) {
      const startedAt = performance.now();
      const bytes = Buffer.alloc(PING_BYTES, 'ping');
      const answer = await within(
        (async () => {
          const bi = await connections[connection].connection.openBi();
          await bi.write(bytes);
          await bi.finish();
          return readAll(bi);
        })(),
        timeoutMs,
        () => 'ping',
      );
      if (!answer.equals(bytes)) throw new Error('ping: other bytes came back');
      return { ms: performance.now() - startedAt };
    },

    waitPath: ({ connection, ...rest }) => connections[connection].waitPath(rest),

    selected({ connection }) {
      connections[connection].look();
      return { selected: connections[connection].connection.selected() };
    },

    story: ({ connection }) => ({
      story: connections[connection].story,
      closed: connections[connection].closedBecause,
    }),

    /** Writes a few bytes again and again and notes when their echo comes; `gap` reads the notes. */
    async beat({ connection, intervalMs }) {
      const tracked = connections[connection];
      const bi = await tracked.connection.openBi();
      tracked.beats = [];
      let isWriting = false;
      const timer = setInterval(async () => {
        if (isWriting) return;
        isWriting = true;
        await bi.write(Buffer.alloc(BEAT_BYTES)).catch(() => clearInterval(timer));
        isWriting = false;
      }, intervalMs);
      void (async () => {
        for (let chunk = await bi.read(); chunk.length > 0; chunk = await bi.read()) noteBeat(tracked);
      })().catch(() => undefined);
    },

    mark({ connection }) {
      connections[connection].beats = [now()];
    },

    /** Waits for the first beat that came back after `at`, a time of `process.hrtime`; ms from then. */
    beatAfter({ connection, at, timeoutMs }) {
      const tracked = connections[connection];
      const found = new Promise((resolve) => {
        const look = () => {
          const beat = tracked.beats.find((time) => time >= at);
          if (beat === undefined) return false;
          resolve({ ms: beat - at });
          return true;
        };
        tracked.onBeat = () => {
          if (look()) tracked.onBeat = undefined;
        };
        tracked.onBeat();
      });
      return within(found, timeoutMs, () => 'a beat');
    },

    /** The longest silence since `mark`, ms. */
    gap({ connection }) {
      const { beats } = connections[connection];
      const times = [...beats, now()];
      return {
        ms: Math.max(...times.slice(1).map((time, index) => time - times[index])),
        count: beats.length,
      };
    },

    closeConnection: ({ connection }) => connections[connection].connection.close(),

    async close({ endpoint }) {
      await endpoints[endpoint].close();
    },
  });
}
