/**
 * `ticket`: what is in a ticket.
 *
 * @module
 */
import { parseRemote } from './identity.ts';

export function describeTicket(text: string): void {
  const addr = parseRemote(text);
  console.log(`endpoint id  ${addr.id.toString()}`);
  for (const ip of addr.ips) console.log(`ip           ${ip.text}`);
  for (const relay of addr.relays) console.log(`relay        ${relay.href}`);
  if (addr.isEmpty) console.log('no addresses: an id alone is looked up');
}
