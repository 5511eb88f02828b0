/** Tickets and key text against the real iroh (`@number0/iroh`), both ways. */
import { describe, expect, test } from '@jest/globals';
import {
  EndpointAddr as NativeAddr,
  EndpointId as NativeId,
  EndpointTicket as NativeTicket,
  SecretKey as NativeSecretKey,
} from '@number0/iroh';
import fc from 'fast-check';
import { EndpointAddr } from '../../src/base/endpoint-addr.ts';
import { EndpointId } from '../../src/base/endpoint-id.ts';
import { SecretKey, Signature } from '../../src/crypto/keys.ts';
import { anyEndpointId, anyIpAddr, anyRelayAddr } from '../support/arbitraries.ts';

describe('L02: tickets are those of iroh', () => {
  const anyDialable = fc
    .tuple(anyEndpointId, fc.option(anyRelayAddr), fc.array(anyIpAddr, { maxLength: 5 }))
    .map(([id, relay, ips]) => new EndpointAddr(id, relay ? [relay, ...ips] : ips));

  test('iroh writes and reads the same words', () => {
    fc.assert(
      fc.property(anyDialable, (addr) => {
        const ticket = addr.toTicket();
        const native = new NativeAddr(
          NativeId.fromString(addr.id.toString()),
          addr.relays[0]?.href ?? null,
          [...addr.ips].reverse().map(String),
        );
        expect(NativeTicket.fromAddr(native).toString()).toBe(ticket);
        const read = NativeTicket.fromString(ticket).endpointAddr();
        expect(read.id().toString()).toBe(addr.id.toString());
        expect(read.relayUrl()).toBe(addr.relays[0]?.href ?? null);
        expect(read.directAddresses()).toEqual(addr.ips.map(String));
      }),
    );
  });
});

describe('keys are those of iroh', () => {
  test('the same texts are ids', () => {
    const keyText = fc.oneof(
      fc.stringMatching(/^[0-9a-f]{64}$/),
      fc.stringMatching(/^[0-9a-fA-F]{64}$/),
      fc.stringMatching(/^[a-z2-7]{51}[aq]$/),
      fc.stringMatching(/^[A-Za-z2-7]{52}$/),
      fc.string({ maxLength: 70 }),
      anyEndpointId.map(String),
    );
    fc.assert(
      fc.property(keyText, (text) => {
        let native: string | undefined;
        let ours: string | undefined;
        try {
          native = NativeId.fromString(text).toString();
        } catch {
          native = undefined;
        }
        try {
          ours = EndpointId.parse(text).toString();
        } catch {
          ours = undefined;
        }
        expect(ours).toBe(native);
      }),
      { numRuns: 300 },
    );
  });

  test('sign and verify each other', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.uint8Array(), (seed, message) => {
        const ours = SecretKey.fromBytes(seed);
        const native = NativeSecretKey.fromBytes([...seed]);
        expect(native.public().toString()).toBe(ours.publicKey.toString());
        const signature = native.sign([...message]);
        expect([...ours.sign(message).toBytes()]).toEqual(signature.toBytes());
        expect(
          Signature.fromBytes(Uint8Array.from(signature.toBytes())).verify(ours.publicKey, message),
        ).toBe(true);
      }),
      { numRuns: 20 },
    );
  });
});
