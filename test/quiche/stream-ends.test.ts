/**
 * FIN that comes alone, after the bytes: quiche 0.18 forgets a stream when its bytes are acknowledged, with a FIN that it has not
 * sent yet, or that was lost.
 */
import { expect, test } from '@jest/globals';
import type { Transmit } from '../../src/quic/engine.ts';
import { SimRng } from '../support/sim-rng.ts';
import { EngineLink } from './engine-link.ts';

const NO_BYTES = new Uint8Array(0);

/** What the server has to say, kept back. */
function answersOf(link: EngineLink): Transmit[] {
  const out: Transmit[] = [];
  link.server.engine.handleTimeout(link.now);
  link.server.engine.pollTransmits(out, 256, link.now);
  const copies = out.map((each) => ({ ...each, data: Uint8Array.from(each.data) }));
  link.server.engine.releaseTransmits();
  return copies;
}

function deliver(link: EngineLink, answers: readonly Transmit[]): void {
  const { client, server } = link;
  const batch = answers.map(({ data }) => ({ from: server.addr, local: client.addr, data }));
  client.engine.handleDatagrams(batch, link.now);
  client.pump();
}

/** A stream whose first bytes have arrived, and the acknowledgment that waits. */
function written(link: EngineLink) {
  const { ours, theirs } = link.connect();
  const id = ours.open('uni');
  ours.send(id, new Uint8Array([1, 2, 3]), { fin: false });
  const answers: Transmit[] = [];
  const { wire } = link;
  // Nothing of the server arrives, but it is kept.
  link.cut = (to) => to === link.client.addr;
  const before = link.sent.length;
  link.run(() => theirs.received(id) === 3, 'bytes');
  link.run(() => {
    answers.push(...link.sent.slice(before).filter(({ to }) => to === link.client.addr));
    return answers.length > 0;
  }, 'the acknowledgment');
  answers.push(...answersOf(link));
  link.cut = () => false;
  link.wire = wire;
  return { ours, theirs, id, answers };
}

test.each(['quiche', 'ours'] as const)('acknowledged between finish and flush: server %s', (server) => {
  const link = new EngineLink({ server });
  const { ours, theirs, id, answers } = written(link);
  ours.send(id, NO_BYTES);
  deliver(link, answers);
  link.run(() => theirs.isFinished(id), 'FIN');
  link.run(() => ours.has('streamFinished'), 'all acknowledged');
});

test.each(['quiche', 'ours'] as const)('the packet of FIN is lost: server %s', (server) => {
  const link = new EngineLink({ server });
  const { ours, theirs, id, answers } = written(link);
  ours.send(id, NO_BYTES);
  let lost = 0;
  link.cut = (to) => to === link.server.addr && lost++ === 0;
  link.step();
  expect(lost).toBeGreaterThan(0);
  deliver(link, answers);
  link.run(() => theirs.isFinished(id), 'FIN');
  link.run(() => ours.has('streamFinished'), 'all acknowledged');
});

test.each([1, 2, 3, 4, 5])('many ends on a wire that changes the order: seed %d', (seed) => {
  const link = new EngineLink({ seed });
  const { ours, theirs } = link.connect();
  const rng = new SimRng(seed);
  link.wire = () => [rng.chance(0.3) ? rng.between(1, 8) : 0];
  const ids = Array.from({ length: 50 }, () => ours.open('uni'));
  for (const id of ids) {
    ours.send(id, rng.bytes(rng.between(1, 3_000)), { fin: false });
    for (let steps = rng.between(0, 6); steps > 0; steps--) link.step();
    ours.send(id, NO_BYTES);
  }
  link.run(() => ids.every((id) => theirs.isFinished(id)), 'all ends');
  link.run(() => ours.count('streamFinished') === ids.length, 'all acknowledged');
});

test('while another stream fills the congestion window', () => {
  const link = new EngineLink();
  const { ours, theirs } = link.connect();
  const rng = new SimRng(1);
  // Losses keep the congestion window below the windows of flow control; a FIN alone is a small packet.
  link.wire = (data) => (data.length > 1_000 && rng.chance(0.02) ? [] : [5]);
  const bulk = ours.open('uni');
  ours.send(bulk, new Uint8Array(16 * 1_024 * 1_024), { fin: false });
  link.run(() => theirs.received(bulk) > 1_024 * 1_024, 'the first MiB');
  const id = ours.open('uni');
  ours.send(id, new Uint8Array([1, 2, 3]), { fin: false });
  link.run(() => theirs.received(id) === 3, 'bytes');
  const before = theirs.received(bulk);
  ours.send(id, NO_BYTES);
  link.run(() => theirs.isFinished(id), 'FIN');
  // Long before the other stream has nothing more to send, on however busy a machine.
  expect(theirs.received(bulk) - before).toBeLessThan(4 * 1_024 * 1_024);
});
