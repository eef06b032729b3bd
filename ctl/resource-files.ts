import { readdir, readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { messageOf, OperationalError } from '#core';
import { readSource, type Source } from '#datastore';
import type { Io } from './io.ts';

const RESOURCE_FILE = /\.(ya?ml|json)$/i;

/** Reads what `-f` names: files, directories (their .yaml, .yml and .json files in order of name), and `-` for standard input. */
export async function readResourceFiles(paths: readonly string[], recursive: boolean, io: Io): Promise<Source> {
  const source: Source = { documents: [], faults: [] };
  for (const path of paths) {
    const texts = path === '-' ? [{ file: '<stdin>', text: await io.stdin() }] : await textsUnder(path, recursive, io);
    for (const { file, text } of texts) {
      const { documents, faults } = await readSource(file, text);
      source.documents.push(...documents);
      source.faults.push(...faults);
    }
  }
  return source;
}

async function textsUnder(path: string, recursive: boolean, io: Io): Promise<{ file: string; text: string }[]> {
  const files = await filesUnder(path, recursive, io.cwd);
  return Promise.all(
    files.map(async (file) => {
      const text = await readFile(resolve(io.cwd, file), 'utf8').catch((error) => {
        throw new OperationalError('NOT_FOUND', `cannot read ${file}: ${messageOf(error)}`);
      });
      return { file, text };
    }),
  );
}

async function filesUnder(path: string, recursive: boolean, cwd: string): Promise<string[]> {
  const status = await stat(resolve(cwd, path)).catch((error) => {
    throw new OperationalError('NOT_FOUND', `cannot read ${path}: ${messageOf(error)}`);
  });
  if (!status.isDirectory()) return [path];
  const entries = await readdir(resolve(cwd, path), { withFileTypes: true });
  const files: string[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.')) continue;
    const inner = join(path, entry.name);
    if (entry.isDirectory()) {
      if (recursive) files.push(...(await filesUnder(inner, true, cwd)));
    } else if (RESOURCE_FILE.test(entry.name)) files.push(inner);
  }
  return files;
}
