/** Hooks: their order, and what becomes of those that fail. */
import { describe, expect, test } from '@jest/globals';
import {
  rejectedAfterHandshake,
  rejectedBeforeConnect,
  runAfterHandshake,
  runBeforeConnect,
  type Hooks,
} from '../../../src/actors/hooks.ts';
import { utf8 } from '../../../src/base/bytes.ts';
import { EndpointAddr } from '../../../src/base/endpoint-addr.ts';
import { SecretKey } from '../../../src/crypto/keys.ts';
import { Log } from '../../../src/transport/log.ts';

const REMOTE = new EndpointAddr(SecretKey.fromBytes(new Uint8Array(32).fill(1)).publicKey);

describe('hooks', () => {
  test('B16 (hooks): asked in order, the first that rejects is the last; it sees the protocol', async () => {
    const asked: string[] = [];
    const hook = (name: string, refuses: string): Hooks<unknown> => ({
      beforeConnect: async (remote, alpn) => {
        expect(remote).toBe(REMOTE);
        await Promise.resolve();
        asked.push(name);
        return new TextDecoder().decode(alpn) === refuses ? 'reject' : 'accept';
      },
    });
    const hooks = [hook('first', 'x'), {}, hook('second', 'limited'), hook('third', 'limited')];
    const log = new Log();
    expect(await runBeforeConnect(hooks, REMOTE, utf8('limited'), log)).toEqual({ code: 0, reason: '' });
    expect(asked).toEqual(['first', 'second']);
    expect(await runBeforeConnect(hooks, REMOTE, utf8('free'), log)).toBeUndefined();
    expect(rejectedBeforeConnect()).toMatchObject({
      code: 'ConnectError.LocallyRejected',
      cause: { code: 'ConnectWithOptsError.LocallyRejected' },
    });
  });

  test('B17 (hooks): a rejection has a code and a reason; hooks that only watch accept', async () => {
    const infos: string[] = [];
    const hooks: Hooks<string>[] = [
      { afterHandshake: (info) => void infos.push(info) },
      { afterHandshake: () => ({ reject: { code: 403, reason: 'no' } }) },
    ];
    expect(await runAfterHandshake(hooks, 'info', new Log())).toEqual({ code: 403, reason: 'no' });
    expect(infos).toEqual(['info']);
    expect(await runAfterHandshake(hooks.slice(0, 1), 'info', new Log())).toBeUndefined();
    expect(rejectedAfterHandshake()).toMatchObject({
      code: 'ConnectError.LocallyRejected',
      cause: { code: 'ConnectingError.LocallyRejected' },
    });
  });

  test.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('broken');
      },
    ],
    ['rejects its promise', () => Promise.reject(new Error('broken'))],
    ['returns no verdict', () => true],
    ['returns a code that is none', () => ({ reject: { code: -1 } })],
  ])('a hook that %s refuses, and is reported', async (_, afterHandshake) => {
    const lines: string[] = [];
    const log = new Log({ debug: (line) => void lines.push(line) });
    const hooks = [{ afterHandshake } as Hooks<string>];
    expect(await runAfterHandshake(hooks, 'info', log)).toEqual({ code: 0, reason: '' });
    expect(lines).toEqual([
      expect.stringMatching(/^iroh:hooks afterHandshake failed: (broken|not a verdict)$/),
    ]);
  });
});
