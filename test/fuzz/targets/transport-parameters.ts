/**
 * Transport parameters of both sides, and those of a later connection: `| sender | length u16 | first | second |`.
 *
 * @module
 */
import { concatBytes } from '../../../src/base/bytes.ts';
import type { Side } from '../../../src/quic/engine.ts';
import { TransportError } from '../../../src/quic/transport-error.ts';
import {
  checkZeroRttAccepted,
  decodeTransportParameters,
  encodeTransportParameters,
  forZeroRtt,
  type TransportParameters,
} from '../../../src/quic/wire/transport-parameters.ts';
import { SimRng } from '../../support/sim-rng.ts';
import { must, refused, type Target } from '../target.ts';

const cid = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const FULL: Partial<TransportParameters> = {
  originalDestinationConnectionId: cid,
  maxIdleTimeout: 30_000,
  statelessResetToken: new Uint8Array(16),
  maxUdpPayloadSize: 1_472,
  initialMaxData: 1_000_000,
  initialMaxStreamDataBidiLocal: 1,
  initialMaxStreamDataBidiRemote: 2,
  initialMaxStreamDataUni: 3,
  initialMaxStreamsBidi: 100,
  initialMaxStreamsUni: 100,
  ackDelayExponent: 4,
  maxAckDelay: 26,
  disableActiveMigration: true,
  preferredAddress: concatBytes(new Uint8Array(24), Uint8Array.of(8), cid, new Uint8Array(16)),
  activeConnectionIdLimit: 5,
  initialSourceConnectionId: cid,
  retrySourceConnectionId: cid,
  maxDatagramFrameSize: 65_535,
  initialMaxPathId: 7,
  greaseQuicBit: true,
  minAckDelay: 1_000,
  addressDiscovery: 'both',
  natTraversal: 32,
};
const OF_CLIENT: Partial<TransportParameters> = {
  maxIdleTimeout: 1,
  initialSourceConnectionId: cid,
  addressDiscovery: 'send',
};

const isDocumented = (error: unknown): boolean =>
  error instanceof TransportError && error.code === 'TRANSPORT_PARAMETER_ERROR';

function input(sender: number, first: Uint8Array, second: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(sender, first.length >> 8, first.length & 0xff), first, second);
}

function decodeOrUndefined(bytes: Uint8Array, sender: Side): TransportParameters | undefined {
  let parameters: TransportParameters | undefined;
  refused(() => void (parameters = decodeTransportParameters(bytes, sender)), isDocumented);
  return parameters;
}

export const transportParameters: Target = {
  name: 'transport-parameters',
  decoders: [{ file: 'src/quic/wire/transport-parameters.ts', except: /^(encode|write)/ }],
  maxLength: 1_024,
  maxWork: 20_000,
  seeds: () => {
    const rng = new SimRng(1);
    const full = encodeTransportParameters(FULL, rng);
    const client = encodeTransportParameters(OF_CLIENT, rng);
    const one = Object.entries(FULL).map(([name, value]) =>
      encodeTransportParameters({ [name]: value }, rng),
    );
    return [input(0, full, full), input(1, client, client), ...one.map((bytes) => input(0, bytes, client))];
  },
  run: (bytes) => {
    const sender: Side = ((bytes[0] ?? 0) & 1) === 0 ? 'server' : 'client';
    const length = ((bytes[1] ?? 0) << 8) | (bytes[2] ?? 0);
    const first = decodeOrUndefined(bytes.subarray(3, 3 + length), sender);
    const second = decodeOrUndefined(bytes.subarray(3 + length), 'server');
    if (first === undefined) return;
    // What was understood can be said again, and means the same.
    const again = decodeTransportParameters(encodeTransportParameters(first, new SimRng(1)), sender);
    must(JSON.stringify(again) === JSON.stringify(first), 'another meaning after a round trip');
    const remembered = forZeroRtt(first);
    if (second === undefined) return;
    refused(
      () => checkZeroRttAccepted(remembered, second),
      (error) => error instanceof TransportError && error.code === 'PROTOCOL_VIOLATION',
    );
  },
};
