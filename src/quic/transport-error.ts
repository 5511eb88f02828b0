/**
 * Transport errors: what goes into, and comes out of, CONNECTION_CLOSE 0x1c (RFC 9000 §20.1).
 *
 * @module
 */

/** Names and numbers: RFC 9000 §20.1, multipath draft §6 (last four). CRYPTO_ERROR is 0x100 + TLS alert. */
export const TRANSPORT_CODES = {
  NO_ERROR: 0x0,
  INTERNAL_ERROR: 0x1,
  CONNECTION_REFUSED: 0x2,
  FLOW_CONTROL_ERROR: 0x3,
  STREAM_LIMIT_ERROR: 0x4,
  STREAM_STATE_ERROR: 0x5,
  FINAL_SIZE_ERROR: 0x6,
  FRAME_ENCODING_ERROR: 0x7,
  TRANSPORT_PARAMETER_ERROR: 0x8,
  CONNECTION_ID_LIMIT_ERROR: 0x9,
  PROTOCOL_VIOLATION: 0xa,
  INVALID_TOKEN: 0xb,
  APPLICATION_ERROR: 0xc,
  CRYPTO_BUFFER_EXCEEDED: 0xd,
  KEY_UPDATE_ERROR: 0xe,
  AEAD_LIMIT_REACHED: 0xf,
  NO_VIABLE_PATH: 0x10,
  APPLICATION_ABANDON_PATH: 0x3e,
  PATH_RESOURCE_LIMIT_REACHED: 0x3e75,
  PATH_UNSTABLE_OR_POOR: 0x3e76,
  NO_CID_AVAILABLE_FOR_PATH: 0x3e77,
} as const;

export type TransportCodeName = keyof typeof TRANSPORT_CODES | 'CRYPTO_ERROR';

/** A protocol rule was broken by the peer, or this side could not go on. Closes the connection. */
export class TransportError extends Error {
  override readonly name = 'TransportError';
  readonly code: TransportCodeName;
  /** The number on the wire. */
  readonly wireCode: number;
  /** Type of the frame that caused it, 0 when none did. */
  readonly frameType: number;

  constructor(
    code: keyof typeof TRANSPORT_CODES | { readonly alert: number },
    message: string,
    options: { readonly frameType?: number; readonly cause?: unknown } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = typeof code === 'string' ? code : 'CRYPTO_ERROR';
    // RFC 9001 §4.8: 0x0100 plus the alert description.
    this.wireCode = typeof code === 'string' ? TRANSPORT_CODES[code] : 0x100 + code.alert;
    this.frameType = options.frameType ?? 0;
  }
}

/** The name of a wire code, or its hexadecimal form when unknown. */
export function transportCodeName(wireCode: bigint | number): string {
  const value = Number(wireCode);
  for (const [name, number] of Object.entries(TRANSPORT_CODES)) if (number === value) return name;
  return value >= 0x100 && value <= 0x1ff ? 'CRYPTO_ERROR' : `0x${value.toString(16)}`;
}
