import { decodeResource, readEnvelope } from '../codec.ts';
import { kindPrefix, parseKey, resourceKey } from '../keys.ts';
import { shown } from '../model/fields.ts';
import { ALLOW_ALL_PROFILE, allowAllProfile, type Kind, type Kinds } from '../model/index.ts';
import type { KeyValue, Store } from '../store.ts';
import type { InvalidObject } from '../update.ts';
import { describeErrors } from '../validate.ts';

/** One object of a kind, as an agent takes it. */
export interface Scanned<K extends Kind> {
  /** `name` or `namespace/name`, from the key, as in `Update`. */
  readonly id: string;
  /** null: it cannot be used, and counts as absent. */
  readonly resource: Kinds[K] | null;
  /** What is wrong with it, or with the part of it that is left out. */
  readonly invalid: InvalidObject | null;
}

export interface ScanOptions<K extends Kind> {
  /** Only of this one. */
  readonly namespace?: string;
  /**
   * Whether an object is wanted, by what is stored, which nobody has checked: any field may be missing or of another type. What is not wanted is
   * let go at once, so that a kind of any size can be looked through.
   */
  readonly keep?: (stored: Stored<K>, id: string) => boolean;
}

/** An object as it is stored, before any check. */
export interface Stored<K extends Kind> {
  readonly metadata: Kinds[K]['metadata'];
  readonly spec: Readonly<Record<string, unknown>>;
}

/** Goes through the objects of a kind in key order. What cannot even be read is never kept from the caller. */
export async function* scanKind<K extends Kind>(
  store: Store,
  kind: K,
  { namespace, keep }: ScanOptions<K> = {},
): AsyncGenerator<Scanned<K>> {
  for await (const page of store.list(kindPrefix(kind, namespace)))
    for (const entry of page) {
      const scanned = scanEntry<K>(entry, keep);
      if (scanned) yield scanned;
    }
}

/** One object by its id; null: there is none. The profile that is built in is there without being stored. */
export async function scanOne<K extends Kind>(
  store: Store,
  kind: K,
  name: string,
  namespace?: string,
): Promise<Scanned<K> | null> {
  if (kind === 'Profile' && name === ALLOW_ALL_PROFILE)
    return { id: name, resource: allowAllProfile() as Kinds[K], invalid: null };
  const entry = await store.get(resourceKey(kind, name, namespace));
  return entry && scanEntry<K>(entry);
}

function scanEntry<K extends Kind>(entry: KeyValue, keep?: ScanOptions<K>['keep']): Scanned<K> | null {
  const key = parseKey(entry.key);
  const where = shown(entry.key, 300);
  if (key?.type !== 'resource')
    return {
      id: where,
      resource: null,
      invalid: { where, kind: 'unknown', id: where, message: 'is not the key of a resource' },
    };
  const wrong = (message: string, used: boolean): InvalidObject => ({
    where,
    kind: key.kind,
    id: shown(key.id, 300),
    message,
    ...(used && { used }),
  });
  if (keep) {
    const envelope = readEnvelope(entry, key);
    if (!envelope.ok) return { id: key.id, resource: null, invalid: wrong(envelope.error, false) };
    if (!keep(envelope.value as unknown as Stored<K>, key.id)) return null;
  }
  const decoded = decodeResource(entry, key);
  if (!decoded.ok) return { id: key.id, resource: null, invalid: wrong(decoded.error, false) };
  const { resource, leftOut } = decoded.value;
  const invalid = leftOut.length > 0 ? wrong(`left out: ${describeErrors(leftOut)}`, true) : null;
  return { id: key.id, resource: resource as Kinds[K], invalid };
}
