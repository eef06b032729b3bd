import { hasTieredName } from '../codec.ts';
import { shown } from '../model/fields.ts';
import { Twins, twinMessage } from '../twins.ts';
import type { SyncSink, Update, WatchedKind } from '../update.ts';
import { isKind } from '../validate.ts';

interface Known {
  readonly kind: WatchedKind;
  readonly id: string;
  /** Revision last delivered; negative: to be delivered again whatever its revision. */
  revision: bigint;
}

/** What the sink has been told: which keys exist at which revision, and which of them are invalid. */
export class SyncState {
  readonly #sink: SyncSink;
  readonly #known = new Map<string, Known>();
  readonly #invalid = new Set<string>();
  readonly #twins = new Twins((key, name) => {
    const known = this.#known.get(key);
    if (name !== null && known) this.invalid(key, known.kind, known.id, twinMessage(name), true);
    else this.valid(key);
  });

  constructor(sink: SyncSink) {
    this.#sink = sink;
  }

  /** Takes note of a key's revision (null: deleted); false when the sink knows that already. */
  note(key: string, kind: WatchedKind, id: string, revision: bigint | null): boolean {
    if (revision === null) return this.#known.delete(key);
    const known = this.#known.get(key);
    if (known && known.revision >= revision) return false;
    if (known) known.revision = revision;
    else this.#known.set(key, { kind, id, revision });
    return true;
  }

  /** The name of a policy whose key may be an older client's; null: it is not there, or cannot be used. */
  policy(key: string, name: string | null): void {
    this.#twins.set(key, name);
  }

  /** After a complete snapshot: what is known but not present is gone. */
  deleteAllBut(present: ReadonlySet<string>, revision: bigint): void {
    const gone: Update[] = [];
    for (const [key, { kind, id }] of this.#known) {
      if (present.has(key)) continue;
      this.#known.delete(key);
      if (isKind(kind) && hasTieredName(kind)) this.policy(key, null);
      gone.push({ kind, id, value: null, revision } as Update);
    }
    for (const key of this.#invalid) if (!present.has(key)) this.valid(key);
    if (gone.length > 0) this.#sink.onUpdates(gone);
  }

  /** The store is not the one that was read before: revisions say nothing about contents any more. */
  distrust(): void {
    for (const known of this.#known.values()) known.revision = -1n;
  }

  invalid(key: string, kind: string, id: string, message: string, used = false): void {
    this.#invalid.add(key);
    const where = shown(key, 300);
    this.#sink.onInvalid(where, { where, kind, id: shown(id, 300), message, ...(used && { used }) });
  }

  valid(key: string): void {
    if (this.#invalid.delete(key)) this.#sink.onInvalid(shown(key, 300), null);
  }
}
