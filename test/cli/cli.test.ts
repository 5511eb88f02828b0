/** The built command line, as child processes. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Endpoint, EndpointAddr, parseAddr, SecretKey } from '../../src/index.ts';
import { RelayServer } from '../../src/relay-server.ts';
import { endPrograms, irohTs, ticketOf, type Program } from '../support/program.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'iroh-ts-cli-'));
});

afterEach(async () => {
  await endPrograms();
  rmSync(folder, { recursive: true, force: true });
});

/** A command that contacts nobody but the other side. */
const local = (args: readonly string[], options?: Parameters<typeof irohTs>[1]): Program =>
  irohTs([...args, '--no-relay'], options);

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('pipes', () => {
  test('stdin and stdout of both sides are joined, and both end when both have said all', async () => {
    const there = randomBytes(3_000_000);
    const back = randomBytes(2_000_000);
    const listener = local(['listen']);
    const dialler = local(['connect', await ticketOf(listener)]);
    dialler.process.stdin.end(there);
    listener.process.stdin.end(back);
    expect([(await listener.ended()).code, (await dialler.ended()).code]).toEqual([0, 0]);
    expect(sha256(listener.stdout)).toBe(sha256(there));
    expect(sha256(dialler.stdout)).toBe(sha256(back));
  });

  test('words go through while both sides stay open', async () => {
    const listener = local(['listen']);
    const dialler = local(['connect', await ticketOf(listener)]);
    dialler.process.stdin.write('ping\n');
    await listener.says(/^ping$/m);
    listener.process.stdin.write('pong\n');
    await dialler.says(/^pong$/m);
    dialler.process.stdin.end();
    listener.process.stdin.end();
    expect([(await listener.ended()).code, (await dialler.ended()).code]).toEqual([0, 0]);
  });

  test('the protocol is that of dumbpipe: ALPN DUMBPIPEV0, the dialler opens a stream and says hello', async () => {
    const endpoint = await Endpoint.bind({ preset: 'minimal', alpns: ['DUMBPIPEV0'] });
    const dialler = local(['connect', endpoint.addr.toTicket()]);
    const connection = await (await endpoint.accept())!.accept();
    const { send, recv } = await connection.acceptBi();
    dialler.process.stdin.end(', world');
    expect(new TextDecoder().decode(await recv.readToEnd(100))).toBe('hello, world');
    await send.write(new TextEncoder().encode('bye'));
    send.finish();
    expect(await dialler.ended()).toMatchObject({ code: 0, stdout: 'bye' });
    await endpoint.close();
  });

  test('a dialler that goes away ends the listener, whose stdin is still open', async () => {
    const listener = local(['listen']);
    const dialler = local(['connect', await ticketOf(listener)]);
    dialler.process.stdin.write('hi\n');
    await listener.says(/^hi$/m);
    dialler.kill('SIGINT');
    expect((await dialler.ended()).code).toBe(130);
    expect((await listener.ended()).code).toBe(0);
  });
});

describe('TCP', () => {
  test('connections are forwarded to a server and back, several at a time, half-closed properly', async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      // Answers only once the client has said everything: the end must come through, too.
      const heard: Buffer[] = [];
      socket.on('data', (data) => heard.push(data));
      socket.on('end', () => socket.end(sha256(Buffer.concat(heard))));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const listener = local(['listen-tcp', '--host', `127.0.0.1:${port}`]);
    const dialler = local(['connect-tcp', '--addr', '127.0.0.1:0', await ticketOf(listener)]);
    const forwarded = Number((await dialler.says(/listening on 127\.0\.0\.1:(\d+)/))[1]);
    const ask = async (bytes: Uint8Array): Promise<string> => {
      const socket = connect({ port: forwarded, host: '127.0.0.1', allowHalfOpen: true });
      socket.end(bytes);
      let answer = '';
      for await (const chunk of socket) answer += String(chunk);
      return answer;
    };
    const questions = [1, 100_000, 1_000_000].map((size) => randomBytes(size));
    expect(await Promise.all(questions.map(ask))).toEqual(questions.map(sha256));
    dialler.kill('SIGINT');
    listener.kill('SIGINT');
    expect([(await dialler.ended()).code, (await listener.ended()).code]).toEqual([130, 130]);
    server.close();
  });

  test('a server that is not there closes the connection and is reported', async () => {
    const listener = local(['listen-tcp', '--host', '127.0.0.1:1']);
    const dialler = local(['connect-tcp', '--addr', '127.0.0.1:0', await ticketOf(listener)]);
    const forwarded = Number((await dialler.says(/listening on 127\.0\.0\.1:(\d+)/))[1]);
    const socket = connect({ port: forwarded, host: '127.0.0.1' });
    socket.on('error', () => undefined);
    await once(socket, 'close');
    await listener.says(/ECONNREFUSED/);
  });
});

describe('files', () => {
  test.each([
    ['of 5 MB', 5_000_000],
    ['that is empty', 0],
  ])('a file %s arrives with its name, its bytes and its checksum', async (_what, size) => {
    const bytes = randomBytes(size);
    const source = join(folder, 'holiday.jpg');
    writeFileSync(source, bytes);
    const target = mkdtempSync(join(folder, 'target-'));
    const sender = local(['send', source]);
    const receiver = local(['recv', await ticketOf(sender)], { cwd: target });
    const received = await receiver.ended();
    const sent = await sender.ended();
    expect([received.stderr, received.code, sent.code]).toEqual(['', 0, 0]);
    expect(readdirSync(target)).toEqual(['holiday.jpg']);
    expect(sha256(readFileSync(join(target, 'holiday.jpg')))).toBe(sha256(bytes));
    expect(received.stdout).toContain(`sha256 ${sha256(bytes)}`);
    expect(sent.stdout).toContain(`sha256 ${sha256(bytes)}`);
  });

  test('an existing file stays as it is, unless forced', async () => {
    const source = join(folder, 'a.txt');
    writeFileSync(source, 'new');
    const output = join(folder, 'b.txt');
    writeFileSync(output, 'old');
    const sender = local(['send', source]);
    const receiver = local(['recv', '--output', output, await ticketOf(sender)]);
    expect(await receiver.ended()).toMatchObject({
      code: 1,
      stderr: `iroh-ts: ${output} exists; choose another --output, or --force\n`,
    });
    expect((await sender.ended()).code).toBe(1);
    expect(readFileSync(output, 'utf8')).toBe('old');
    const again = local(['send', source]);
    const forced = local(['recv', '--force', '--output', output, await ticketOf(again)]);
    expect((await forced.ended()).code).toBe(0);
    expect(readFileSync(output, 'utf8')).toBe('new');
  });

  test('a sender cannot choose folders', async () => {
    const endpoint = await Endpoint.bind({ preset: 'minimal', alpns: ['iroh-ts/file/0'] });
    const target = mkdtempSync(join(folder, 'target-'));
    const receiver = local(['recv', endpoint.addr.toTicket()], { cwd: target });
    const connection = await (await endpoint.accept())!.accept();
    const { send } = await connection.acceptBi();
    const hash = createHash('sha256').update('x').digest();
    await send.write(Buffer.from(`${JSON.stringify({ name: '../../evil', size: 1 })}\nx`));
    await send.write(hash);
    send.finish();
    expect((await receiver.ended()).code).toBe(0);
    expect(readdirSync(target)).toEqual(['evil']);
    await endpoint.close();
  });

  test.each([
    ['a file that is cut short', { name: 'f', size: 3 }, 'ab', 'the file is cut short'],
    [
      'a checksum that is wrong',
      { name: 'f', size: 1 },
      `x${'\0'.repeat(32)}`,
      'the checksum does not match',
    ],
    [
      'a file that is longer than announced',
      { name: 'f', size: 1 },
      'x'.repeat(100),
      'the file is longer than announced',
    ],
    ['another protocol', { what: 'else' }, '', 'the sender speaks another protocol'],
  ])('%s leaves nothing behind', async (_what, header, body, complaint) => {
    const endpoint = await Endpoint.bind({ preset: 'minimal', alpns: ['iroh-ts/file/0'] });
    const target = mkdtempSync(join(folder, 'target-'));
    const receiver = local(['recv', endpoint.addr.toTicket()], { cwd: target });
    const connection = await (await endpoint.accept())!.accept();
    const { send } = await connection.acceptBi();
    await send.write(Buffer.from(`${JSON.stringify(header)}\n${body}`));
    send.finish();
    expect(await receiver.ended()).toMatchObject({ code: 1, stderr: `iroh-ts: ${complaint}\n` });
    expect(readdirSync(target)).toEqual([]);
    await endpoint.close();
  });
});

describe('relays', () => {
  let relay: RelayServer;

  beforeEach(async () => {
    relay = await RelayServer.listen();
  });

  afterEach(() => relay.close());

  /** A ticket of the same endpoint that names its relays only. */
  const relayedPart = (ticket: string): string => {
    const { id, addrs } = EndpointAddr.fromTicket(ticket);
    return new EndpointAddr(
      id,
      addrs.filter(({ type }) => type === 'relay'),
    ).toTicket();
  };

  test('a ticket names the relay, and who dials needs no option to use it', async () => {
    const bytes = randomBytes(500_000);
    const source = join(folder, 'holiday.jpg');
    writeFileSync(source, bytes);
    const sender = irohTs(['send', source, '--relay', relay.url.href]);
    const ticket = await ticketOf(sender);
    expect(EndpointAddr.fromTicket(ticket).relays).toEqual([relay.url]);
    expect(EndpointAddr.fromTicket(ticket).ips.length).toBeGreaterThan(0);
    const receiver = irohTs(['recv', '--output', join(folder, 'copy'), relayedPart(ticket)]);
    const received = await receiver.ended();
    expect([received.stderr, received.code, (await sender.ended()).code]).toEqual(['', 0, 0]);
    expect(sha256(readFileSync(join(folder, 'copy')))).toBe(sha256(bytes));
  });

  test('a ticket that names nothing but a relay is of no use without relays', async () => {
    const listener = irohTs(['listen', '--relay', relay.url.href]);
    const ticket = relayedPart(await ticketOf(listener));
    const { code, stderr } = await local(['connect', ticket]).ended();
    expect([code, stderr]).toEqual([
      1,
      'iroh-ts: this ticket has a relay only, and --no-relay says not to use it\n',
    ]);
  });

  test('a relay that does not answer is told, and the ticket has what there is', async () => {
    const { href } = relay.url;
    await relay.close();
    const listener = irohTs(['listen', '--relay', href]);
    const ticket = await ticketOf(listener);
    expect(listener.stderr).toContain(
      'no relay answers: the ticket has the addresses of this machine only\n',
    );
    const dialler = irohTs(['connect', ticket]);
    dialler.process.stdin.end('hi');
    listener.process.stdin.end();
    expect([(await dialler.ended()).code, (await listener.ended()).stdout]).toEqual([0, 'hi']);
  });

  test('a URL that is none', async () => {
    const { code, stderr } = await irohTs(['listen', '--relay', 'relay.example']).ended();
    expect([code, stderr]).toEqual([
      1,
      'iroh-ts: relay.example is no URL of a relay; one looks like https://relay.example\n',
    ]);
  });

  test('Ctrl-C while a relay is waited for ends at once', async () => {
    // Takes connections, and never answers.
    const silent = createServer();
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const connected = once(silent, 'connection');
    const { port } = silent.address() as AddressInfo;
    const listener = irohTs(['listen', '--relay', `http://127.0.0.1:${port}`]);
    await connected;
    listener.kill('SIGINT');
    expect(await listener.ended()).toMatchObject({ code: 130, stderr: '' });
    silent.close();
  });
});

describe('keys', () => {
  test('--key makes a file for its owner only, and uses it again', async () => {
    const key = join(folder, 'key');
    const ids: string[] = [];
    for (let i = 0; i < 2; i++) {
      const listener = local(['listen', '--key', key]);
      ids.push(EndpointAddr.fromTicket(await ticketOf(listener)).id.toString());
      listener.kill('SIGINT');
      expect((await listener.ended()).code).toBe(130);
    }
    expect(ids[0]).toBe(SecretKey.parse(readFileSync(key, 'utf8').trim()).publicKey.toString());
    expect(ids[1]).toBe(ids[0]);
    if (process.platform !== 'win32') expect(statSync(key).mode & 0o777).toBe(0o600);
  });

  test('IROH_SECRET is the key, and never printed', async () => {
    const secret = SecretKey.generate();
    const text = Buffer.from(secret.toBytes()).toString('hex');
    const listener = local(['listen'], { env: { IROH_SECRET: text } });
    expect(EndpointAddr.fromTicket(await ticketOf(listener)).id.equals(secret.publicKey)).toBe(true);
    listener.kill('SIGTERM');
    const { code, stdout, stderr } = await listener.ended();
    expect(code).toBe(143);
    expect(`${stdout}${stderr}`).not.toContain(text);
  });

  test('a bad key is told without being shown', async () => {
    const { code, stderr } = await local(['listen'], { env: { IROH_SECRET: 'hunter2' } }).ended();
    expect([code, stderr]).toEqual([
      1,
      'iroh-ts: IROH_SECRET holds no secret key (64 hex characters, or base32)\n',
    ]);
  });
});

describe('what a person sees', () => {
  test.each([['connect'], ['recv'], ['ticket'], ['connect-tcp', '--addr', '127.0.0.1:0']])(
    'a wrong ticket for %s',
    async (...args) => {
      const { code, stdout, stderr } = await irohTs([...args, 'endpointabc']).ended();
      expect([code, stdout, stderr]).toEqual([
        1,
        '',
        'iroh-ts: this is no ticket; a ticket is the long word that the other side printed\n',
      ]);
    },
  );

  test('a ticket of somebody who is not there', async () => {
    const gone = await Endpoint.bind({ preset: 'minimal', bind: ['127.0.0.1:0'] });
    const [addr] = gone.boundSockets;
    await gone.close();
    const ticket = new EndpointAddr(gone.id, [{ type: 'ip', addr: addr! }]).toTicket();
    const { code, stderr } = await local(['connect', ticket]).ended();
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^iroh-ts: no answer from [0-9a-f]{10} at 127\.0\.0\.1:\d+ in 10 s; is it still listening\?\n$/,
    );
  });

  test('a ticket of somebody else who listens there', async () => {
    const other = await Endpoint.bind({ preset: 'minimal', bind: ['127.0.0.1:0'], alpns: ['DUMBPIPEV0'] });
    const answering = (async () => {
      for await (const incoming of other.incoming()) await incoming.accept().connected.catch(() => undefined);
    })();
    const ticket = new EndpointAddr(SecretKey.generate().publicKey, [
      { type: 'ip', addr: parseAddr(`127.0.0.1:${other.boundSockets[0]!.port}`) },
    ]).toTicket();
    const { code, stderr } = await local(['connect', ticket]).ended();
    expect(code).toBe(1);
    expect(stderr).toMatch(/^iroh-ts: somebody answered at that address, but it is not [0-9a-f]{10}\n$/);
    await other.close();
    await answering;
  });

  test('an id alone', async () => {
    const id = SecretKey.generate().publicKey.toString();
    const { code, stderr } = await local(['connect', id]).ended();
    expect([code, stderr]).toEqual([
      1,
      'iroh-ts: this is an id without an address, which is looked up only without --relay and --no-relay\n',
    ]);
  });

  test('ticket shows what is in one', async () => {
    const id = SecretKey.generate().publicKey;
    const addr = new EndpointAddr(id, [{ type: 'ip', addr: parseAddr('192.0.2.7:4433') }]);
    const { code, stdout } = await irohTs(['ticket', addr.toTicket()]).ended();
    expect([code, stdout]).toEqual([0, `endpoint id  ${id.toString()}\nip           192.0.2.7:4433\n`]);
  });

  test('wrong usage ends with 2 and says where help is', async () => {
    expect(await irohTs(['bogus']).ended()).toMatchObject({
      code: 2,
      stderr: "iroh-ts: unknown command 'bogus'\nRun 'iroh-ts --help' for help.\n",
    });
    expect((await irohTs(['recv']).ended()).code).toBe(2);
    expect((await irohTs(['listen-tcp']).ended()).code).toBe(2);
  });

  test('help fits on a screen and names every command', async () => {
    const { code, stdout } = await irohTs([]).ended();
    expect(code).toBe(0);
    expect(stdout).toBe((await irohTs(['--help']).ended()).stdout);
    const lines = stdout.split('\n');
    expect(lines.length).toBeLessThan(40);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    for (const name of ['listen', 'connect', 'listen-tcp', 'connect-tcp', 'send', 'recv', 'ticket'])
      expect(stdout).toMatch(new RegExp(`^  ${name} +\\w`, 'm'));
  });

  test('Ctrl-C ends a listener', async () => {
    const listener = local(['listen']);
    await ticketOf(listener);
    listener.kill('SIGINT');
    expect(await listener.ended()).toMatchObject({ code: 130, stdout: '' });
  });
});
