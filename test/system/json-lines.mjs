// The child's half of the protocol between tests and processes in namespaces: one JSON object a line.
//   in:  { id, cmd, …fields }      out: { id, ok } or { id, error: { message } }, and { event, … } unasked
import { createInterface } from 'node:readline';

/** Serves commands from standard input by name; returns what sends an event. `quit` and the end of input end the process. */
export function serve(commands) {
  const emit = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
  const all = { quit: () => setImmediate(() => process.exit(0)), ...commands };
  createInterface({ input: process.stdin })
    .on('line', async (line) => {
      const { id, cmd, ...fields } = JSON.parse(line);
      try {
        if (all[cmd] === undefined) throw new Error(`no such command: ${cmd}`);
        emit({ id, ok: (await all[cmd](fields)) ?? {} });
      } catch (error) {
        emit({ id, error: { message: String(error?.message ?? error).split('\n\nStack backtrace')[0] } });
      }
    })
    .on('close', () => process.exit(0));
  return emit;
}
