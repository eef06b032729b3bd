import { Backoff, type Cancel, type Clock, type Log, type Milliseconds, messageOf } from '#core';
import { ensureSetting, isInPlace, type Setting, type Sysctl } from '../kernel/sysctl.ts';
import type { Link, Netlink } from '../kernel/types.ts';
import { inSlices, type Sliced } from '../slices.ts';

export interface SettingsReconcilerOptions {
  readonly sysctl: Sysctl;
  readonly netlink: Pick<Netlink, 'watch'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly onDirty: () => void;
}

interface Desired {
  readonly settings: readonly Setting[];
  /** The interface they were last put on; another index means a new interface with the kernel's defaults. */
  done: number | null;
  backoff: Backoff;
  due: Milliseconds;
  /** When it was last put right after somebody else. */
  repaired: Milliseconds;
  problem: string | null;
}

/** What is told of an interface within this time is looked at once. */
const SETTLE: Milliseconds = 20;
/** Whoever fights over a setting is answered so often at most. */
const REPAIR_EVERY: Milliseconds = 1_000;

/** Kernel settings of interfaces (and of the node, under the name ''), put on when the interface is there and again when it is a new one. */
export class SettingsReconciler {
  readonly #o: SettingsReconcilerOptions;
  readonly #desired = new Map<string, Desired>();
  #links: ReadonlyMap<string, Link> = new Map();
  #timer: { due: Milliseconds; cancel: Cancel } | null = null;
  readonly #told = new Set<string>();
  #look: Cancel | null = null;
  readonly #stop: Cancel;

  constructor(options: SettingsReconcilerOptions) {
    this.#o = options;
    this.#stop = options.netlink.watch({
      setting: (link) => {
        this.#told.add(link);
        this.#look ??= options.clock.after(SETTLE, () => this.#lookAgain());
      },
      overrun: () => {
        this.recheck();
        options.onDirty();
      },
    });
  }
  /** The settings of an interface; undefined: leave it alone from now on. */
  set(link: string, settings: readonly Setting[] | undefined): void {
    if (!settings) {
      this.#desired.delete(link);
      return;
    }
    const before = this.#desired.get(link);
    if (before && sameSettings(before.settings, settings)) return;
    const fresh = { done: null, due: 0, repaired: Number.NEGATIVE_INFINITY, problem: null };
    this.#desired.set(link, { settings, backoff: new Backoff(100, 10_000), ...fresh });
  }
  onLinks(links: ReadonlyMap<string, Link>): void {
    this.#links = links;
  }
  /** Every setting is read again at the next apply: somebody may have changed one. */
  recheck(): void {
    for (const desired of this.#desired.values()) desired.done = null;
  }
  /** Puts on what is not in place. */
  apply(): Promise<void> {
    return inSlices(this.#o.clock, this.#apply());
  }
  *#apply(): Sliced {
    const now = this.#o.clock.now();
    for (const [name, desired] of this.#desired) {
      yield;
      const index = name === '' ? 0 : this.#links.get(name)?.index;
      if (index === undefined || desired.done === index) continue;
      if (desired.due > now) {
        this.#wake(desired.due);
        continue;
      }
      try {
        for (const setting of desired.settings) ensureSetting(this.#o.sysctl, setting);
        desired.done = index;
        desired.problem = null;
        desired.backoff.reset();
      } catch (error) {
        if (desired.problem === null) this.#o.log.warn({ ifname: name, error: messageOf(error) }, 'setting refused');
        desired.problem = messageOf(error);
        desired.due = now + desired.backoff.next();
        this.#wake(desired.due);
      }
    }
  }
  /** Why an interface does not have its settings; the node, under the name ''. */
  problem(link: string): string | null {
    return this.#desired.get(link)?.problem ?? null;
  }
  /** Whether the interface that exists now has been given its settings. */
  isDone(link: string): boolean {
    const desired = this.#desired.get(link);
    return desired !== undefined && desired.done === (link === '' ? 0 : this.#links.get(link)?.index);
  }
  close(): void {
    this.#stop();
    this.#look?.();
    this.#timer?.cancel();
  }

  #lookAgain(): void {
    this.#look = null;
    for (const name of this.#told) this.#compare(name);
    this.#told.clear();
  }
  /** What we write ourselves is told, too: only what is wrong is work. */
  #compare(name: string): void {
    const desired = this.#desired.get(name);
    if (!desired || !this.isDone(name)) return;
    if (desired.settings.every((setting) => isInPlace(this.#o.sysctl, setting))) return;
    this.#o.log.warn({ ifname: name }, 'somebody changed a setting of ours; it is put back');
    const now = this.#o.clock.now();
    desired.done = null;
    desired.due = desired.repaired = Math.max(now, desired.repaired + REPAIR_EVERY);
    if (desired.due > now) this.#wake(desired.due);
    else this.#o.onDirty();
  }
  #wake(due: Milliseconds): void {
    if (this.#timer && this.#timer.due <= due) return;
    this.#timer?.cancel();
    const fire = () => {
      this.#timer = null;
      this.#o.onDirty();
    };
    this.#timer = { due, cancel: this.#o.clock.after(Math.max(0, due - this.#o.clock.now()), fire) };
  }
}

const sameSettings = (a: readonly Setting[], b: readonly Setting[]): boolean =>
  a.length === b.length && a.every((s, i) => s.path === b[i].path && s.value === b[i].value);
