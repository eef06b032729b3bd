import { Backoff, type Cancel, type Clock, type Log, messageOf } from '#core';
import { ensureSetting, type Setting, type Sysctl } from '../kernel/sysctl.ts';
import type { Link } from '../kernel/types.ts';
import { inSlices, type Sliced } from '../slices.ts';

export interface SettingsReconcilerOptions {
  readonly sysctl: Sysctl;
  readonly clock: Clock;
  readonly log: Log;
  readonly onDirty: () => void;
}

interface Desired {
  readonly settings: readonly Setting[];
  /** The interface they were last put on; another index means a new interface with the kernel's defaults. */
  done: number | null;
  backoff: Backoff;
  due: number;
  problem: string | null;
}

/** Kernel settings of interfaces (and of the node, under the name ''), put on when the interface is there and again when it is a new one. */
export class SettingsReconciler {
  readonly #o: SettingsReconcilerOptions;
  readonly #desired = new Map<string, Desired>();
  #links: ReadonlyMap<string, Link> = new Map();
  #timer: Cancel | null = null;

  constructor(options: SettingsReconcilerOptions) {
    this.#o = options;
  }
  /** The settings of an interface; undefined: leave it alone from now on. */
  set(link: string, settings: readonly Setting[] | undefined): void {
    if (!settings) {
      this.#desired.delete(link);
      return;
    }
    const before = this.#desired.get(link);
    if (before && sameSettings(before.settings, settings)) return;
    this.#desired.set(link, { settings, done: null, backoff: new Backoff(100, 10_000), due: 0, problem: null });
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
      if (index === undefined || desired.done === index || desired.due > now) continue;
      try {
        for (const setting of desired.settings) ensureSetting(this.#o.sysctl, setting);
        desired.done = index;
        desired.problem = null;
        desired.backoff.reset();
      } catch (error) {
        if (desired.problem === null) this.#o.log.warn({ ifname: name, error: messageOf(error) }, 'setting refused');
        desired.problem = messageOf(error);
        const delay = desired.backoff.next();
        desired.due = now + delay;
        this.#timer?.();
        this.#timer = this.#o.clock.after(delay, this.#o.onDirty);
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
    this.#timer?.();
  }
}

const sameSettings = (a: readonly Setting[], b: readonly Setting[]): boolean =>
  a.length === b.length && a.every((s, i) => s.path === b[i].path && s.value === b[i].value);
