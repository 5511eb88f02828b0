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
import type { SessionContext } from '../tls/session.ts';
import type {
  ClientConnectionInit,
  ConnectionInit,
  HostedConnection,
  ServerConnectionInit,
} from './connection-host.ts';
import { Connection } from './connection.ts';
import { localParameters } from './handshake.ts';
import { PacketKeys } from './wire/protection.ts';
import { encodeTransportParameters, type TransportParameters } from './wire/transport-parameters.ts';

/** Length of the random destination cid of a client's first Initial; upstream's (RFC 9000 §7.2 asks for 8 or more). */
const INITIAL_DCID_LENGTH = 20;

/** What a TLS session takes from the connection. @param parameters - Ours, whole. */
function sessionContext(
  { host, now }: ConnectionInit,
  parameters: Partial<TransportParameters>,
): SessionContext {
  const { rng, keyPairs } = host;
  const transportParameters = encodeTransportParameters(parameters, rng);
  return { rng, keyPairs, wallNow: host.wallTime(now), transportParameters };
}

/** Dials. The first flight is ready to be polled. */
export function createClientConnection(init: ClientConnectionInit): HostedConnection {
  const { host, transport, serverName } = init;
  return new Connection('client', init, (core) => {
    const initialDcid = randomBytes(host.rng, INITIAL_DCID_LENGTH);
    core.serverName = serverName;
    core.token = init.token ?? EMPTY;
    const parameters = localParameters(transport, 'client');
    parameters.initialSourceConnectionId = core.localHandshakeCid;
    return {
      tls: createClientSession(init.tls, serverName, sessionContext(init, parameters)),
      initialKeys: PacketKeys.initial(initialDcid, 'client'),
      remoteCid: initialDcid,
      cids: { originalDcid: initialDcid, retryScid: undefined, remoteScid: undefined },
      validated: false,
    };
  });
}

/** Accepts. The datagrams of the client's first flight are handed in by the endpoint. */
export function createServerConnection(init: ServerConnectionInit): HostedConnection {
  const { transport, initialDcid, clientCid, retry } = init;
  return new Connection('server', init, (core) => {
    const parameters = localParameters(transport, 'server');
    parameters.initialSourceConnectionId = core.localHandshakeCid;
    parameters.statelessResetToken = core.localResetToken;
    // RFC 9000 §7.3.
    parameters.originalDestinationConnectionId = retry?.originalDcid ?? initialDcid;
    parameters.retrySourceConnectionId = retry?.retryScid;
    return {
      tls: createServerSession(init.tls, sessionContext(init, parameters)),
      initialKeys: init.initialKeys,
      remoteCid: clientCid,
      cids: { originalDcid: initialDcid, retryScid: undefined, remoteScid: clientCid },
      validated: init.remoteValidated,
    };
  });
}
