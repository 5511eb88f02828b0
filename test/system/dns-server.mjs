// A name server that knows the few names of a lab: UDP, A and AAAA records, everything else does not exist (RFC 1035 §4).
//   in:  { id, cmd: 'listen', hosts: ['::', …], names: { 'relay.test': ['198.18.0.2', '2001:db8::2'] } }
import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { serve } from './json-lines.mjs';

const [A, AAAA] = [1, 28];
const HEADER_BYTES = 12;
const TTL_SECONDS = 60;

function ipBytes(addr) {
  if (!isIPv6(addr)) return Buffer.from(addr.split('.').map(Number));
  const [head, tail] = addr.split('::').map((part) => part.split(':').filter(Boolean));
  const groups =
    tail === undefined ? head : [...head, ...Array(8 - head.length - tail.length).fill('0'), ...tail];
  return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

function answer(query, names) {
  let at = HEADER_BYTES;
  const labels = [];
  while (query[at] !== 0) {
    labels.push(
      query
        .subarray(at + 1, at + 1 + query[at])
        .toString()
        .toLowerCase(),
    );
    at += query[at] + 1;
  }
  const type = query.readUInt16BE(at + 1);
  const question = query.subarray(HEADER_BYTES, at + 5);
  const addrs = names[labels.join('.')];
  const found = (addrs ?? []).filter(
    (addr) => (type === A && !isIPv6(addr)) || (type === AAAA && isIPv6(addr)),
  );
  const header = Buffer.alloc(HEADER_BYTES);
  query.copy(header, 0, 0, 2);
  // An authoritative answer; recursion as asked for and available; code 3 is "no such name".
  header.writeUInt16BE(0x8480 | (query[2] & 1 ? 0x0100 : 0) | (addrs === undefined ? 3 : 0), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(found.length, 6);
  const records = found.map((addr) => {
    const data = ipBytes(addr);
    const record = Buffer.alloc(12);
    record.writeUInt16BE(0xc000 | HEADER_BYTES, 0);
    record.writeUInt16BE(type, 2);
    record.writeUInt16BE(1, 4);
    record.writeUInt32BE(TTL_SECONDS, 6);
    record.writeUInt16BE(data.length, 10);
    return Buffer.concat([record, data]);
  });
  return Buffer.concat([header, question, ...records]);
}

serve({
  listen: ({ hosts, names }) =>
    Promise.all(
      hosts.map(
        (host) =>
          new Promise((resolve, reject) => {
            const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
            socket.once('error', reject);
            socket.on('message', (query, from) => {
              try {
                socket.send(answer(query, names), from.port, from.address);
              } catch {
                // Not a query that it can read.
              }
            });
            socket.bind(53, host, resolve);
          }),
      ),
    ),
});
