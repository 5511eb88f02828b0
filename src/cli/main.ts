#!/usr/bin/env node
/**
 * `iroh-ts`: pipes, TCP tunnels and files between two machines.
 *
 * `listen`, `connect` and their TCP forms speak the protocol of the dumbpipe tool (ALPN `DUMBPIPEV0`).
 *
 * @module
 */
import { Command, Option } from 'commander';
import { connect, listen } from './pipe.ts';
import { recv, send } from './file.ts';
import { connectTcp, listenTcp } from './tcp.ts';
import { describeTicket } from './ticket.ts';

const program = new Command('iroh-ts').description('Dial another machine by its public key.');

const key = new Option(
  '--key <file>',
  'secret key file, made if missing (default: IROH_SECRET, else a new key)',
);

program
  .command('listen')
  .description('print a ticket, then join the first connection to stdin and stdout')
  .addOption(key)
  .action(listen);
program
  .command('connect')
  .description('join stdin and stdout to a listener')
  .argument('<ticket>')
  .addOption(key)
  .action(connect);
program
  .command('listen-tcp')
  .description('forward connections to a TCP server')
  .requiredOption('--host <host:port>', 'where the TCP server is')
  .addOption(key)
  .action(listenTcp);
program
  .command('connect-tcp')
  .description('forward TCP connections to a listener')
  .argument('<ticket>')
  .requiredOption('--addr <host:port>', 'where to listen')
  .addOption(key)
  .action(connectTcp);
program
  .command('send')
  .description('offer a file to one receiver')
  .argument('<file>')
  .addOption(key)
  .action(send);
program
  .command('recv')
  .description('fetch a file that is offered')
  .argument('<ticket>')
  .option('--output <file>', 'where to write it (default: the name that the sender gave)')
  .addOption(key)
  .action(recv);
program.command('ticket').description('show what is in a ticket').argument('<ticket>').action(describeTicket);

program.parseAsync().catch((error: unknown) => {
  console.error(error instanceof Error ? `${error.name}: ${error.message}` : error);
  process.exitCode = 1;
});
