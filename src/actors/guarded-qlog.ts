/**
 * Between the engine, which logs what it sees, and the application, which takes it: that may throw, and is shown where paths
 * lead instead of mapped addresses.
 *
 * @module
 */
import { formatRemoteAddr } from '../base/remote-addr.ts';
import type { Addr } from '../base/socket-addr.ts';
import type { QlogFactory, QlogSink } from '../quic/qlog.ts';
import type { Log } from '../transport/log.ts';
import { NO_SOCKET_ADDR, type MappedAddrs } from './mapped-addrs.ts';

/** The application's factory made safe. The log of a connection ends when it throws; all else goes on. */
export function guardedQlog(factory: QlogFactory, mapped: MappedAddrs, log: Log): QlogFactory {
  return (name, side) => {
    let sink: QlogSink | undefined;
    const attempt = (step: () => void): void => {
      try {
        step();
      } catch (error) {
        sink = undefined;
        log.write('connection', () => `qlog ${name} ends: ${String(error)}`);
      }
    };
    attempt(() => (sink = factory(name, side)));
    return {
      write: (text) => attempt(() => sink?.write(text)),
      close: () => attempt(() => sink?.close()),
      describe: (addr) => describe(addr, mapped),
    };
  };
}

/** What qlog has no field for goes into one of ours. */
function describe(addr: Addr, mapped: MappedAddrs): object | undefined {
  if (addr === NO_SOCKET_ADDR) return {};
  const what = mapped.lookup(addr);
  if (what === undefined) return undefined;
  return { iroh_addr: what.type === 'endpoint' ? `endpoint:${what.id.toString()}` : formatRemoteAddr(what) };
}
