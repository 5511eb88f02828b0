// Benchmark processes: a server and a client of one peer (worker.mjs), started, asked over IPC, and ended.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const worker = fileURLToPath(new URL('./worker.mjs', import.meta.url));

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

export function start(role, peer, workload, options, execArgv = ['--expose-gc']) {
  const child = fork(worker, [role, peer, workload, JSON.stringify(options)], {
    execArgv: ['--no-deprecation', ...execArgv],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const next = () =>
    new Promise((resolve, reject) => {
      const fail = (code) => reject(new Error(`${role} of ${peer} ended with code ${code}`));
      child.once('exit', fail);
      child.once('message', (message) => {
        child.off('exit', fail);
        resolve(message);
      });
    });
  const ask = (message) => {
    const answer = next();
    child.send(message);
    return answer;
  };
  const end = () =>
    new Promise((resolve) => {
      if (child.exitCode !== null) return resolve();
      child.once('exit', resolve);
      setTimeout(() => child.kill('SIGKILL'), 10_000).unref();
    });
  return { child, next, ask, end };
}

/** Runs `body(server, client, address)` with two fresh processes. */
export async function pair(peer, workload, options, body) {
  const server = start('serve', peer, workload, options);
  const { address } = await server.next();
  const client = start('client', peer, workload, options);
  try {
    return await body(server, client, address);
  } finally {
    if (server.child.connected) server.child.send('close');
    await Promise.all([server.end(), client.end()]);
  }
}
