/**
 * What a router does to packets, as rules for nftables. `nat-kinds.test.ts` proves each kind by probes.
 *
 * The terms are those of RFC 4787 §4.1 (mapping) and §5 (filtering).
 *
 * @module
 */

/**
 * - `none`: routed public addresses, no filter.
 * - `open`: endpoint-independent mapping and filtering; whoever knows the mapped port reaches the device.
 * - `moderate`: endpoint-independent mapping, address and port-dependent filtering: most home routers.
 * - `strict`: a random port for each destination, and the same filtering ("symmetric").
 */
export type NatKind = 'none' | 'open' | 'moderate' | 'strict';

export const NAT_KINDS: readonly NatKind[] = ['none', 'open', 'moderate', 'strict'];

/** What {@link natRules} depends on. */
export interface NatOptions {
  readonly kind: NatKind;
  /** The router's public IPv4 address, if it has IPv4. */
  readonly publicIpv4: string | undefined;
  /** UDP passes for name lookup only. */
  readonly isUdpBlocked: boolean;
}

/** The rules of a router whose interfaces are `wan` and `lan`. IPv6 is routed, and filtered as the kind says. */
export function natRules({ kind, publicIpv4, isUdpBlocked }: NatOptions): string {
  const filter = `
table inet lab {
  # Filled and emptied by tests.
  chain blocked {
  }
  # In one rule, nft 1.0.6 would merge the two ports into one comparison, which drops everything.
  chain names {
    udp dport 53 return
    udp sport 53 return
    drop
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    jump blocked
    ${isUdpBlocked ? 'meta l4proto udp jump names' : ''}
    iifname "wan" ct state established,related accept
    ${kind === 'open' ? 'iifname "wan" meta l4proto udp accept' : ''}
    ${kind === 'none' ? '' : 'iifname "wan" drop'}
  }
  # A packet that the router took for itself would leave an entry in the table of connections, and the device's own
  # packet to that sender would then be given another port.
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "wan" ct state established,related accept
    iifname "wan" meta l4proto { tcp, udp } drop
  }
}`;
  if (kind === 'none' || publicIpv4 === undefined) return filter;
  if (kind === 'strict') {
    return `${filter}
table ip nat {
  chain out {
    type nat hook postrouting priority srcnat;
    oifname "wan" masquerade random,fully-random
  }
}`;
  }
  // Source NAT keeps the port where it is free, which makes the mapping independent of the destination.
  const isOpen = kind === 'open';
  return `${filter}
table ip nat {
  map mapped {
    type inet_service : ipv4_addr . inet_service
    flags dynamic,timeout
    timeout 300s
    size 65535
  }
  chain in {
    type nat hook prerouting priority dstnat;
    ${isOpen ? 'iifname "wan" meta l4proto udp dnat ip to udp dport map @mapped' : ''}
  }
  chain out {
    type nat hook postrouting priority srcnat;
    ${isOpen ? 'oifname "wan" meta l4proto udp update @mapped { udp sport : ip saddr . udp sport }' : ''}
    oifname "wan" snat to ${publicIpv4}
  }
}`;
}

/** Drops all UDP that does not go to or come from `exceptions`. */
export function blackHoleRules(exceptions: readonly string[]): string {
  const v4 = exceptions.filter((addr) => !addr.includes(':')).join(', ');
  const v6 = exceptions.filter((addr) => addr.includes(':')).join(', ');
  return `flush chain inet lab blocked
${v4 && `add rule inet lab blocked meta l4proto udp ip saddr != { ${v4} } ip daddr != { ${v4} } drop`}
${v6 && `add rule inet lab blocked meta l4proto udp ip6 saddr != { ${v6} } ip6 daddr != { ${v6} } drop`}
`;
}
