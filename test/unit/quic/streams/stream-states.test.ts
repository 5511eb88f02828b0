import { describe, expect, test } from '@jest/globals';
import { RecvStream } from '../../../../src/quic/streams/recv-stream.ts';
import { SendStream } from '../../../../src/quic/streams/send-stream.ts';
import type {
  RecvEvent,
  RecvState,
  SendEvent,
  SendState,
} from '../../../../src/quic/streams/stream-states.ts';
import { TransportError } from '../../../../src/quic/transport-error.ts';

const SEND_STATES: readonly SendState[] = ['send', 'dataSent', 'resetSent', 'dataRecvd', 'resetRecvd'];
const SEND_EVENTS: readonly SendEvent[] = ['finish', 'reset', 'allAcked', 'resetAcked'];
const RECV_STATES: readonly RecvState[] = [
  'recv',
  'sizeKnown',
  'dataRecvd',
  'resetRecvd',
  'dataRead',
  'resetRead',
];
const RECV_EVENTS: readonly RecvEvent[] = ['fin', 'allData', 'reset', 'readAll', 'readReset'];

/** RFC 9000 figure 2, written again by hand: every state × every event; a dot where nothing happens. */
const SEND_TABLE = `
              finish     reset      allAcked   resetAcked
  send        dataSent   resetSent  .          .
  dataSent    .          resetSent  dataRecvd  .
  resetSent   .          .          .          resetRecvd
  dataRecvd   .          .          .          .
  resetRecvd  .          .          .          .`;

/** RFC 9000 figure 3. */
const RECV_TABLE = `
              fin        allData    reset       readAll   readReset
  recv        sizeKnown  .          resetRecvd  .         .
  sizeKnown   .          dataRecvd  resetRecvd  .         .
  dataRecvd   .          .          .           dataRead  .
  resetRecvd  .          .          .           .         resetRead
  dataRead    .          .          .           .         .
  resetRead   .          .          .           .         .`;

/** `[state, event, next]` of every cell. */
function cells(table: string): [string, string, string][] {
  const [head, ...rows] = table
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  return rows.flatMap(([state, ...next]) =>
    next.map((to, i): [string, string, string] => [state!, head![i]!, to]),
  );
}

describe('sending half (RFC 9000 §3.1)', () => {
  test('the table is whole', () => {
    expect(cells(SEND_TABLE)).toHaveLength(SEND_STATES.length * SEND_EVENTS.length);
  });

  test.each(cells(SEND_TABLE))('%s × %s → %s', (state, event, next) => {
    const stream = new SendStream(0, 0, false);
    stream.state = state as SendState;
    expect(stream.move(event as SendEvent)).toBe(next !== '.');
    expect(stream.state).toBe(next === '.' ? state : next);
  });

  test.each(SEND_STATES)('%s: what it still wants to send', (state) => {
    const stream = new SendStream(0, 0, false);
    stream.state = state;
    expect(stream.wantsSend).toBe(false);
    stream.finPending = true;
    expect(stream.wantsSend).toBe(state === 'send' || state === 'dataSent');
    expect(stream.isDone).toBe(state === 'dataRecvd' || state === 'resetRecvd');
  });

  test('is done when the last byte and the FIN are acknowledged, in any order', () => {
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 2, 0],
    ]) {
      const stream = new SendStream(0, 100, false);
      stream.buffer.write(new Uint8Array(20));
      stream.move('finish');
      const acks = [
        () => stream.onAcked(0, 10, false),
        () => stream.onAcked(10, 10, false),
        () => stream.onAcked(20, 0, true),
      ];
      expect(order.map((i) => acks[i]!())).toEqual([false, false, true]);
      expect(stream.state).toBe('dataRecvd');
    }
  });

  test('a lost FIN is sent again, unless another copy was acknowledged', () => {
    const stream = new SendStream(0, 100, false);
    stream.move('finish');
    stream.onLost(0, 0, true);
    expect(stream.finPending).toBe(true);
    stream.finPending = false;
    stream.onAcked(0, 0, true);
    stream.onLost(0, 0, true);
    expect(stream.finPending).toBe(false);
  });
});

describe('receiving half (RFC 9000 §3.2)', () => {
  test('the table is whole', () => {
    expect(cells(RECV_TABLE)).toHaveLength(RECV_STATES.length * RECV_EVENTS.length);
  });

  test.each(cells(RECV_TABLE))('%s × %s → %s', (state, event, next) => {
    const stream = new RecvStream(0, 0, false);
    stream.state = state as RecvState;
    expect(stream.move(event as RecvEvent)).toBe(next !== '.');
    expect(stream.state).toBe(next === '.' ? state : next);
  });

  test.each(RECV_STATES)('%s: whether credit is of use, and whether it is over', (state) => {
    const stream = new RecvStream(0, 0, false);
    stream.state = state;
    expect(stream.mayReceive).toBe(state === 'recv');
    expect(stream.isDone).toBe(state === 'dataRead' || state === 'resetRead');
    stream.stopCode = 1n;
    expect(stream.mayReceive).toBe(false);
    // Nobody reads a stopped stream: the peer's word is the end.
    expect(stream.isDone).toBe(state !== 'recv' && state !== 'sizeKnown');
  });
});

describe('final size and credit (RFC 9000 §4.1, §4.5)', () => {
  const codeOf = (action: () => unknown): string => {
    try {
      return String(action());
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      return error.code;
    }
  };
  /** Window 100; each step is `[end, isFinal]` and its outcome: bytes of growth, or the error. */
  test.each<[string, [number, boolean][], string[]]>([
    [
      'in order',
      [
        [10, false],
        [20, false],
        [20, true],
      ],
      ['10', '10', '0'],
    ],
    [
      'repeated',
      [
        [10, false],
        [10, false],
        [5, false],
      ],
      ['10', '0', '0'],
    ],
    [
      'data beyond the final size',
      [
        [10, true],
        [11, false],
      ],
      ['10', 'FINAL_SIZE_ERROR'],
    ],
    [
      'another final size',
      [
        [10, true],
        [9, true],
      ],
      ['10', 'FINAL_SIZE_ERROR'],
    ],
    [
      'the same final size again',
      [
        [10, true],
        [10, true],
        [3, false],
      ],
      ['10', '0', '0'],
    ],
    [
      'final size below what arrived',
      [
        [10, false],
        [9, true],
      ],
      ['10', 'FINAL_SIZE_ERROR'],
    ],
    ['up to the limit', [[100, true]], ['100']],
    ['beyond the limit', [[101, false]], ['FLOW_CONTROL_ERROR']],
    ['final size beyond the limit', [[101, true]], ['FLOW_CONTROL_ERROR']],
  ])('%s', (_, steps, outcomes) => {
    const stream = new RecvStream(0, 100, false);
    expect(steps.map(([end, isFinal]) => codeOf(() => stream.grow(end, isFinal)))).toEqual(outcomes);
  });
});
