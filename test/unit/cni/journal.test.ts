import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FakeClock } from '#core';
import { parseConf } from '../../../cni/conf.ts';
import { createJournal } from '../../../cni/journal.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cni-log-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function journal(over: object): { write: ReturnType<typeof createJournal>['write']; said: string[] } {
  const said: string[] = [];
  const conf = parseConf(JSON.stringify({ cniVersion: '1.0.0', name: 'net1', ...over }));
  return { ...createJournal(conf, new FakeClock(), { write: (text) => said.push(text) }), said };
}

test('what is less than the level is left out; the rest is JSON on standard error and in the file', () => {
  const file = join(root, 'deep/cni.log');
  const { write, said } = journal({ log_level: 'Warning', log_file_path: file });
  write('info', {}, 'nothing');
  write('warn', { container: 'c1' }, 'something');
  expect(said).toHaveLength(1);
  expect(JSON.parse(said[0])).toMatchObject({ level: 'warn', name: 'tsnet-cni', container: 'c1', msg: 'something' });
  expect(readFileSync(file, 'utf8')).toBe(said[0]);
});

test('a file that has grown too large makes room for a new one', () => {
  const file = join(root, 'cni.log');
  writeFileSync(file, 'x'.repeat(1001));
  const { write, said } = journal({ log_file_path: file, log_file_max_size: 0.001 });
  write('error', {}, 'one');
  expect(readFileSync(`${file}.1`, 'utf8')).toHaveLength(1001);
  expect(readFileSync(file, 'utf8')).toBe(said[0]);
});

// Under /proc nothing can be made, and the kernel says ENOENT of it: Node's own recursive mkdir goes on for ever there.
test.each(['taken/cni.log', '/proc/tsnet/cni.log'])(
  'a file that cannot be written is said once, and keeps nobody from going on: %s',
  (path) => {
    writeFileSync(join(root, 'taken'), '');
    const { write, said } = journal({ log_file_path: resolve(root, path) });
    write('error', {}, 'one');
    write('error', {}, 'two');
    expect(said.map((line) => line.includes('cannot be written'))).toEqual([false, true, false]);
  },
);
