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
import { UserError } from './user-error.ts';

const WRONG_USAGE = 2;

/** A command's code is loaded when it is used: to load all of it takes longer than to print help. */
const load =
  <K extends string, M extends Record<K, (...args: never[]) => Promise<void> | void>>(
    importModule: () => Promise<M>,
    name: K,
  ) =>
  async (...args: Parameters<M[K]>): Promise<void> =>
    (await importModule())[name](...args);
const file = () => import('./file.ts');
const pipe = () => import('./pipe.ts');
const tcp = () => import('./tcp.ts');

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const program = new Command('iroh-ts')
  .description(
    'Join two machines by public key: pipes, TCP ports, files. Encrypted end to end; directly where that works, else over a relay.',
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
Who waits is found at a relay: one that n0 runs for everybody, or one of yours
(--relay URL), or none (--no-relay). A relay learns who meets whom, no content.
Who waits at n0's tells its lookup server so: the bare id is a ticket, too.
DEBUG=iroh:* says what happens, QLOGDIR=folder writes a qlog per connection.`,
  );

const command = (name: string, description: string): Command =>
  program.command(name).description(description).helpOption('-h, --help', 'show this help');

/** A command that has an endpoint. */
const networked = (name: string, description: string): Command =>
  command(name, description)
    .option('--key <file>', 'secret key file, made if missing (default: IROH_SECRET, else a new key)')
    .addOption(new Option('--relay <url>', 'a relay to use; may be given several times').argParser(addRelay))
    .option('--no-relay', 'use no relay, and contact nobody but the other side');

/** `before` is false after `--no-relay`. */
const addRelay = (url: string, before: readonly string[] | false | undefined): string[] => [
  ...(before || []),
  url,
];
const TICKET = 'what the other side printed';

networked('send', 'offer a file to one receiver').argument('<file>').action(load(file, 'send'));
networked('recv', 'fetch a file that is offered')
  .argument('<ticket>', TICKET)
  .option('--output <file>', 'where to write it (default: the name that the sender gave)')
  .option('--force', 'overwrite an existing file')
  .action(load(file, 'recv'));
networked('listen', 'wait for one connection and join it to stdin and stdout').action(load(pipe, 'listen'));
networked('connect', 'join stdin and stdout to a listener')
  .argument('<ticket>', TICKET)
  .action(load(pipe, 'connect'));
networked('listen-tcp', 'forward connections to a TCP server')
  .requiredOption('--host <host:port>', 'where the TCP server is')
  .action(load(tcp, 'listenTcp'));
networked('connect-tcp', 'forward TCP connections to a listener')
  .argument('<ticket>', TICKET)
  .requiredOption('--addr <host:port>', 'where to listen; port 0 for any')
  .action(load(tcp, 'connectTcp'));
command('relay', 'run a relay server')
  .option('--dev', 'plain HTTP on port 3340')
  .option('-c, --config-path <file>', 'TOML file (default: relay.toml, if there is one)')
  .action(load(() => import('./relay.ts'), 'relay'));
command('report', 'show what this network is like: addresses, NAT, relays, router')
  .addOption(
    new Option('--relay <url>', "a relay to ask; may be given several times (default: n0's)").argParser(
      addRelay,
    ),
  )
  .option('--json', 'for programs')
  .action(load(() => import('./report.ts'), 'report'));
command('dns', 'run a lookup server')
  .option('-c, --config-path <file>', 'TOML file (default: dns.toml, if there is one)')
  .action(load(() => import('./dns.ts'), 'dns'));
command('ticket', 'show what is in a ticket')
  .argument('<ticket>', TICKET)
  .action(load(() => import('./ticket.ts'), 'describeTicket'));

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
