/**
 * Why an answer of a router is of no use. Any of it ends one question, and nothing else.
 *
 * @module
 */

/** What is wrong with an answer, or with there being none. */
export const PORT_MAP_FAULTS = [
  /** Ends before it is complete, or has a length that its kind cannot have. */
  'wrongLength',
  /** Longer, deeper or with more parts than a router has any reason for. */
  'tooLarge',
  /** Of another version of the protocol, or the router says that it knows ours not. */
  'wrongVersion',
  /** From somebody else than the gateway, or it sends us to somebody else. */
  'foreign',
  /** Answers what was not asked: another kind, port or nonce. */
  'unasked',
  /** No HTTP, no XML, no number, no address where there has to be one. */
  'malformed',
  /** A device without a service that maps ports. */
  'noService',
  /** The router understood, and says no. */
  'refused',
  /** An address, port or lifetime that nobody can use. */
  'unusable',
  /** No answer in time, or nobody there. */
  'silent',
] as const;

export type PortMapFault = (typeof PORT_MAP_FAULTS)[number];

/** A router's answer is of no use. */
export class PortMapError extends Error {
  override readonly name = 'PortMapError';
  readonly fault: PortMapFault;
  /** What the router gave as its reason: a result code (RFC 6886 §3.5, RFC 6887 §7.4), an HTTP status, or a UPnP error code. */
  readonly routerCode: number | undefined;

  constructor(fault: PortMapFault, message: string, routerCode?: number) {
    super(message);
    this.fault = fault;
    this.routerCode = routerCode;
  }
}
