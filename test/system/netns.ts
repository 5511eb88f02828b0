/**
 * Network namespaces, by the programs `ip` and `nft`: what a {@link Lab} is built from.
 *
 * @module
 */
import { spawn } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';

/**
 * Every namespace of one run begins with this, so that `scripts/system-test.mjs` can remove what a killed run left
 * behind and runs do not meet.
 */
export const NAME_PREFIX = process.env['IROH_TS_LAB_PREFIX'] ?? `ilab${process.pid}`;

/** Files that replace those of `/etc` inside a namespace, by its name. */
const ETC = '/etc/netns';

/** Runs a program with `input` on its standard input. @throws {Error} with what it wrote when it fails. */
export function run(program: string, args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'pipe' });
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${program} ${args.join(' ')} ended with ${code}: ${errors}\n${input}`));
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

/** A network namespace: interfaces, routes and firewall of its own. */
export class Namespace {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** Makes one with a loopback interface. */
  static async create(name: string, settings: readonly string[] = []): Promise<Namespace> {
    await run('ip', ['netns', 'add', name]);
    const namespace = new Namespace(name);
    // Duplicate address detection would hold back IPv6 addresses for a second.
    const all = ['ipv6/conf/default/accept_dad=0', 'ipv6/conf/all/accept_dad=0', ...settings];
    const writes = all.map((setting) => {
      const [file, value] = setting.split('=');
      return `[ ! -e /proc/sys/net/${file} ] || echo ${value} > /proc/sys/net/${file}`;
    });
    await namespace.shell(`ip link set lo up; ${writes.join('; ')}`);
    return namespace;
  }

  /** Commands of `ip`, one a line, without the word. */
  async ip(...commands: readonly string[]): Promise<void> {
    await run('ip', ['-n', this.name, '-batch', '-'], `${commands.join('\n')}\n`);
  }

  /** Rules for `nft`. */
  async nft(rules: string): Promise<void> {
    await run('ip', ['netns', 'exec', this.name, 'nft', '-f', '-'], rules);
  }

  /** A shell command line inside. */
  shell(line: string): Promise<string> {
    return run('ip', ['netns', 'exec', this.name, 'sh', '-c', line]);
  }

  /** Program and arguments that start `command` inside. */
  command(...command: readonly string[]): [program: string, args: string[]] {
    return ['ip', ['netns', 'exec', this.name, ...command]];
  }

  /** What `/etc/resolv.conf` says to processes that start inside (`ip netns exec` mounts it). */
  async setNameServers(addrs: readonly string[]): Promise<void> {
    await mkdir(`${ETC}/${this.name}`, { recursive: true });
    const lines = addrs.map((addr) => `nameserver ${addr}\n`);
    await writeFile(`${ETC}/${this.name}/resolv.conf`, `${lines.join('')}options timeout:1\n`);
  }

  /** Removes it with all its interfaces. Processes inside end first: they would keep it alive. */
  async remove(): Promise<void> {
    const pids = (await run('ip', ['netns', 'pids', this.name]).catch(() => '')).split('\n').filter(Boolean);
    for (const pid of pids) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
    await run('ip', ['netns', 'del', this.name]).catch(() => undefined);
    await rm(`${ETC}/${this.name}`, { recursive: true, force: true });
  }
}
