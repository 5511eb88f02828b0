// iroh-ts with an inspector attached that counts: events of machines, and sends on channels.
import * as irohTs from './iroh-ts.mjs';

const inspect = (counters) => {
  Object.assign(counters, { machineEvents: 0, channelSends: 0 });
  return ({ type }) => {
    if (type === '@xstate.event') counters.machineEvents++;
    if (type === 'iroh.channel.send') counters.channelSends++;
  };
};

export const serve = (options) => irohTs.serve({ ...options, inspect });
export const client = (ticket, options) => irohTs.client(ticket, { ...options, inspect });
