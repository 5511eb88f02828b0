import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DecodeError, concatBytes, toHex, utf8 } from '../../../src/base/bytes.ts';
import { TlsAlert } from '../../../src/tls/alert.ts';
import { decodeClientHello, peekClientHello } from '../../../src/tls/client-hello.ts';
import {
  decodeCertificate,
  decodeCertificateRequest,
  decodeCertificateVerify,
  decodeEncryptedExtensions,
  decodeNewSessionTicket,
} from '../../../src/tls/messages.ts';
import { decodeServerHello } from '../../../src/tls/server-hello.ts';
import type { ClientTlsConfig, ServerTlsConfig } from '../../../src/tls/session.ts';
import {
  TlsPair,
  clientConfig,
  serverConfig,
  splitMessages,
  type Side,
  type Wire,
} from '../../support/tls-pair.ts';

/** What a run came to, in comparable form. */
function summary(pair: TlsPair): unknown {
  const text = (side: Side): string[] =>
    pair.outputs[side].map((output) =>
      JSON.stringify(output, (_key, value: unknown) => (value instanceof Uint8Array ? toHex(value) : value)),
    );
  return { client: text('client'), server: text('server'), alert: pair.alert?.error.alertName };
}

/** Cuts everything at the given positions (fractions of each flight). */
function cutting(cuts: readonly number[]): Wire {
  return (_from, _level, data) => {
    const at = [...new Set(cuts.map((cut) => Math.floor(cut * data.length)))].sort((a, b) => a - b);
    return [0, ...at].map((start, i) => data.slice(start, at[i] ?? data.length));
  };
}

function freshConfigs(): { client: ClientTlsConfig; server: ServerTlsConfig } {
  return {
    client: clientConfig({ earlyData: true, sni: 'name' }),
    server: serverConfig({ alpns: [utf8('x'), utf8('test/1')] }),
  };
}

/** A full handshake and then a resumed one with early data, over the same wire. */
function twoHandshakes(wire: Wire): [TlsPair, TlsPair] {
  const configs = freshConfigs();
  return [
    new TlsPair({ ...configs, wire, seed: 'first' }).run(),
    new TlsPair({ ...configs, wire, seed: 'second' }).run(),
  ];
}

describe('fragmentation', () => {
  const whole = twoHandshakes((_from, _level, data) => [data]).map(summary);

  test('byte by byte gives the same', () => {
    const bytes: Wire = (_from, _level, data) => [...data].map((byte) => Uint8Array.of(byte));
    expect(twoHandshakes(bytes).map(summary)).toEqual(whole);
  });

  test('any split gives the same', () => {
    const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });
    fc.assert(
      fc.property(cuts, (positions) => {
        expect(twoHandshakes(cutting(positions)).map(summary)).toEqual(whole);
      }),
      { numRuns: 40 },
    );
  });

  test('the caller may reuse its buffer between calls', () => {
    const reusing: Wire = function* (_from: Side, _level: string, data: Uint8Array) {
      const buffer = new Uint8Array(7);
      for (let at = 0; at < data.length; at += 7) {
        const piece = data.subarray(at, at + 7);
        buffer.fill(0xee);
        buffer.set(piece);
        yield buffer.subarray(0, piece.length);
      }
    } as unknown as Wire;
    expect(twoHandshakes(reusing).map(summary)).toEqual(whole);
  });
});

/** A change to a flight: bytes overwritten, removed, inserted, repeated. */
type Mutation =
  | { readonly kind: 'flip'; readonly at: number; readonly mask: number }
  | { readonly kind: 'set'; readonly at: number; readonly value: number }
  | { readonly kind: 'remove'; readonly at: number; readonly count: number }
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: 'dropMessage' | 'repeatMessage' | 'swapMessages'; readonly at: number };

const position = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: position, mask: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ kind: fc.constant('set' as const), at: position, value: fc.constantFrom(0, 1, 2, 0x7f, 0xff) }),
  fc.record({ kind: fc.constant('remove' as const), at: position, count: fc.integer({ min: 1, max: 40 }) }),
  fc.record({
    kind: fc.constant('insert' as const),
    at: position,
    bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  }),
  fc.record({
    kind: fc.constantFrom('dropMessage' as const, 'repeatMessage' as const, 'swapMessages' as const),
    at: position,
  }),
);

function mutate(data: Uint8Array, change: Mutation): Uint8Array {
  const at = Math.floor(change.at * data.length);
  switch (change.kind) {
    case 'flip':
    case 'set': {
      const copy = data.slice();
      copy[at] = change.kind === 'flip' ? copy[at]! ^ change.mask : change.value;
      return copy;
    }
    case 'remove':
      return concatBytes(data.subarray(0, at), data.subarray(at + change.count));
    case 'insert':
      return concatBytes(data.subarray(0, at), change.bytes, data.subarray(at));
    default: {
      const messages = splitMessages(data);
      const i = Math.floor(change.at * messages.length);
      if (change.kind === 'dropMessage') messages.splice(i, 1);
      else if (change.kind === 'repeatMessage') messages.splice(i, 0, messages[i]!);
      else messages.reverse();
      return concatBytes(...messages);
    }
  }
}

describe('hostile bytes', () => {
  const side = fc.constantFrom<Side>('client', 'server');
  const level = fc.constantFrom('initial', 'handshake', 'application');

  test('a mutated handshake ends in an alert or nowhere, never in anything else, never in agreement by accident', () => {
    fc.assert(
      fc.property(side, level, mutation, fc.boolean(), (from, at, change, resumed) => {
        const configs = freshConfigs();
        if (resumed) new TlsPair({ ...configs, seed: 'first' }).run();
        let changed = false;
        const pair = new TlsPair({
          ...configs,
          seed: 'second',
          wire: (sender, where, data) => {
            if (sender !== from || where !== at) return [data];
            const other = mutate(data, change);
            changed ||= toHex(other) !== toHex(data);
            return [other];
          },
        });
        // Anything but TlsAlert would be thrown from here.
        pair.run();
        expect(pair.alert?.error.alertName).not.toBe('internal_error');
        // The handshake is authenticated: whatever was changed before the tickets, somebody notices.
        if (changed && at !== 'application')
          expect(pair.alert === undefined && pair.client.isComplete && pair.server.isComplete).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  test('decoders of random bytes behind a plausible header throw nothing but alerts and DecodeError', () => {
    const all = new Set(Array.from({ length: 256 }, (_, i) => i));
    const decoders: ((message: Uint8Array) => unknown)[] = [
      decodeClientHello,
      decodeServerHello,
      (message) => decodeEncryptedExtensions(message, all),
      decodeCertificateRequest,
      decodeCertificate,
      decodeCertificateVerify,
      decodeNewSessionTicket,
    ];
    const pair = new TlsPair().run();
    const samples = (['client', 'server'] as const).flatMap((from) =>
      (['initial', 'handshake', 'application'] as const).flatMap((at) => splitMessages(pair.sent(from, at))),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ minLength: 4, maxLength: 300 }),
          fc.tuple(fc.constantFrom(...samples), mutation).map(([data, change]) => mutate(data, change)),
        ),
        (message) => {
          for (const decode of decoders) {
            try {
              decode(message);
            } catch (error) {
              expect(error instanceof TlsAlert || error instanceof DecodeError).toBe(true);
            }
          }
          peekClientHello(message);
        },
      ),
      { numRuns: 500 },
    );
  });
});
