/** Echo, the side that answers: prints a ticket, echoes one stream, ends. `node echo-listen.ts` */
import { Endpoint } from 'iroh-ts';

const endpoint = await Endpoint.bind({ preset: 'minimal', alpns: ['example/echo/0'] });
console.log(endpoint.addr.toTicket());

const incoming = await endpoint.accept();
const connection = await incoming!.accept().connected;
console.log(`from ${connection.remoteId}`);
const { send, recv } = await connection.acceptBi();
await recv.readable.pipeTo(send.writable);
// The dialler closes once it has everything; closing first could cost it the last bytes.
await connection.closed;
await endpoint.close();
