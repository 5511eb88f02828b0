import type { Target } from '../target.ts';
import { connection } from './connection.ts';
import { datagram } from './datagram.ts';
import { dhtMessage } from './dht-message.ts';
import { dnsMessage } from './dns-message.ts';
import { frame } from './frame.ts';
import { mdns } from './mdns.ts';
import { portMapper } from './port-mapper.ts';
import { signedPacket } from './signed-packet.ts';
import { ticket } from './ticket.ts';
import { tlsMessage } from './tls-message.ts';
import { transportParameters } from './transport-parameters.ts';

/** By name: what `npm run fuzz` takes. */
export const TARGETS: readonly Target[] = [
  datagram,
  frame,
  transportParameters,
  tlsMessage,
  ticket,
  connection,
  dnsMessage,
  signedPacket,
  portMapper,
  mdns,
  dhtMessage,
];
