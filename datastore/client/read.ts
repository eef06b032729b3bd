import { decodeResource, readEnvelope } from '../codec.ts';
import { parseKey } from '../keys.ts';
import { shown } from '../model/fields.ts';
import type { Kind, Kinds } from '../model/index.ts';
import type { KeyValue } from '../store.ts';
import type { InvalidObject } from '../update.ts';

/** A stored resource, and what is wrong with it; no resource when the text cannot be read at all. */
export function openEntry<K extends Kind>(
  entry: KeyValue,
): { readonly resource: Kinds[K] | null; readonly invalid: InvalidObject | null } {
  const key = parseKey(entry.key);
  const where = shown(entry.key, 300);
  if (key?.type !== 'resource')
    return { resource: null, invalid: { where, kind: 'unknown', id: where, message: 'is not the key of a resource' } };
  const decoded = decodeResource(entry, key);
  if (decoded.ok) return { resource: decoded.value.resource as Kinds[K], invalid: null };
  const envelope = readEnvelope(entry, key);
  return {
    resource: envelope.ok ? (envelope.value as Kinds[K]) : null,
    invalid: { where, kind: key.kind, id: shown(key.id, 300), message: decoded.error },
  };
}
