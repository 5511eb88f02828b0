import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concatBytes, Reader, Writer } from '../../../../src/base/bytes.ts';
import {
  checkZeroRttAccepted,
  decodeTransportParameters,
  DEFAULT_TRANSPORT_PARAMETERS,
  encodeTransportParameters,
  forZeroRtt,
  type TransportParameters,
} from '../../../../src/quic/wire/transport-parameters.ts';
import { SimRng } from '../../../support/sim-rng.ts';

const refused = expect.objectContaining({ code: 'TRANSPORT_PARAMETER_ERROR' });
const anyCid = fc.uint8Array({ maxLength: 20 });
const amount = fc.nat({ max: Number.MAX_SAFE_INTEGER });

function one(id: number, value: Uint8Array): Uint8Array {
  const w = new Writer();
  w.varint(id);
  w.varint(value.length);
  w.put(value);
  return w.copy();
}

function number(id: number, value: bigint): Uint8Array {
  const w = new Writer();
  w.varintBig(value);
  return one(id, w.copy());
}

function ids(bytes: Uint8Array): bigint[] {
  const r = new Reader(bytes);
  const list: bigint[] = [];
  while (r.remaining > 0) {
    list.push(r.varintBig());
    r.nested(r.varint());
  }
  return list;
}

const anyParameters: fc.Arbitrary<Partial<TransportParameters>> = fc.record(
  {
    originalDestinationConnectionId: anyCid,
    maxIdleTimeout: amount,
    statelessResetToken: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    maxUdpPayloadSize: fc.integer({ min: 1_200, max: 65_535 }),
    initialMaxData: amount,
    initialMaxStreamDataUni: amount,
    initialMaxStreamsBidi: amount,
    ackDelayExponent: fc.nat({ max: 20 }),
    maxAckDelay: fc.integer({ min: 1, max: 2 ** 14 - 1 }),
    disableActiveMigration: fc.boolean(),
    activeConnectionIdLimit: fc.integer({ min: 2, max: 1_000 }),
    initialSourceConnectionId: anyCid,
    retrySourceConnectionId: anyCid,
    maxDatagramFrameSize: amount,
    initialMaxPathId: fc.nat({ max: 2 ** 32 - 1 }),
    greaseQuicBit: fc.boolean(),
    minAckDelay: fc.nat({ max: 1_000 }),
    addressDiscovery: fc.constantFrom('send' as const, 'receive' as const, 'both' as const),
    natTraversal: fc.integer({ min: 1, max: 255 }),
  },
  { requiredKeys: [] },
);

test('what is encoded is decoded again, in whatever order it was put', () => {
  fc.assert(
    fc.property(anyParameters, fc.nat(), (parameters, seed) => {
      const bytes = encodeTransportParameters(parameters, new SimRng(seed));
      expect(decodeTransportParameters(bytes, 'server')).toEqual({
        ...DEFAULT_TRANSPORT_PARAMETERS,
        ...parameters,
      });
    }),
  );
});

test('the order is random, and one reserved id is among them (RFC 9000 §18.1)', () => {
  const orders = new Set<string>();
  for (let seed = 1; seed <= 30; seed++) {
    const list = ids(encodeTransportParameters({ maxIdleTimeout: 1, initialMaxData: 2 }, new SimRng(seed)));
    expect(list.filter((id) => id % 31n === 27n)).toHaveLength(1);
    orders.add(list.map((id) => (id % 31n === 27n ? 'reserved' : `${id}`)).join());
  }
  expect(orders.size).toBe(6);
});

test('reserved and unknown ids are ignored, however large', () => {
  const bytes = concatBytes(one(27, Uint8Array.of(1)), number(0x3000, 5n), one(27, new Uint8Array(0)));
  expect(decodeTransportParameters(bytes, 'client')).toEqual(DEFAULT_TRANSPORT_PARAMETERS);
});

// Rows: id, largest or smallest legal value, nearest illegal one.
test.each([
  ['max_udp_payload_size', 0x03, 1_200n, 1_199n],
  ['initial_max_streams_bidi', 0x08, 2n ** 60n, 2n ** 60n + 1n],
  ['initial_max_streams_uni', 0x09, 2n ** 60n, 2n ** 60n + 1n],
  ['ack_delay_exponent', 0x0a, 20n, 21n],
  ['max_ack_delay', 0x0b, 2n ** 14n - 1n, 2n ** 14n],
  ['active_connection_id_limit', 0x0e, 2n, 1n],
  ['initial_max_path_id', 0x3e, 2n ** 32n - 1n, 2n ** 32n],
  ['min_ack_delay', 0xff04_de1b, 25_000n, 25_001n],
  ['address discovery', 0x9f81_a176, 2n, 3n],
])('limit of RFC 9000 §18.2 or the extension: %s', (_name, id, legal, illegal) => {
  expect(() => decodeTransportParameters(number(id, legal), 'client')).not.toThrow();
  expect(() => decodeTransportParameters(number(id, illegal), 'client')).toThrow(refused);
});

const preferred = (cidLength: number, extra = 0): Uint8Array => {
  const value = new Uint8Array(41 + cidLength + extra);
  value[24] = cidLength;
  return value;
};

test.each([
  ['stateless_reset_token of 15 bytes', one(0x02, new Uint8Array(15))],
  ['stateless_reset_token of 17 bytes', one(0x02, new Uint8Array(17))],
  ['a connection id of 21 bytes', one(0x0f, new Uint8Array(21))],
  ['preferred_address without a connection id', one(0x0d, preferred(0))],
  ['preferred_address whose lengths do not add up', one(0x0d, preferred(8, 1))],
  ['a flag with a value', one(0x0c, Uint8Array.of(1))],
  ['a number with more behind it', one(0x04, Uint8Array.of(1, 1))],
  ['a number without bytes', one(0x04, new Uint8Array(0))],
  ['a length beyond the end', Uint8Array.of(0x04, 5, 1)],
  ['zero NAT traversal addresses', one(0x3d7f_9112_0401, Uint8Array.of(0))],
  ['a parameter twice', concatBytes(number(0x04, 1n), number(0x04, 1n))],
])('TRANSPORT_PARAMETER_ERROR (RFC 9000 §7.4): %s', (_what, bytes) => {
  expect(() => decodeTransportParameters(bytes, 'server')).toThrow(refused);
});

test.each([
  ['original_destination_connection_id', one(0x00, new Uint8Array(8))],
  ['stateless_reset_token', one(0x02, new Uint8Array(16))],
  ['preferred_address', one(0x0d, preferred(8))],
  ['retry_source_connection_id', one(0x10, new Uint8Array(8))],
])('only a server may send %s (RFC 9000 §18.2)', (_name, bytes) => {
  expect(() => decodeTransportParameters(bytes, 'client')).toThrow(refused);
  expect(decodeTransportParameters(bytes, 'server')).not.toEqual(DEFAULT_TRANSPORT_PARAMETERS);
});

describe('0-RTT (RFC 9000 §7.4.1)', () => {
  const remembered: TransportParameters = {
    ...DEFAULT_TRANSPORT_PARAMETERS,
    activeConnectionIdLimit: 5,
    initialMaxData: 10,
    initialMaxStreamDataBidiLocal: 10,
    initialMaxStreamDataBidiRemote: 10,
    initialMaxStreamDataUni: 10,
    initialMaxStreamsBidi: 10,
    initialMaxStreamsUni: 10,
    maxDatagramFrameSize: 10,
    greaseQuicBit: true,
    addressDiscovery: 'both',
    natTraversal: 8,
  };
  const violation = expect.objectContaining({ code: 'PROTOCOL_VIOLATION' });

  test('what belongs to one connection is forgotten, the limits stay', () => {
    const all = {
      ...remembered,
      ackDelayExponent: 9,
      maxAckDelay: 99,
      statelessResetToken: new Uint8Array(16),
    };
    const more = { initialSourceConnectionId: new Uint8Array(8), minAckDelay: 1, initialMaxPathId: 7 };
    expect(forZeroRtt({ ...all, ...more })).toEqual(remembered);
  });

  test('the same or more is accepted', () => {
    checkZeroRttAccepted(remembered, remembered);
    expect(() => checkZeroRttAccepted(remembered, { ...remembered, initialMaxData: 11 })).not.toThrow();
  });

  test.each<Partial<TransportParameters>>([
    { activeConnectionIdLimit: 4 },
    { initialMaxData: 9 },
    { initialMaxStreamDataBidiLocal: 9 },
    { initialMaxStreamDataBidiRemote: 9 },
    { initialMaxStreamDataUni: 9 },
    { initialMaxStreamsBidi: 9 },
    { initialMaxStreamsUni: 9 },
    { maxDatagramFrameSize: undefined },
    { greaseQuicBit: false },
    { addressDiscovery: 'send' },
    { natTraversal: 9 },
  ])('a lowered or changed one is a PROTOCOL_VIOLATION: %j', (change) => {
    expect(() => checkZeroRttAccepted(remembered, { ...remembered, ...change })).toThrow(violation);
  });
});
