import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makeDirectory } from '#datastore';

const dir = mkdtempSync(join(tmpdir(), 'tsn-make-'));
afterAll(() => rmSync(dir, { recursive: true }));

test('what is missing is made, with the mode that was asked for, and the topmost of it is named', () => {
  expect(makeDirectory(join(dir, 'a/b/c'), 0o700)).toBe(join(dir, 'a'));
  expect(statSync(join(dir, 'a/b/c')).mode & 0o777).toBe(0o700);
  expect(makeDirectory(join(dir, 'a/b/d'))).toBe(join(dir, 'a/b/d'));
  expect(makeDirectory(join(dir, 'a/b'))).toBeUndefined();
  expect(makeDirectory('/')).toBeUndefined();
});

test('what cannot be made is an error, and ends', () => {
  writeFileSync(join(dir, 'file'), '');
  expect(() => makeDirectory(join(dir, 'file'))).toThrow('EEXIST');
  expect(() => makeDirectory(join(dir, 'file/below'))).toThrow('ENOTDIR');
  // The kernel says ENOENT although /proc is there.
  expect(() => makeDirectory('/proc/tsnet/run')).toThrow('ENOENT');
  expect(() => makeDirectory('/proc/self/tsnet')).toThrow('ENOENT');
});
