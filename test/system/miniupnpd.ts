/**
 * A router that opens ports: Debian's `miniupnpd`, as {@link Lab.addRouter} has none.
 *
 * @module
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from './child.ts';
import type { Router } from './lab.ts';
import type { Namespace } from './netns.ts';

const MINIUPNPD = '/usr/sbin/miniupnpd';
/** The daemon refuses every address that is no public one, those of the lab among them. This one is used inside the lab only. */
export const EXTERNAL_IP = '20.0.0.1';
/** Where the daemon puts its rules. What it has translated may pass the firewall of the lab. */
const RULES = `
table inet miniupnpd {
  chain miniupnpd {
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    jump miniupnpd
  }
  chain prerouting_miniupnpd {
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    jump prerouting_miniupnpd
  }
  chain postrouting_miniupnpd {
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    jump postrouting_miniupnpd
  }
}
insert rule inet lab forward ct status dnat accept
`;

/** Drops requests of PCP, whose first byte is 2: NAT-PMP is left. */
const NO_PCP = 'insert rule inet lab input iifname "lan" udp dport 5351 @th,64,8 0x2 drop\n';

function config(isUpnp: boolean): string {
  return [
    'ext_ifname=wan',
    `ext_ip=${EXTERNAL_IP}`,
    'listening_ip=lan',
    `enable_upnp=${isUpnp ? 'yes' : 'no'}`,
    `enable_natpmp=${isUpnp ? 'no' : 'yes'}`,
    'secure_mode=yes',
    'upnp_table_name=miniupnpd',
    'upnp_nat_table_name=miniupnpd',
    'upnp_forward_chain=miniupnpd',
    'upnp_nat_chain=prerouting_miniupnpd',
    'upnp_nat_postrouting_chain=postrouting_miniupnpd',
    'uuid=00000000-0000-0000-0000-000000000000',
    'allow 1024-65535 0.0.0.0/0 1024-65535',
    '',
  ].join('\n');
}

/** The daemon on one router, and what it leaves on the disk. */
export class Miniupnpd {
  readonly #router: Router;
  readonly #folder: string;

  private constructor(router: Router, folder: string) {
    this.#router = router;
    this.#folder = folder;
  }

  /** Starts it and waits until it listens: by UPnP, or by PCP and NAT-PMP. It ends with the lab. */
  static async start(router: Router, isUpnp: boolean): Promise<Miniupnpd> {
    const folder = await mkdtemp(join(tmpdir(), 'iroh-ts-mapper-'));
    const daemon = new Miniupnpd(router, folder);
    const { namespace } = router;
    await namespace.nft(RULES);
    // Groups are reached through it.
    await namespace.ip('route add 224.0.0.0/4 dev lan');
    const file = join(folder, 'miniupnpd.conf');
    await writeFile(file, config(isUpnp));
    Child.program(namespace, [MINIUPNPD, '-d', '-f', file, '-P', join(folder, 'pid')]);
    const port = isUpnp ? 1900 : 5351;
    await namespace.shell(
      `for i in $(seq 100); do ss -lun | grep -q ':${port} ' && exit 0; sleep 0.1; done; exit 1`,
    );
    return daemon;
  }

  /** Where {@link EXTERNAL_IP} is, for somebody on the internet. */
  async tellRoute(stranger: Namespace): Promise<void> {
    await stranger.ip(`route add ${EXTERNAL_IP} via ${this.#router.publicIpv4}`);
  }

  /** PCP is not answered: NAT-PMP is left. */
  async refusePcp(): Promise<void> {
    await this.#router.namespace.nft(NO_PCP);
  }

  /** What it has opened. */
  rules(): Promise<string> {
    return this.#router.namespace.shell('nft list chain inet miniupnpd prerouting_miniupnpd');
  }

  /** Removes its files. */
  async clean(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}
