/** The quiche engine and real iroh: neither takes the other's proof of its key, and whoever dials hears so. */
import { expect, test } from '@jest/globals';
import { quicheEngine } from '../../src/quiche.ts';
import { failure } from '../support/endpoints.ts';
import {
  acceptNative,
  addrOf,
  ALPN,
  nativeAddrOf,
  nativeBytes,
  nativeMessage,
  WAIT,
  withEndpoints,
} from './native.ts';

const options = { our: { engine: quicheEngine() } };

test('an endpoint with the quiche engine dials iroh: a typed error says why, and what to use instead', () =>
  withEndpoints(async (our, their) => {
    expect(our.capabilities.rawPublicKeys).toBe(false);
    acceptNative(their).catch(() => undefined);
    const error = await failure(our.connect(addrOf(their), ALPN, WAIT));
    expect(error).toMatchObject({
      name: 'ConnectError',
      code: 'ConnectError.CertificateType',
      cause: {
        code: 'ConnectingError.HandshakeFailure',
        cause: { code: 'ConnectionError.ConnectionClosed' },
      },
    });
    expect(error.message).toMatch(/raw public keys only.*as iroh does.*use the default engine/);
  }, options));

test('iroh dials an endpoint with the quiche engine: it is refused, and the endpoint goes on', () =>
  withEndpoints(async (our, their) => {
    const accepting = failure(our.accept(WAIT).then((incoming) => incoming!.accept().connected));
    const refusal = nativeMessage(await failure(their.connect(nativeAddrOf(our), nativeBytes(ALPN))));
    expect([refusal, (await accepting).code]).toEqual([
      expect.stringContaining('ConnectError::Connecting'),
      expect.stringMatching(/^ConnectionError\./),
    ]);
    expect(our.state).toBe('open');
  }, options));
