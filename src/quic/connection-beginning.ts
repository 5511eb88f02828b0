/**
 * How a connection begins: a client dials with an id of its choice, a server answers what the endpoint opened. Each makes
 * its TLS session with its transport parameters (RFC 9000 §7.2, §7.3; RFC 9001 §5.2).
 *
 * @module
 */
import { EMPTY } from '../base/bytes.ts';
import { randomBytes } from '../base/rng.ts';
import { createClientSession } from '../tls/client-session.ts';
import { createServerSession } from '../tls/server-session.ts';
import type { ClientConnectionInit, HostedConnection, ServerConnectionInit } from './connection-host.ts';
import { Connection } from './connection.ts';
import { localParameters } from './handshake.ts';
import { PacketKeys } from './wire/protection.ts';
import { encodeTransportParameters } from './wire/transport-parameters.ts';

/** Length of the random destination cid of a client's first Initial; upstream's (RFC 9000 §7.2 asks for 8 or more). */
const INITIAL_DCID_LENGTH = 20;

/** Dials. The first flight is ready to be polled. */
export function createClientConnection(init: ClientConnectionInit): HostedConnection {
  return new Connection(
    init.host,
    'client',
    init.stableId,
    init.transport,
    init.now,
    init.tuple,
    init.qlog,
    (core) => {
      const initialDcid = randomBytes(init.host.rng, INITIAL_DCID_LENGTH);
      core.serverName = init.serverName;
      core.token = init.token ?? EMPTY;
      const parameters = localParameters(init.transport, 'client');
      parameters.initialSourceConnectionId = core.localHandshakeCid;
      const tls = createClientSession(init.tls, init.serverName, {
        rng: init.host.rng,
        keyPairs: init.host.keyPairs,
        wallNow: init.host.wallTime(init.now),
        transportParameters: encodeTransportParameters(parameters, init.host.rng),
      });
      return {
        tls,
        initialKeys: PacketKeys.initial(initialDcid, 'client'),
        remoteCid: initialDcid,
        cids: { originalDcid: initialDcid, retryScid: undefined, remoteScid: undefined },
        validated: false,
      };
    },
  );
}

/** Accepts. The datagrams of the client's first flight are handed in by the endpoint. */
export function createServerConnection(init: ServerConnectionInit): HostedConnection {
  return new Connection(
    init.host,
    'server',
    init.stableId,
    init.transport,
    init.now,
    init.tuple,
    init.qlog,
    (core) => {
      const parameters = localParameters(init.transport, 'server');
      parameters.initialSourceConnectionId = core.localHandshakeCid;
      parameters.statelessResetToken = core.localResetToken;
      // RFC 9000 §7.3.
      parameters.originalDestinationConnectionId = init.retry?.originalDcid ?? init.initialDcid;
      parameters.retrySourceConnectionId = init.retry?.retryScid;
      const tls = createServerSession(init.tls, {
        rng: init.host.rng,
        keyPairs: init.host.keyPairs,
        wallNow: init.host.wallTime(init.now),
        transportParameters: encodeTransportParameters(parameters, init.host.rng),
      });
      return {
        tls,
        initialKeys: init.initialKeys,
        remoteCid: init.clientCid,
        cids: { originalDcid: init.initialDcid, retryScid: undefined, remoteScid: init.clientCid },
        validated: init.remoteValidated,
      };
    },
  );
}
