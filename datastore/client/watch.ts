import { kindPrefix } from '../keys.ts';
import { ALLOW_ALL_PROFILE, type Kind, type Kinds } from '../model/index.ts';
import type { KeyValue, Store, WatchEvent } from '../store.ts';
import type { InvalidObject } from '../update.ts';
import { openEntry } from './read.ts';

/** `invalid`: something is there that cannot be used; what was known of it no longer holds. */
export type ResourceEvent<K extends Kind> =
  | { readonly type: 'added' | 'modified' | 'deleted'; readonly resource: Kinds[K] }
  | { readonly type: 'invalid'; readonly invalid: InvalidObject }
  /** Everything that was there at the beginning has been told. */
  | { readonly type: 'in-sync' };

/** A kind's resources as events. Each key's last resource is kept, so that a deletion can show what is gone. */
export async function* watchKind<K extends Kind>(
  store: Store,
  kind: K,
  namespace: string | null,
  signal: AbortSignal,
): AsyncGenerator<ResourceEvent<K>> {
  const prefix = kindPrefix(kind, namespace);
  const known = new Map<string, Kinds[K]>();
  while (!signal.aborted) {
    const revision: bigint = yield* snapshot(store, prefix, known);
    yield { type: 'in-sync' };
    for await (const message of store.watch(prefix, revision, signal)) {
      if (message.type === 'compacted' || message.type === 'rewound') break;
      if (message.type === 'events') for (const event of message.events) yield* change(event, known);
    }
  }
}

/** Tells what is there and what is gone since the last time; its revision is where to watch from. */
async function* snapshot<K extends Kind>(
  store: Store,
  prefix: string,
  known: Map<string, Kinds[K]>,
): AsyncGenerator<ResourceEvent<K>, bigint> {
  const pages = store.list(prefix);
  const present = new Set<string>();
  for await (const page of pages)
    for (const entry of page) {
      present.add(entry.key);
      yield* put(entry, known);
    }
  for (const key of [...known.keys()]) if (!present.has(key)) yield* remove(key, known);
  return pages.revision;
}

function change<K extends Kind>(event: WatchEvent, known: Map<string, Kinds[K]>): Generator<ResourceEvent<K>> {
  const { key, value, revision } = event;
  return value === null ? remove(key, known) : put({ key, value, modRevision: revision }, known);
}

function* put<K extends Kind>(entry: KeyValue, known: Map<string, Kinds[K]>): Generator<ResourceEvent<K>> {
  const { resource, invalid } = openEntry<K>(entry);
  const before = known.get(entry.key);
  if (invalid || !resource) {
    known.delete(entry.key);
    if (invalid) yield { type: 'invalid', invalid };
    return;
  }
  if (before?.metadata.resourceVersion === resource.metadata.resourceVersion) return;
  if (resource.kind === 'Profile' && resource.metadata.name === ALLOW_ALL_PROFILE) return;
  known.set(entry.key, resource);
  yield { type: before ? 'modified' : 'added', resource };
}

function* remove<K extends Kind>(key: string, known: Map<string, Kinds[K]>): Generator<ResourceEvent<K>> {
  const resource = known.get(key);
  if (known.delete(key) && resource) yield { type: 'deleted', resource };
}
