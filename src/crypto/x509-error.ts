/**
 * Why a certificate, chain or private key was not accepted.
 *
 * @module
 */

export type X509ErrorCode =
  /** Malformed certificate or PEM, an empty or overlong chain. */
  | 'X509Error.BadCertificate'
  /** Private key of a kind that TLS 1.3 here does not sign with. */
  | 'X509Error.UnsupportedKey'
  /** Critical extension, algorithm or key size that is not accepted. */
  | 'X509Error.Unsupported'
  | 'X509Error.Expired'
  | 'X509Error.NotYetValid'
  /** The certificate is for other names. */
  | 'X509Error.WrongHost'
  /** Not for TLS servers, not for signatures, or an issuer that is no CA or exceeds its limits. */
  | 'X509Error.WrongPurpose'
  /** No path to a root. */
  | 'X509Error.UnknownIssuer'
  /** The issuer is there but did not sign this. */
  | 'X509Error.BadSignature'
  /** Browser build: certificates are not checked here, the platform does that for HTTPS. */
  | 'X509Error.Unavailable';

/** A certificate problem; the TLS layer turns it into an alert. */
export class X509Error extends Error {
  override readonly name = 'X509Error';
  readonly code: X509ErrorCode;

  constructor(code: X509ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }

  toJSON(): { name: string; code: X509ErrorCode; message: string } {
    return { name: this.name, code: this.code, message: this.message };
  }
}
