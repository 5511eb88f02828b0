/**
 * What a browser tells of the network: whether it has one, and when that changes. It shows no interfaces.
 *
 * @module
 */
import type { InterfaceState } from '../base/interface-state.ts';
import type { Platform } from './platform.ts';

type NetworkListener = (event: { readonly timeStamp: number }) => void;

/** The part of a page's or a worker's globals that is asked. What is missing is done without. */
export interface BrowserGlobals {
  readonly navigator?: { readonly onLine?: boolean } | undefined;
  addEventListener?(type: 'online' | 'offline', listener: NetworkListener): void;
  removeEventListener?(type: 'online' | 'offline', listener: NetworkListener): void;
}

/** A network that is another one each time the browser comes back to it. */
export function browserNetwork(
  globals: BrowserGlobals,
): Required<Pick<Platform, 'interfaceState' | 'onNetworkChange'>> {
  let name = 'browser';
  return {
    interfaceState: (): InterfaceState => ({
      interfaces: [],
      // Undefined where there is no such property, too: no reason to think that there is no network.
      defaultRoute: globals.navigator?.onLine === false ? undefined : name,
      isExpensive: false,
    }),
    onNetworkChange: (listener) => {
      // Going and coming back within a moment is a change; all who listen give it the same name.
      const cameBack: NetworkListener = ({ timeStamp }) => {
        name = `browser since ${timeStamp}`;
        listener();
      };
      const went: NetworkListener = () => listener();
      globals.addEventListener?.('online', cameBack);
      globals.addEventListener?.('offline', went);
      return () => {
        globals.removeEventListener?.('online', cameBack);
        globals.removeEventListener?.('offline', went);
      };
    },
  };
}
