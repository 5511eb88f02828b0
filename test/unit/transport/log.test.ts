/** Log lines: one line each, whatever peers and relays say in them. */
import { expect, test } from '@jest/globals';
import { Log } from '../../../src/transport/log.ts';

test('what a peer says cannot make a second line, nor move the cursor of a terminal', () => {
  const lines: string[] = [];
  const log = new Log({ debug: (line) => void lines.push(line) });
  log.write('connection', () => 'closed: bye\r\niroh:connection #1 all is well\u001b[2J\u0000\u009b1m ä 你');
  expect(lines).toEqual([
    'iroh:connection closed: bye\\x0d\\x0airoh:connection #1 all is well\\x1b[2J\\x00\\x9b1m ä 你',
  ]);
});

test('one who says very much is cut short', () => {
  const lines: string[] = [];
  new Log({ debug: (line) => void lines.push(line) }).write('endpoint', () => 'x'.repeat(1_000_000));
  expect(lines).toEqual([`iroh:endpoint ${'x'.repeat(4_096)}…`]);
});
