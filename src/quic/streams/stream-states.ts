/**
 * The two halves of a stream as tables (RFC 9000 §3.1 and §3.2). Explicit like a statechart, free like a lookup;
 * test/unit/quic/streams/stream-states.test.ts snapshots them whole.
 *
 * @module
 */

export type SendState = 'send' | 'dataSent' | 'resetSent' | 'dataRecvd' | 'resetRecvd';
export type SendEvent = 'finish' | 'reset' | 'allAcked' | 'resetAcked';

/** Sending half, RFC 9000 §3.1 ("Ready" and "Send" are one here). No entry: not allowed, or without effect. */
export const sendTable: Record<SendState, Partial<Record<SendEvent, SendState>>> = {
  send: { finish: 'dataSent', reset: 'resetSent' },
  dataSent: { reset: 'resetSent', allAcked: 'dataRecvd' },
  resetSent: { resetAcked: 'resetRecvd' },
  dataRecvd: {},
  resetRecvd: {},
};

export type RecvState = 'recv' | 'sizeKnown' | 'dataRecvd' | 'resetRecvd' | 'dataRead' | 'resetRead';
export type RecvEvent = 'fin' | 'allData' | 'reset' | 'readAll' | 'readReset';

/** Receiving half, RFC 9000 §3.2. No entry: not allowed, or without effect. */
export const recvTable: Record<RecvState, Partial<Record<RecvEvent, RecvState>>> = {
  recv: { fin: 'sizeKnown', reset: 'resetRecvd' },
  sizeKnown: { allData: 'dataRecvd', reset: 'resetRecvd' },
  // RFC 9000 §3.2: a reset after all data arrived may be ignored.
  dataRecvd: { readAll: 'dataRead' },
  resetRecvd: { readReset: 'resetRead' },
  dataRead: {},
  resetRead: {},
};
