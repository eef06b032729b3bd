import type { Cancel, Clock, Family, Milliseconds } from '#core';
import { addCommunity, COMMUNITY, hasCommunity } from './attributes.ts';
import type { DownReason } from './fsm/types.ts';
import type { Loop } from './loop.ts';
import type { AttributeTable } from './rib/attributes.ts';
import type { Rib } from './rib/rib.ts';
import type { Sweeper } from './sweeper.ts';
import { CEASE, ERROR } from './wire/codes.ts';
import type { Negotiated } from './wire/types.ts';

/** How long stale routes wait for End-of-RIB once the session is back. */
const STALE_AT_MOST: Milliseconds = 360_000;
/** Rows that are marked between two looks at the clock. */
const ROWS = 2048;

export interface RetentionContext {
  readonly clock: Clock;
  readonly loop: Loop;
  readonly ribs: Readonly<Record<Family, Rib>>;
  readonly attributes: AttributeTable;
  readonly sweepers: Readonly<Record<Family, Sweeper>>;
}

/**
 * Which of a peer's routes still count. Each session of the peer is a run, and every path knows the run that announced it: paths of an earlier
 * run are stale. They wait for the peer to come back (RFC 4724), then for its End-of-RIB, and beyond the restart time as the last resort (RFC 9494).
 * A refresh with borders (RFC 7313) is a new run as well.
 */
export class Retention {
  readonly runs: Record<Family, number> = { 4: 0, 6: 0 };
  /** Families with routes of an earlier run. */
  readonly stale = new Set<Family>();
  /** Families whose End-of-RIB has come in this session. */
  readonly synced = new Set<Family>();
  readonly #source: number;
  readonly #c: RetentionContext;
  readonly #onSynced: () => void;
  readonly #timers = new Map<Family, Cancel>();
  /** The session is away: what is stale is all that there is. */
  readonly #away = new Set<Family>();

  constructor(source: number, context: RetentionContext, onSynced: () => void) {
    this.#source = source;
    this.#c = context;
    this.#onSynced = onSynced;
  }

  /** Whether a path of that run waits to be told again. */
  isStale(family: Family, run: number): boolean {
    return this.#away.has(family) || (this.stale.has(family) && run !== this.runs[family]);
  }
  /** The session is lost, and its routes stay for a while; those of a run before go (RFC 4724 §4.2, a second restart). */
  retain(family: Family, { gracefulRestart, longLived }: Negotiated): void {
    this.#sweep(family);
    this.stale.add(family);
    this.#away.add(family);
    const long = (longLived?.[family]?.staleTime ?? 0) * 1000;
    this.#after(family, (gracefulRestart?.restartTime ?? 0) * 1000, () =>
      long > 0 ? this.#retainLong(family, long) : this.forget(family),
    );
  }
  /** Everything that was told so far goes. */
  forget(family: Family, done?: () => void): void {
    this.#cancel(family);
    this.stale.delete(family);
    this.#away.delete(family);
    this.synced.delete(family);
    this.#begin(family);
    this.#sweep(family, done);
  }
  /** The session is back: what is stale stays until End-of-RIB, or goes at once when the peer has not kept its own side. */
  resume(family: Family, { gracefulRestart }: Negotiated): void {
    this.synced.delete(family);
    this.#away.delete(family);
    if (!this.stale.has(family)) return;
    if (gracefulRestart?.families[family]?.forwarding) {
      this.#begin(family);
      this.#after(family, STALE_AT_MOST, () => this.endOfRib(family));
    } else this.forget(family);
  }
  endOfRib(family: Family): void {
    this.#cancel(family);
    this.synced.add(family);
    this.end(family);
    this.#onSynced();
  }
  /** A refresh begins: what is not announced again until its end goes. */
  begin(family: Family): void {
    this.#begin(family);
    this.stale.add(family);
  }
  end(family: Family): void {
    if (this.stale.delete(family)) this.#sweep(family);
  }

  /** RFC 9494 §4.2: routes stay as the last resort, marked; those that do not want that go. */
  #retainLong(family: Family, time: Milliseconds): void {
    this.#after(family, time, () => this.forget(family));
    const { attributes, ribs, loop } = this.#c;
    const mark = (_prefix: number, _received: number, before: number) => {
      if (before === 0) return 0;
      const value = attributes.valueOf(before);
      if (hasCommunity(value, COMMUNITY.noLlgr)) return 0;
      return attributes.intern(addCommunity(value, COMMUNITY.llgrStale));
    };
    let row = 1;
    loop.add(() => {
      if (!this.stale.has(family) || !this.#away.has(family)) return false;
      row = ribs[family].reimport(this.#source, mark, row, ROWS);
      return row !== 0;
    });
  }
  #begin(family: Family): void {
    this.runs[family] = (this.runs[family] + 1) & 0xff;
  }
  #sweep(family: Family, done?: () => void): void {
    this.#c.sweepers[family].sweep(this.#source, done);
  }
  #after(family: Family, delay: Milliseconds, run: () => void): void {
    this.#cancel(family);
    this.#timers.set(family, this.#c.clock.after(delay, run));
  }
  #cancel(family: Family): void {
    this.#timers.get(family)?.();
    this.#timers.delete(family);
  }
}

/** RFC 4724 §4.2 and RFC 8538 §4: which ends of a session leave its routes in place. */
export function keepsRoutes(reason: DownReason, { gracefulRestart }: Negotiated): boolean {
  if (!gracefulRestart) return false;
  switch (reason.why) {
    case 'tcp':
    case 'replaced':
      return true;
    case 'hold timer':
    case 'send hold timer':
    case 'reconfigured':
      return gracefulRestart.notification;
    case 'sent':
      return gracefulRestart.notification && reason.code !== ERROR.cease;
    case 'received': {
      const { code, subcode } = reason.notification;
      return gracefulRestart.notification && !(code === ERROR.cease && subcode === CEASE.hardReset);
    }
    case 'stopped':
      return false;
  }
}
