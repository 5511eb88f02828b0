/**
 * Real sockets that keep or lose what passes through them.
 *
 * @module
 */
import { systemPlatform } from '#transport/system-platform';
import type { Datagram } from '../../../src/quic/engine.ts';
import type { Platform } from '../../../src/transport/platform.ts';

type Batch = readonly Datagram[];

/** The system's sockets; what arrives passes through `filter`, which hands it on. */
export function filtered(filter: (batch: Batch, deliver: (batch: Batch) => void) => void): Platform {
  return {
    ...systemPlatform,
    bindUdp: async (request) => {
      const socket = await systemPlatform.bindUdp!(request);
      return Object.defineProperty(socket, 'onDatagrams', {
        set(handler: (batch: Batch) => void) {
          Object.defineProperty(socket, 'onDatagrams', {
            value: (batch: Batch) => filter(batch, handler),
          });
        },
        configurable: true,
      });
    },
  };
}

/** The system's sockets, which lose all that comes and all that goes from `cut` to `mend`. */
export function cuttable(): { platform: Platform; cut: () => void; mend: () => void } {
  let isCut = false;
  const platform = filtered((batch, deliver) => {
    if (!isCut) deliver(batch);
  });
  return {
    platform: {
      ...platform,
      bindUdp: async (request) => {
        const socket = await platform.bindUdp!(request);
        const send = socket.send.bind(socket);
        socket.send = (batch, from, to) => {
          if (!isCut) send(batch, from, to);
        };
        return socket;
      },
    },
    cut: () => void (isCut = true),
    mend: () => void (isCut = false),
  };
}
