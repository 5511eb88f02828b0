/** Looking up hosts and TXT records with the system's resolver; names and servers that need no network. */
import { createSocket, type Socket } from 'node:dgram';
import { afterEach, expect, test } from '@jest/globals';
import dnsPacket from 'dns-packet';
import { fromUtf8 } from '../../../src/base/bytes.ts';
import { resolveHost, resolveTxt } from '../../../src/transport/dns.ts';
import { SimWorld } from '../../support/sim-platform.ts';

const { signal } = new AbortController();

test('one family of a name, with and without the dot at its end', async () => {
  expect(await resolveHost('localhost', 4, signal)).toContain('127.0.0.1');
  expect(await resolveHost('localhost.', 4, signal)).toContain('127.0.0.1');
});

test('names that cannot be, and lookups that are given up', async () => {
  await expect(resolveHost('no such name', 4, signal)).rejects.toMatchObject({ code: expect.any(String) });
  const reason = new Error('enough');
  await expect(resolveHost('localhost', 4, AbortSignal.abort(reason))).rejects.toBe(reason);
  const abort = new AbortController();
  const found = resolveHost('localhost', 4, abort.signal);
  abort.abort(reason);
  await expect(found).rejects.toBe(reason);
});

test('the simulation answers from its table', async () => {
  const world = new SimWorld(1);
  world.dns.set('relay.test', ['10.0.0.1', 'fd00::1']);
  const { resolveDns } = world.platformOf(world.addHost('host', '10.0.0.2'));
  expect(await resolveDns!('relay.test.', 4, signal)).toEqual(['10.0.0.1']);
  expect(await resolveDns!('relay.test', 6, signal)).toEqual(['fd00::1']);
  expect(await resolveDns!('192.0.2.1', 4, signal)).toEqual(['192.0.2.1']);
  await expect(resolveDns!('192.0.2.1', 6, signal)).rejects.toMatchObject({ code: 'ENOTFOUND' });
});

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

/** A name server that answers a query with these packets. @returns its address */
async function serve(
  answer: (query: dnsPacket.DecodedPacket) => readonly dnsPacket.Packet[],
): Promise<string> {
  const socket = createSocket('udp4');
  sockets.push(socket);
  socket.on('message', (message, { port, address }) => {
    for (const packet of answer(dnsPacket.decode(message)))
      socket.send(dnsPacket.encode({ type: 'response', ...packet }), port, address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return `127.0.0.1:${socket.address().port}`;
}

const answerTo = (query: dnsPacket.DecodedPacket, ...strings: string[][]): dnsPacket.Packet => ({
  id: query.id!,
  questions: query.questions!,
  answers: strings.map((data) => ({ name: query.questions![0]!.name, type: 'TXT', ttl: 1, data })),
});

test('TXT records: strings joined, UTF-8 intact, whatever the name ends with', async () => {
  const asked: string[] = [];
  const servers = [
    await serve((query) => {
      asked.push(query.questions![0]!.name);
      return [answerTo(query, ['relay=', 'https://a.example/'], ['user-data=grüß dich'])];
    }),
  ];
  for (const name of ['_iroh.abc.example', '_iroh.abc.example.'])
    expect((await resolveTxt(name, { signal, servers })).map(fromUtf8)).toEqual([
      'relay=https://a.example/',
      'user-data=grüß dich',
    ]);
  expect(asked).toEqual(['_iroh.abc.example', '_iroh.abc.example']);
});

test('no such name and no such records are no records; other errors are errors', async () => {
  const answers: Record<string, Partial<dnsPacket.Packet>> = {
    'gone.example': { flags: 3 },
    'empty.example': {},
    'broken.example': { flags: 2 },
  };
  const servers = [await serve((query) => [{ ...answerTo(query), ...answers[query.questions![0]!.name] }])];
  expect(await resolveTxt('gone.example', { signal, servers })).toEqual([]);
  expect(await resolveTxt('empty.example', { signal, servers })).toEqual([]);
  await expect(resolveTxt('broken.example', { signal, servers })).rejects.toMatchObject({
    code: 'ESERVFAIL',
  });
});

test('answers to other questions are no answers', async () => {
  const servers = [
    await serve((query) => [
      { ...answerTo(query, ['spoofed']), id: query.id! ^ 1 },
      { ...answerTo(query, ['spoofed']), questions: [{ name: 'other.example', type: 'TXT' }] },
      answerTo(query, ['true']),
    ]),
  ];
  expect((await resolveTxt('a.example', { signal, servers })).map(fromUtf8)).toEqual(['true']);
});

test('a question to a silent server can be given up', async () => {
  const abort = new AbortController();
  const reason = new Error('enough');
  let asked: () => void;
  const isAsked = new Promise<void>((resolve) => (asked = resolve));
  const servers = [
    await serve(() => {
      asked();
      return [];
    }),
  ];
  const records = resolveTxt('a.example', { signal: abort.signal, servers });
  await isAsked;
  abort.abort(reason);
  await expect(records).rejects.toBe(reason);
  await expect(resolveTxt('a.example', { signal: AbortSignal.abort(reason), servers })).rejects.toBe(reason);
});
