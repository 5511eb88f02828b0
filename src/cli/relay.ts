/**
 * `relay`: a relay server from a configuration file.
 *
 * SIGHUP reads certificates again; SIGINT and SIGTERM announce a restart to all clients and end.
 *
 * @module
 */
import { RelayServer, RelayServerError } from '../relay-server.ts';
import { parseRelayConfig } from './relay-config.ts';
import { readConfigFile } from './toml-config.ts';
import { UserError } from './user-error.ts';

/** Options of the command. */
export interface RelayOptions {
  readonly dev?: boolean;
  readonly configPath?: string;
}

const DEFAULT_PATH = 'relay.toml';

function explain(error: unknown): string {
  if (!(error instanceof RelayServerError)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}`;
}

function sayReloaded(error: unknown): void {
  console.error(error === undefined ? 'certificates read again' : `certificates kept: ${explain(error)}`);
}

/** Runs until a signal ends it. */
export async function relay({ dev = false, configPath = DEFAULT_PATH }: RelayOptions): Promise<void> {
  const options = parseRelayConfig(readConfigFile(configPath), {
    path: configPath,
    isDev: dev,
    env: process.env,
  });
  let server: RelayServer;
  try {
    server = await RelayServer.listen({ ...options, onReload: sayReloaded });
  } catch (error) {
    if (!(error instanceof RelayServerError)) throw error;
    throw new UserError(explain(error), error);
  }
  console.error(`relay server at ${server.url.href}`);
  if (server.quicPort !== undefined) console.error(`address discovery on UDP port ${server.quicPort}`);
  if (server.metricsAddr !== undefined) console.error(`metrics at http://${server.metricsAddr.text}/metrics`);
  if (options.tls === undefined)
    console.error('without TLS: fine behind a proxy that has it, and for trying things out');

  const reload = (): void => void server.reload().then(() => sayReloaded(undefined), sayReloaded);
  process.on('SIGHUP', reload);
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  process.removeListener('SIGHUP', reload);
  await server.close();
}
