// iroh-ts with its second engine as a benchmark peer, from dist/.
import { quicheEngine } from '../../../dist/quiche.js';
import * as plain from './iroh-ts.mjs';

export const serve = (options) => plain.serve({ ...options, engine: quicheEngine() });
export const client = (ticket, options) => plain.client(ticket, { ...options, engine: quicheEngine() });
