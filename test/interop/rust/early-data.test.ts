/** Early data with real iroh, 0-RTT and 0.5-RTT, both roles. */
import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../../src/base/bytes.ts';
import type { Endpoint } from '../../../src/index.ts';
import type { Platform } from '../../../src/transport/platform.ts';
import { filtered } from './filtered-sockets.ts';
import { ask, askUs, connect, echoAll, eventually, useRustPeer } from './fixture.ts';
import { ALPN, WAIT, type RustConnection, type RustEndpoint } from './rust-peer.ts';

const rust = useRustPeer();
const LIMIT = 1 << 16;
const KEY = '07'.repeat(32);

/** A connection that ends after its session tickets have arrived. */
async function visit(dialler: 'we dial' | 'iroh dials', our: Endpoint, their: RustEndpoint): Promise<void> {
  const { ours, theirs } = await connect(dialler, our, their);
  await theirs.serve();
  expect(await ask(ours, 'first contact')).toBe('first contact');
  ours.close();
}

/** Sockets that tell whether a 0-RTT packet has arrived (RFC 9000 §17.2.3). */
function zeroRttWatch(): { platform: Platform; arrived: () => boolean } {
  let arrived = false;
  const platform = filtered((batch, deliver) => {
    arrived ||= batch.some(({ data }) => (data[0]! & 0xf0) === 0xd0);
    deliver(batch);
  });
  return { platform, arrived: () => arrived };
}

/** Sockets that can be made to keep what arrives for a while. */
function gatedSockets(): { platform: Platform; close: () => void; open: () => void } {
  let isClosed = false;
  const waiting: (() => void)[] = [];
  const platform = filtered((batch, deliver) => {
    if (isClosed) waiting.push(() => deliver(batch));
    else deliver(batch);
  });
  const open = (): void => {
    isClosed = false;
    for (const deliver of waiting.splice(0)) deliver();
  };
  return { platform, close: () => void (isClosed = true), open };
}

describe('we dial', () => {
  test('C01: first contact has no early data, and the handshake goes on', async () => {
    const our = await rust.our();
    const their = await rust.their();
    const accepted = their.accept();
    const connecting = our.dial(their.addr, ALPN);
    expect(await connecting.early()).toBeUndefined();
    expect((await connecting).alpnText).toBe(ALPN);
    await accepted;
  });

  test('C02: second contact: accepted, read by the server, the stream goes on', async () => {
    const { platform, close, open } = gatedSockets();
    const our = await rust.our({ platform });
    const their = await rust.their();
    await visit('we dial', our, their);

    // The server calls a stream early while its handshake goes on, so we must not hear its answer before it has looked.
    close();
    const accepted = their.accept({ early: true });
    const { connection, accepted: verdict } = (await our.dial(their.addr, ALPN).early())!;
    const { send, recv } = await connection.openBi();
    expect(send.is0Rtt).toBe(true);
    await send.write(utf8('early, '));
    const theirs = await accepted;
    const stream = await theirs.stream('acceptBi');
    expect(stream.isEarly).toBe(true);
    expect(await stream.read()).toBe('early, ');
    open();
    expect(await verdict).toBe(true);
    expect((await theirs.call('connected'))['remote']).toBe(our.id.toString());
    await send.write(utf8('and late'));
    send.finish();
    expect(await stream.readToEnd()).toBe('and late');
    await stream.write('answer');
    await stream.finish();
    expect(await recv.readToEnd(LIMIT, WAIT)).toEqual(utf8('answer'));
    // Tickets are used once, and there were two.
    connection.close();
    expect(await our.dial(their.addr, ALPN).early()).toBeDefined();
    await their.accept();
  });

  test('C04: the server lost its ticket keys: rejected, the connection is good, sent again', async () => {
    const our = await rust.our();
    const before = await rust.their({ secretKey: KEY });
    await visit('we dial', our, before);
    await before.call('closeEndpoint');
    const their = await rust.their({ secretKey: KEY });
    expect(their.id).toBe(before.id);

    const accepted = their.accept();
    const { connection, accepted: verdict } = (await our.dial(their.addr, ALPN).early())!;
    const { send, recv } = await connection.openBi();
    await send.write(utf8('early'));
    connection.sendDatagram(utf8('early datagram'));
    expect(await verdict).toBe(false);
    await expect(send.write(utf8('x'))).rejects.toMatchObject({ code: 'WriteError.ZeroRttRejected' });
    await expect(recv.read()).rejects.toMatchObject({ code: 'ReadError.ZeroRttRejected' });
    const theirs = await accepted;
    await theirs.serve();
    expect(await ask(connection, 'again')).toBe('again');
  });

  test('C06: the server writes before the handshake is complete (0.5-RTT)', async () => {
    const our = await rust.our();
    const their = await rust.their();
    const dialled = our.connect(their.addr, ALPN, WAIT);
    const theirs = await their.accept({ early: true });
    const stream = await theirs.stream('openUni');
    await stream.write('before you said who you are');
    await stream.finish();
    const ours = await dialled;
    const recv = await ours.acceptUni(WAIT);
    expect(await recv.readToEnd(LIMIT, WAIT)).toEqual(utf8('before you said who you are'));
    expect((await theirs.call('connected'))['remote']).toBe(our.id.toString());
  });
});

describe('iroh dials', () => {
  /** Its early stream, with some bytes on it. */
  async function dialEarly(our: Endpoint, their: RustEndpoint): Promise<RustConnection> {
    const theirs = await their.dial(our, {}, 'early');
    expect(theirs.facts['early']).toBe(true);
    return theirs;
  }

  test('C01: first contact has no early data, and the handshake goes on', async () => {
    const our = await rust.our();
    const their = await rust.their();
    const dialled = their.dial(our, {}, 'early');
    const ours = await (await our.accept(WAIT))!.accept();
    expect((await dialled).facts).toMatchObject({ early: false, alpn: ALPN });
    expect(ours.remoteId.toString()).toBe(their.id);
  });

  test('C02: second contact: we accept, read it, and the stream goes on', async () => {
    const { platform, arrived } = zeroRttWatch();
    const our = await rust.our({ platform });
    const their = await rust.their();
    await visit('iroh dials', our, their);

    const theirs = await dialEarly(our, their);
    const stream = await theirs.stream('openBi');
    await stream.write('early, ');
    // It is paced after the Initial; accepted too soon, it would come under 1-RTT keys.
    await eventually(arrived);
    const accepting = (await our.accept(WAIT))!.accept();
    const ours = accepting.early();
    const { send, recv } = await ours.acceptBi(WAIT);
    expect(recv.is0Rtt).toBe(true);
    expect(await recv.readExact(7, WAIT)).toEqual(utf8('early, '));
    expect(await theirs.call('connected')).toMatchObject({ status: 'accepted', remote: our.id.toString() });
    expect((await accepting).remoteId.toString()).toBe(their.id);
    await stream.write('and late');
    await stream.finish();
    expect(await recv.readToEnd(LIMIT, WAIT)).toEqual(utf8('and late'));
    await send.write(utf8('answer'));
    send.finish();
    expect(await stream.readToEnd()).toBe('answer');
  });

  test('C04: we restarted and lost our tickets: rejected, the connection is good, sent again', async () => {
    const before = await rust.our();
    const { secretKey } = before;
    const their = await rust.their();
    await visit('iroh dials', before, their);
    await before.close();
    const our = await rust.our({ secretKey });

    const theirs = await dialEarly(our, their);
    const stream = await theirs.stream('openBi');
    await stream.write('early');
    const ours = await (await our.accept(WAIT))!.accept();
    expect(await theirs.call('connected')).toMatchObject({ status: 'rejected' });
    await expect(stream.write('x')).rejects.toMatchObject({ kind: 'zeroRttRejected' });
    await expect(stream.read()).rejects.toMatchObject({ kind: 'zeroRttRejected' });
    void echoAll(ours);
    expect(await askUs(theirs, 'again')).toBe('again');
  });

  test('C06: we write before the handshake is complete (0.5-RTT)', async () => {
    const our = await rust.our();
    const their = await rust.their();
    const dialled = their.dial(our);
    const accepting = (await our.accept(WAIT))!.accept();
    const ours = accepting.early();
    expect(() => ours.remoteId).toThrow('not authenticated yet');
    const send = await ours.openUni();
    await send.write(utf8('before you said who you are'));
    send.finish();
    const theirs = await dialled;
    expect(await (await theirs.stream('acceptUni')).readToEnd()).toBe('before you said who you are');
    await accepting;
    expect(ours.remoteId.toString()).toBe(their.id);
  });
});
