#!/usr/bin/env node
/**
 * `iroh-ts`: pipes, TCP tunnels and files between two machines.
 *
 * `listen`, `connect` and their TCP forms speak the protocol of the dumbpipe tool (ALPN `DUMBPIPEV0`).
 * Exit codes: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { connect, listen } from './pipe.ts';
import { recv, send } from './file.ts';
import { relay } from './relay.ts';
import { connectTcp, listenTcp } from './tcp.ts';
import { describeTicket } from './ticket.ts';
import { UserError } from './user-error.ts';

const WRONG_USAGE = 2;

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const program = new Command('iroh-ts')
  .description(
    'Join two machines by public key: pipes, TCP ports, files. Encrypted end to end, no server in between.',
  )
  .version(version, '-v, --version')
  .helpOption('-h, --help', 'show this help')
  .helpCommand(false)
  .configureHelp({ subcommandTerm: (command) => command.name() })
  .showHelpAfterError("Run 'iroh-ts --help' for help.")
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'iroh-ts: ')) })
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : WRONG_USAGE))
  .addHelpText(
    'after',
    `
One side listens and prints a ticket; the other side uses it:

  $ iroh-ts send holiday.jpg          prints   iroh-ts recv endpoint…
  $ iroh-ts recv endpoint…            there it is

  $ tar c src | iroh-ts listen        prints   iroh-ts connect endpoint…
  $ iroh-ts connect endpoint… </dev/null | tar x

  $ iroh-ts listen-tcp --host localhost:22
  $ iroh-ts connect-tcp --addr localhost:2222 endpoint…

A ticket holds a public key and addresses, no secret; whoever has it may dial.
DEBUG=iroh:* says what happens, QLOGDIR=folder writes a qlog per connection.`,
  );

const command = (name: string, description: string): Command =>
  program.command(name).description(description).helpOption('-h, --help', 'show this help');

const key = (): Option =>
  new Option('--key <file>', 'secret key file, made if missing (default: IROH_SECRET, else a new key)');
const TICKET = 'what the other side printed';

command('send', 'offer a file to one receiver').argument('<file>').addOption(key()).action(send);
command('recv', 'fetch a file that is offered')
  .argument('<ticket>', TICKET)
  .option('--output <file>', 'where to write it (default: the name that the sender gave)')
  .option('--force', 'overwrite an existing file')
  .addOption(key())
  .action(recv);
command('listen', 'wait for one connection and join it to stdin and stdout').addOption(key()).action(listen);
command('connect', 'join stdin and stdout to a listener')
  .argument('<ticket>', TICKET)
  .addOption(key())
  .action(connect);
command('listen-tcp', 'forward connections to a TCP server')
  .requiredOption('--host <host:port>', 'where the TCP server is')
  .addOption(key())
  .action(listenTcp);
command('connect-tcp', 'forward TCP connections to a listener')
  .argument('<ticket>', TICKET)
  .requiredOption('--addr <host:port>', 'where to listen; port 0 for any')
  .addOption(key())
  .action(connectTcp);
command('relay', 'run a relay server')
  .option('--dev', 'plain HTTP on port 3340')
  .option('-c, --config-path <file>', 'TOML file (default: relay.toml, if there is one)')
  .action(relay);
command('ticket', 'show what is in a ticket').argument('<ticket>', TICKET).action(describeTicket);

if (process.argv.length === 2) {
  program.outputHelp();
} else {
  program.parseAsync().catch((error: unknown) => {
    const text =
      error instanceof UserError
        ? error.message
        : error instanceof Error
          ? `${error.name}: ${error.message}`
          : error;
    console.error(`iroh-ts: ${String(text)}`);
    process.exitCode = 1;
  });
}
