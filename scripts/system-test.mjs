// `npm run test:system`: real networks in Linux network namespaces. Arguments go to jest (`-- -t J01`).
//
// Needs Linux, root, `ip`, `tc`, `nft` and `miniupnpd`. Root on Debian gets missing programs installed. Where it cannot run, it says
// why and is skipped; with CI=true that is a failure.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Names of all labs begin with this and the id of the process that runs them. */
const FAMILY = 'ilab';
const prefix = `${FAMILY}${process.pid}`;
/** Programs, and the Debian packages that have them. */
const PROGRAMS = [
  ['ip', 'iproute2'],
  ['tc', 'iproute2'],
  ['nft', 'nftables'],
  // A router that opens ports.
  ['miniupnpd', 'miniupnpd-nftables'],
];

function output(program, ...args) {
  // Debian asks no questions, and programs of root are found.
  const env = {
    ...process.env,
    DEBIAN_FRONTEND: 'noninteractive',
    PATH: `${process.env.PATH}:/usr/sbin:/sbin`,
  };
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', env });
  return { isOk: status === 0, stdout: stdout ?? '', stderr: error?.message ?? stderr };
}

const isMissing = ([program]) => !output(program, '-V').isOk && !output(program, '--version').isOk;

function install() {
  const packages = [...new Set(PROGRAMS.filter(isMissing).map(([, name]) => name))];
  if (packages.length === 0 || !existsSync('/usr/bin/apt-get')) return;
  console.log(`system tests: installing ${packages.join(' and ')} from Debian`);
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', ...packages]]) {
    const { isOk, stderr } = output('apt-get', '-q', ...args);
    if (!isOk) console.log(`system tests: apt-get ${args[0]} failed: ${stderr.trim()}`);
  }
}

/** Why it cannot run here, or undefined. */
function obstacle() {
  if (process.platform !== 'linux') return `network namespaces need Linux, this is ${process.platform}`;
  if (process.getuid() !== 0) return 'making network namespaces needs root';
  install();
  for (const program of PROGRAMS.filter(isMissing)) return `the program ${program[0]} is missing`;
  const name = `${prefix}-try`;
  const attempts = [
    ['ip', 'netns', 'add', name],
    ['ip', '-n', name, 'link', 'add', 'left', 'type', 'veth', 'peer', 'name', 'right'],
    ['ip', '-n', name, 'link', 'add', 'switch', 'type', 'bridge'],
    [
      'ip',
      'netns',
      'exec',
      name,
      'nft',
      'add table ip t; add chain ip t c { type nat hook postrouting priority srcnat; }; ' +
        'add rule ip t c masquerade random,fully-random',
    ],
  ];
  try {
    for (const attempt of attempts) {
      const { isOk, stderr } = output(...attempt);
      if (!isOk) return `"${attempt.join(' ')}" failed: ${stderr.trim()}`;
    }
  } finally {
    output('ip', 'netns', 'del', name);
  }
  return undefined;
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Removes the namespaces that `isOurs` chooses, and ends the processes inside. */
function sweep(isOurs) {
  const names = output('ip', 'netns', 'list')
    .stdout.split('\n')
    .map((line) => line.split(' ')[0]);
  for (const name of names.filter((each) => each.startsWith(FAMILY) && isOurs(each))) {
    for (const pid of output('ip', 'netns', 'pids', name).stdout.split('\n').filter(Boolean)) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
    output('ip', 'netns', 'del', name);
    rmSync(`/etc/netns/${name}`, { recursive: true, force: true });
  }
}

const reason = obstacle();
if (reason !== undefined) {
  const isCi = process.env.CI === 'true';
  console.log(`system tests ${isCi ? 'cannot run' : 'skipped'}: ${reason}`);
  process.exit(isCi ? 1 : 0);
}

// What a run that was killed left behind.
sweep((name) => !isAlive(Number(/^[a-z]+(\d+)/.exec(name)?.[1] ?? 0)));

let running;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => running.kill(signal));

function jest(...args) {
  running = spawn(
    process.execPath,
    [
      '--experimental-vm-modules',
      'node_modules/jest/bin/jest.js',
      '--config',
      'test/system/jest.config.mjs',
      ...args,
    ],
    { cwd: root, stdio: 'inherit', env: { ...process.env, IROH_TS_LAB_PREFIX: prefix } },
  );
  return new Promise((resolve) => {
    running.on('close', (code) => {
      sweep((name) => name.startsWith(`${prefix}-`));
      resolve(code ?? 1);
    });
  });
}

const chosen = process.argv.slice(2);
// What is measured is measured alone.
const runs = chosen.length > 0 ? [chosen] : [['--testPathIgnorePatterns', 'figures'], ['figures']];
for (const args of runs) process.exitCode = (await jest(...args)) || process.exitCode;
