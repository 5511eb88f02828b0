/**
 * `ticket`: what is in a ticket.
 *
 * @module
 */
import { EndpointAddr } from '../index.ts';

export function describeTicket(text: string): void {
  const addr = EndpointAddr.fromTicket(text);
  console.log(`endpoint id  ${addr.id.toString()}`);
  for (const ip of addr.ips) console.log(`ip           ${ip.text}`);
  for (const relay of addr.relays) console.log(`relay        ${relay.href}`);
}
