/**
 * TLS alerts (RFC 8446 §6): the only error that leaves this folder. In QUIC no alert record is sent; the number goes into
 * CONNECTION_CLOSE as 0x100 + alert (RFC 9001 §4.8).
 *
 * @module
 */

/** Names and numbers of RFC 8446 §6 and §B.2, and 120 of RFC 7301 §3.2. */
export const ALERTS = {
  close_notify: 0,
  unexpected_message: 10,
  bad_record_mac: 20,
  record_overflow: 22,
  handshake_failure: 40,
  bad_certificate: 42,
  unsupported_certificate: 43,
  certificate_revoked: 44,
  certificate_expired: 45,
  certificate_unknown: 46,
  illegal_parameter: 47,
  unknown_ca: 48,
  access_denied: 49,
  decode_error: 50,
  decrypt_error: 51,
  protocol_version: 70,
  insufficient_security: 71,
  internal_error: 80,
  inappropriate_fallback: 86,
  user_canceled: 90,
  missing_extension: 109,
  unsupported_extension: 110,
  unrecognized_name: 112,
  bad_certificate_status_response: 113,
  unknown_psk_identity: 115,
  certificate_required: 116,
  no_application_protocol: 120,
} as const;

export type AlertName = keyof typeof ALERTS;

/** The handshake cannot go on. */
export class TlsAlert extends Error {
  override readonly name = 'TlsAlert';
  /** Alert number, 0 to 255. */
  readonly alert: number;
  readonly alertName: AlertName;
  /** RFC 9001 asks for PROTOCOL_VIOLATION here instead of 0x100 + alert: §4.1.3, §4.4, §4.6.1, §8.4. */
  readonly protocolViolation: boolean;

  constructor(
    alertName: AlertName,
    message: string,
    options: { readonly cause?: unknown; readonly protocolViolation?: boolean } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.alert = ALERTS[alertName];
    this.alertName = alertName;
    this.protocolViolation = options.protocolViolation ?? false;
  }
}
