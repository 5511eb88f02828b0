/**
 * Whether two looks at a host's network differ, and how much: rules of upstream's `netwatch/src/interfaces.rs`.
 *
 * @module
 */
import {
  hasFamily,
  scopeOf,
  type InterfaceState,
  type InterfacePrefix,
  type NetworkInterface,
} from '../base/interface-state.ts';

/** After a `major` change sockets are bound anew and paths are suspect; after a `minor` one they are looked at. */
export type NetworkChange = 'none' | 'minor' | 'major';

/** Interfaces of Apple's own traffic between devices (AirDrop and the like): they come and go all the time. */
const IGNORED_INTERFACES = /^(?:llw|awdl|ipsec)\d*$/;

/** What has changed between two looks. */
export function compareNetworks(before: InterfaceState, after: InterfaceState): NetworkChange {
  if (isMajor(before, after)) return 'major';
  return networkKey(before) === networkKey(after) ? 'none' : 'minor';
}

function isMajor(before: InterfaceState, after: InterfaceState): boolean {
  return (
    hasFamily(before, 4) !== hasFamily(after, 4) ||
    hasFamily(before, 6) !== hasFamily(after, 6) ||
    before.isExpensive !== after.isExpensive ||
    before.defaultRoute !== after.defaultRoute ||
    JSON.stringify(relevant(before)) !== JSON.stringify(relevant(after))
  );
}

/** The interfaces that matter, with the addresses that matter. */
function relevant({ interfaces }: InterfaceState): unknown[] {
  return sorted(interfaces)
    .filter(({ name, isLoopback }) => !isLoopback && !IGNORED_INTERFACES.test(name))
    .map(({ name, mac, prefixes }) => [name, mac, texts(prefixes.filter(isRelevant))])
    .filter(([, , prefixes]) => prefixes!.length > 0);
}

function isRelevant({ ip }: InterfacePrefix): boolean {
  const scope = scopeOf(ip);
  return scope === 'other' || scope === 'uniqueLocal';
}

function sorted(interfaces: readonly NetworkInterface[]): NetworkInterface[] {
  return [...interfaces].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** Systems name addresses in any order. */
function texts(prefixes: readonly InterfacePrefix[]): string[] {
  return prefixes
    .map(({ ip, length, isDeprecated }) => `${ip}/${length}${isDeprecated ? ' old' : ''}`)
    .sort();
}

/** Equal for equal states, whatever the order of their parts. */
export function networkKey(state: InterfaceState): string {
  const interfaces = sorted(state.interfaces).map(({ name, mac, isLoopback, prefixes }) => [
    name,
    mac,
    isLoopback,
    texts(prefixes),
  ]);
  return JSON.stringify([state.defaultRoute ?? null, state.gateway ?? null, state.isExpensive, interfaces]);
}

/** Whether strangers can be reached: there is a way out, and an address to use it with. */
export function isNetworkUsable(state: InterfaceState): boolean {
  // Browsers show no interfaces, and say themselves whether there is a network.
  const hasAddress = state.interfaces.length === 0 || hasFamily(state, 4) || hasFamily(state, 6);
  return state.defaultRoute !== undefined && hasAddress;
}
