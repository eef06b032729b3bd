import { hasTieredName } from '../codec.ts';
import { type ParsedKey, parseKey } from '../keys.ts';
import { shown } from '../model/fields.ts';
import { Twins, twinMessage } from '../twins.ts';
import type { SyncSink, Update, WatchedKind } from '../update.ts';
import { isKind } from '../validate.ts';
import { Revisions } from './revisions.ts';

/** What the sink has been told: which keys exist at which revision, and which of them are invalid. */
export class SyncState {
  readonly #sink: SyncSink;
  /** Revision last delivered, by key; distrusted: to be delivered again, whatever its revision. */
  readonly #known = new Revisions();
  readonly #invalid = new Set<string>();
  /** Those of the invalid keys that the snapshot being read has not shown yet. */
  #doubted = new Set<string>();
  readonly #twins = new Twins((key, name) => {
    const target = this.#known.has(key) && watchedAs(parseKey(key));
    if (name !== null && target) this.invalid(key, target.kind, target.id, twinMessage(name), true);
    else this.valid(key);
  });

  constructor(sink: SyncSink) {
    this.#sink = sink;
  }

  /** Takes note of a key's revision (null: deleted); false when the sink knows that already. */
  note(key: string, revision: bigint | null): boolean {
    if (revision === null) return this.#known.delete(key);
    const known = this.#known.get(key);
    if (known !== undefined && known >= revision) return false;
    this.#known.set(key, revision);
    return true;
  }

  /** The name of a policy whose key may be an older client's; null: it is not there, or cannot be used. */
  policy(key: string, name: string | null): void {
    this.#twins.set(key, name);
  }

  /**
   * A snapshot begins: what was known is to be delivered again, because the store may have been set back while nobody watched, and then revisions say
   * nothing about contents.
   */
  distrust(): void {
    this.#known.distrust();
    this.#doubted = new Set(this.#invalid);
  }

  /** The snapshot is complete: what is known, but was not in it, is gone. */
  deleteUnseen(revision: bigint): void {
    const gone: Update[] = [];
    for (const key of this.#known.distrusted()) {
      this.#known.delete(key);
      const target = watchedAs(parseKey(key));
      if (!target) continue;
      const { kind, id } = target;
      if (isKind(kind) && hasTieredName(kind)) this.policy(key, null);
      gone.push({ kind, id, value: null, revision } as Update);
    }
    for (const key of this.#doubted) this.valid(key);
    this.#doubted.clear();
    if (gone.length > 0) this.#sink.onUpdates(gone);
  }

  invalid(key: string, kind: string, id: string, message: string, used = false): void {
    this.#doubted.delete(key);
    this.#invalid.add(key);
    const where = shown(key, 300);
    this.#sink.onInvalid(where, { where, kind, id: shown(id, 300), message, ...(used && { used }) });
  }

  valid(key: string): void {
    this.#doubted.delete(key);
    if (this.#invalid.delete(key)) this.#sink.onInvalid(shown(key, 300), null);
  }
}

/** The kind and id under which a key is delivered; null for keys that are read, but not followed. */
export function watchedAs(parsed: ParsedKey | null): { kind: WatchedKind; id: string } | null {
  switch (parsed?.type) {
    case 'resource':
      return parsed;
    case 'affinity':
      return { kind: 'IpamAffinity', id: parsed.id };
    case 'block':
      return { kind: 'IpamBlock', id: parsed.id };
    default:
      return null;
  }
}
