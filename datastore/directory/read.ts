import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeResource } from '../codec.ts';
import { resourceKey } from '../keys.ts';
import { shown } from '../model/fields.ts';
import { type AnyResource, API_VERSION, KINDS } from '../model/index.ts';
import { readSource, type SourceDocument } from '../source.ts';
import { unknownFields } from '../unknown-fields.ts';
import type { InvalidObject } from '../update.ts';
import { type FieldError, isKind, prepare } from '../validate.ts';

/** What one file says. */
export interface FileContents {
  /** Values by key. */
  readonly entries: ReadonlyMap<string, string>;
  readonly faults: readonly InvalidObject[];
  /** Keys that are meant, but whose documents are wrong. */
  readonly broken: ReadonlySet<string>;
  /** Part of the file could not be read at all: what it no longer seems to hold may still be meant. */
  readonly torn: boolean;
  /** It holds what is in another file already, which is to be looked at again when that one changes. */
  readonly doubles: boolean;
}

/** All resource files below the directory, relative to it, in order; names with a leading dot are not looked at. */
export async function resourceFiles(root: string, below = ''): Promise<{ files: string[]; folders: string[] }> {
  const files: string[] = [];
  const folders = [below];
  for (const entry of await readdir(join(root, below), { withFileTypes: true })) {
    if (entry.name.startsWith('.')) continue;
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory()) {
      const inner = await resourceFiles(root, path);
      files.push(...inner.files);
      folders.push(...inner.folders);
    } else if (/\.(ya?ml|json)$/.test(entry.name)) files.push(path);
  }
  return { files: files.sort(), folders };
}

/** Reads a file as a person wrote it: strictly, each fault with its line and field. */
export async function readResourceFile(root: string, path: string): Promise<FileContents> {
  const entries = new Map<string, string>();
  const faults: InvalidObject[] = [];
  const broken = new Set<string>();
  const text = await readFile(join(root, path), 'utf8').catch((error: unknown) => error as Error);
  // A file that may not be read harms only itself.
  if (typeof text !== 'string') return unreadable(path, text);
  const source = await readSource(path, text);
  let torn = source.faults.length > 0;
  for (const { line, column, message } of source.faults)
    faults.push({ where: `${path}:${line}:${column}`, kind: 'unknown', id: '', message });
  for (const document of source.documents) {
    const read = readDocument(document);
    if (read.key === null) torn = true;
    else if (entries.has(read.key) || broken.has(read.key))
      faults.push(
        fault(document, read.key, {
          field: 'metadata.name',
          message: 'stands for something that is in this file already',
        }),
      );
    else if (read.value !== null) entries.set(read.key, read.value);
    else broken.add(read.key);
    faults.push(...read.errors.map((error) => fault(document, read.key ?? '', error)));
  }
  return { entries, faults, broken, torn, doubles: false };
}

const unreadable = (path: string, error: Error): FileContents => ({
  entries: new Map(),
  faults: [{ where: `${path}:1:1`, kind: 'unknown', id: '', message: `cannot be read: ${error.message}` }],
  broken: new Set(),
  torn: true,
  doubles: false,
});

function fault(document: SourceDocument, key: string, { field, message }: FieldError): InvalidObject {
  const { file, line, column } = document.locate(field);
  const { kind } = (document.value ?? {}) as { kind?: unknown };
  const id = key.split('/').slice(6).join('/');
  return { where: `${file}:${line}:${column}`, kind: shown(String(kind)), id, message: `${field} ${message}` };
}

interface Read {
  readonly key: string | null;
  readonly value: string | null;
  readonly errors: readonly FieldError[];
}

function readDocument({ value }: SourceDocument): Read {
  const nameless = (field: string, message: string): Read => ({ key: null, value: null, errors: [{ field, message }] });
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return nameless('', 'must be a resource with apiVersion, kind, metadata and spec');
  const { kind, apiVersion, metadata } = value as Partial<AnyResource>;
  if (typeof kind !== 'string' || !isKind(kind)) return nameless('kind', `must be a kind of ${API_VERSION}`);
  if (apiVersion !== API_VERSION) return nameless('apiVersion', `must be ${API_VERSION}`);
  if (typeof metadata !== 'object' || metadata === null) return nameless('metadata', 'is required');
  const resource = value as AnyResource;
  const prepared = prepare(resource);
  const errors = [...unknownFields(resource), ...(prepared.ok ? [] : prepared.error)];
  const { name, namespace } = prepared.ok ? prepared.value.metadata : resource.metadata;
  if (typeof name !== 'string' || name === '') return { key: null, value: null, errors };
  const key = resourceKey(kind, name, KINDS[kind].namespaced ? String(namespace ?? 'default') : null);
  if (!prepared.ok || errors.length > 0) return { key, value: null, errors };
  prepared.value.metadata.uid ||= stableUid(key);
  return { key, value: encodeResource(prepared.value), errors: [] };
}

/** A uid for what a person wrote without one: the same at every reading. */
function stableUid(key: string): string {
  const hex = createHash('sha1').update(key).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
