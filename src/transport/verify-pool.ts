/**
 * Ed25519 signatures checked by the threads that Node has for slow things (four, `UV_THREADPOOL_SIZE`), so that a server answers
 * others meanwhile: one check takes longer than all the rest of a request.
 *
 * @module
 */
import { verify } from 'node:crypto';
import { importPublicKey } from '../crypto/okp-keys.ts';
import { isStrictSignature } from '../crypto/strict-ed25519.ts';

/** The verdict of `ed25519Verify` (`crypto/signature.ts`), later. Never rejects. */
export function ed25519VerifyInPool(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (!isStrictSignature(publicKey, signature)) return Promise.resolve(false);
  return new Promise((resolve) => {
    try {
      const key = importPublicKey('Ed25519', publicKey);
      verify(null, message, key, signature, (error, isRight) => resolve(error === null && isRight));
    } catch {
      // As in `ed25519Verify`: some versions of OpenSSL complain at import.
      resolve(false);
    }
  });
}
