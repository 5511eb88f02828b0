/** Echo, the side that dials: sends a line and prints what comes back. `node echo-dial.ts TICKET` */
import { Endpoint } from 'iroh-ts';

const [, , ticket = ''] = process.argv;
const endpoint = await Endpoint.bind({ preset: 'minimal' });
const connection = await endpoint.connect(ticket, 'example/echo/0', { timeoutMs: 10_000 });
const { send, recv } = await connection.openBi();
await send.write(new TextEncoder().encode('hello'));
send.finish();
console.log(new TextDecoder().decode(await recv.readToEnd(1_000)));
connection.close(0, 'bye');
await endpoint.close();
