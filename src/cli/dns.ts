/**
 * `dns`: a lookup server from a configuration file.
 *
 * SIGHUP reads certificates again; SIGINT and SIGTERM end.
 *
 * @module
 */
import { homedir } from 'node:os';
import { DnsServer, DnsServerError } from '../dns-server.ts';
import { parseDnsConfig } from './dns-config.ts';
import { readConfigFile } from './toml-config.ts';
import { UserError } from './user-error.ts';

/** Options of the command. */
export interface DnsOptions {
  readonly configPath?: string;
}

const DEFAULT_PATH = 'dns.toml';

function explain(error: unknown): string {
  if (!(error instanceof DnsServerError)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}`;
}

/** Runs until a signal ends it. */
export async function dns({ configPath = DEFAULT_PATH }: DnsOptions): Promise<void> {
  const options = parseDnsConfig(readConfigFile(configPath), {
    path: configPath,
    env: process.env,
    home: homedir(),
    os: process.platform,
  });
  let server: DnsServer;
  try {
    server = await DnsServer.listen({
      ...options,
      onStoreEnd: (error) => console.error(`start the server again, its store has ended: ${explain(error)}`),
    });
  } catch (error) {
    if (!(error instanceof DnsServerError)) throw error;
    throw new UserError(explain(error), error);
  }
  console.error(`lookup server at ${server.pkarrUrl}`);
  for (const { text } of server.dnsAddrs)
    console.error(`DNS at ${text} (UDP, TCP) for ${server.origins.join(' ')}`);
  if (options.mainline !== undefined) {
    const nodes = options.mainline.bootstrap?.join(' ') ?? 'the usual first nodes';
    console.error(`what is not there is looked for in the DHT, by ${nodes}`);
    if (options.mainline.publish === true) console.error('what is put is published in the DHT, too');
  }
  if (typeof options.store === 'object' && 'file' in options.store)
    console.error(`records in ${options.store.file}`);
  if (server.metricsAddr !== undefined) console.error(`metrics at http://${server.metricsAddr.text}/metrics`);
  if (options.tls === undefined)
    console.error('without TLS: fine behind a proxy that has it, and for trying things out');

  const reload = (): void =>
    void server.reload().then(
      () => console.error('certificates read again'),
      (error: unknown) => console.error(`certificates kept: ${explain(error)}`),
    );
  process.on('SIGHUP', reload);
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  process.removeListener('SIGHUP', reload);
  await server.close();
}
