/** Random values of the base vocabulary, for property tests. */
import fc from 'fast-check';
import { EndpointAddr } from '../../src/base/endpoint-addr.ts';
import { EndpointId } from '../../src/base/endpoint-id.ts';
import { RelayUrl } from '../../src/base/relay-url.ts';
import { toAddr } from '../../src/base/socket-addr.ts';
import type { TransportAddr } from '../../src/base/transport-addr.ts';
import { ed25519PublicKey } from '../../src/crypto/signature.ts';

/** Ids of random secret keys. */
export const anyEndpointId: fc.Arbitrary<EndpointId> = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((seed) => EndpointId.fromVerified(ed25519PublicKey(seed)));

export const anyRelayAddr: fc.Arbitrary<TransportAddr> = fc
  .webUrl({ withQueryParameters: true })
  .map((text) => ({ type: 'relay', url: RelayUrl.parse(text) }));

export const anyIpAddr: fc.Arbitrary<TransportAddr> = fc
  .tuple(
    fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 })),
    fc.integer({ min: 0, max: 65_535 }),
  )
  .map(([ip, port]) => ({ type: 'ip', addr: toAddr(ip, port) }));

export const anyCustomAddr: fc.Arbitrary<TransportAddr> = fc
  .tuple(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.uint8Array({ maxLength: 60 }))
  .map(([id, data]) => ({ type: 'custom', id, data }));

export const anyTransportAddr: fc.Arbitrary<TransportAddr> = fc.oneof(anyRelayAddr, anyIpAddr, anyCustomAddr);

export const anyEndpointAddr: fc.Arbitrary<EndpointAddr> = fc
  .tuple(anyEndpointId, fc.array(anyTransportAddr, { maxLength: 6 }))
  .map(([id, addrs]) => new EndpointAddr(id, addrs));
