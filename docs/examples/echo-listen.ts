/** Echo, the side that answers: prints a ticket, echoes one stream, ends. `node echo-listen.ts` */
import { Endpoint, Router } from 'iroh-ts';

const endpoint = await Endpoint.bind({ preset: 'minimal' });
const router = Router.builder(endpoint)
  .accept('example/echo/0', async (connection, { signal }) => {
    console.log(`from ${connection.remoteId}`);
    const { send, recv } = await connection.acceptBi({ signal });
    await recv.readable.pipeTo(send.writable);
    // The dialler closes once it has everything; closing first could cost it the last bytes.
    await connection.closed;
    void router.shutdown();
  })
  .spawn();
console.log(endpoint.addr.toTicket());
