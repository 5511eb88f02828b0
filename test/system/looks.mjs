// Looks at the network of its namespace when asked, as the monitor of an endpoint does. Uses dist/.
//   in: { cmd: 'look' } → { state, isSame: whether it is the object of the look before }
import { readHostNetwork } from '../../dist/transport/host-network.js';
import { serve } from './json-lines.mjs';

let before;

serve({
  look() {
    const state = readHostNetwork();
    const isSame = state === before;
    before = state;
    return { state, isSame };
  },
});
