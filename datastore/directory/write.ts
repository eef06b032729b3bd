import { mkdir, readFile, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { OperationalError } from '#core';
import { parseKey, resourceKey } from '../keys.ts';
import { resourceName } from '../model/fields.ts';
import { type AnyResource, KINDS } from '../model/index.ts';
import { fingerprint, replaceFile, type State } from './state.ts';

/** Whether the key's value belongs into a file of its own: a resource, whose name is fit for a file's. */
export function belongsInFile(key: string, value: string): boolean {
  const parsed = parseKey(key);
  if (parsed?.type !== 'resource' || resourceName(parsed.name) !== null) return false;
  if (parsed.namespace !== null && resourceName(parsed.namespace) !== null) return false;
  try {
    const read: unknown = JSON.parse(value);
    return typeof read === 'object' && read !== null && !Array.isArray(read);
  } catch {
    return false;
  }
}

/** Where a resource that no file holds yet is put. */
export async function newFileFor(root: string, key: string): Promise<string> {
  const parsed = parseKey(key);
  if (parsed?.type !== 'resource') throw new OperationalError('PROTOCOL', `${key} is not the key of a resource`);
  const folder = [KINDS[parsed.kind].plural, ...(parsed.namespace === null ? [] : [parsed.namespace])].join('/');
  for (let n = 1; ; n++) {
    const file = `${folder}/${parsed.name}${n > 1 ? `~${n}` : ''}.yaml`;
    if ((await fingerprint(join(root, file))) === null) return file;
  }
}

/**
 * Puts a resource's new value (null: nothing) into its file, leaving the other documents of the file, their comments included, as they are. A
 * file that holds nothing afterwards is removed.
 */
export async function writeResource(
  root: string,
  file: string,
  key: string,
  value: string | null,
  state: State,
): Promise<void> {
  const path = join(root, file);
  const others = [...state.keys].filter(([other, entry]) => entry.file === file && other !== key);
  const before = await readFile(path, 'utf8').catch(() => null);
  if (others.length === 0 && value === null) {
    if (before !== null) await unlink(path);
    state.files.delete(file);
    return;
  }
  const { parseAllDocuments, stringify } = await import('yaml');
  const render = (text: string) =>
    file.endsWith('.json')
      ? `${JSON.stringify(JSON.parse(text), null, 2)}\n`
      : stringify(JSON.parse(text), { lineWidth: 0 });
  await mkdir(dirname(path), { recursive: true });
  const replaced =
    others.length > 0 && before !== null
      ? replaceDocument(before, key, value && render(value), parseAllDocuments)
      : null;
  const values = [...others.map(([, entry]) => entry.value), ...(value === null ? [] : [value])];
  await replaceFile(path, replaced ?? values.map(render).join('---\n'));
  const print = await fingerprint(path);
  if (print !== null) state.files.set(file, print);
}

type Parse = typeof import('yaml').parseAllDocuments;

/** The text with one document exchanged; null when the resource is not a document of its own in it. */
function replaceDocument(text: string, key: string, rendered: string | null, parse: Parse): string | null {
  const documents = parse(text);
  for (const document of Array.isArray(documents) ? documents : []) {
    const { contents } = document;
    const value = document.toJS() as Partial<AnyResource> | null;
    if (!contents || typeof value?.kind !== 'string' || !value.metadata?.name || !Object.hasOwn(KINDS, value.kind))
      continue;
    if (resourceKey(value.kind, value.metadata.name, value.metadata.namespace) !== key) continue;
    const rest = text.slice(contents.range[1]);
    return `${text.slice(0, contents.range[0])}${rendered ?? ''}${rest.startsWith('\n') ? rest.slice(1) : rest}`;
  }
  return null;
}
