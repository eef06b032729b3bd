import { type Cancel, type Clock, type Log, type Milliseconds, messageOf } from '#core';
import { watchRules } from '../kernel/rule-events.ts';
import type { ChainReconciler } from './chains.ts';
import type { SetReconciler } from './sets.ts';

export interface WatchOptions {
  readonly chains: Pick<ChainReconciler, 'readAhead' | 'check'>;
  readonly sets: Pick<SetReconciler, 'check'>;
  /** Whose changes the kernel tells of, and whether a change that it tells of was our own. */
  readonly filter: {
    readonly news: { readonly rules: boolean; readonly sets: boolean };
    isOurs(pid: number, port: number): boolean;
  };
  readonly clock: Clock;
  readonly log: Log;
  /** Something of ours was changed and is to be repaired. */
  readonly onDirty: () => void;
}

/** A firewall that reloads makes many transactions at once; they are looked at together. */
const SETTLE: Milliseconds = 50;
const ASK_EVERY: Milliseconds = 500;
/**
 * Between two looks passes this many times what the first took. Less after one at legacy rules: one that takes long is about a change, for if there is none
 * they are not read, and the next change is to be repaired within a second, too.
 */
const REST = { sets: 4, rules: 2 };

/**
 * Notices what a stranger does to our chains and sets within a second: by the kernel's own news where there are any, by asking
 * otherwise. Asking slows down when reading the tables takes long.
 */
export class RuleWatch {
  readonly #o: WatchOptions;
  readonly #cancels: Cancel[] = [];
  readonly #timers = new Map<'event' | 'poll', Cancel>();
  /** Who has changed something since the last look: process and port, once each. */
  readonly #authors = new Map<string, readonly [pid: number, port: number]>();
  #looking = false;
  #again = false;
  #stopped = false;
  /** How long the looks of this time took. */
  #spent: Milliseconds = 0;

  constructor(options: WatchOptions) {
    this.#o = options;
    this.#cancels.push(
      watchRules({
        changed: (pid, port) => this.#onChange(pid, port),
        overrun: () => this.#onChange(0, 0),
      }),
    );
    this.#poll(ASK_EVERY);
  }
  /** Before anything is desired: chains are read where news of them come, so that a start with many of them need not wait for it. */
  async readAhead(): Promise<void> {
    if (!this.#o.filter.news.rules) return;
    try {
      await this.#o.chains.readAhead();
    } catch (error) {
      this.#o.log.warn({ error: messageOf(error) }, 'chains could not be read ahead; the first apply reads them');
    }
  }
  stop(): void {
    this.#stopped = true;
    for (const cancel of [...this.#cancels, ...this.#timers.values()]) cancel();
  }

  #onChange(pid: number, port: number): void {
    if (!this.#o.filter.news.rules) return;
    this.#authors.set(`${pid} ${port}`, [pid, port]);
    if (this.#timers.has('event')) return;
    const look = () => {
      this.#timers.delete('event');
      // The runner's word about what it started arrives by another way than the kernel's about what was done.
      const strange = [...this.#authors.values()].some((author) => !this.#o.filter.isOurs(...author));
      this.#authors.clear();
      if (strange) void this.#look(true);
    };
    this.#timers.set('event', this.#o.clock.after(SETTLE, look));
  }

  #poll(delay: Milliseconds): void {
    if (this.#stopped) return;
    const ask = async () => {
      const { rules, sets } = this.#o.filter.news;
      this.#spent = 0;
      if (!rules || !sets) await this.#look(!rules);
      const spent = this.#spent;
      this.#poll(Math.max(ASK_EVERY - spent, spent * (rules ? REST.sets : REST.rules)));
    };
    this.#timers.set(
      'poll',
      this.#o.clock.after(delay, () => void ask()),
    );
  }

  /** A look that waits for a write to end, which may wait for a lock, costs nothing meanwhile. */
  async #timed(part: { check(onTurn: () => void): Promise<boolean> }): Promise<boolean> {
    const { clock } = this.#o;
    let began = clock.now();
    const found = await part.check(() => {
      began = clock.now();
    });
    this.#spent += clock.now() - began;
    return found;
  }

  async #look(chains: boolean): Promise<void> {
    if (this.#stopped) return;
    if (this.#looking) {
      this.#again ||= chains;
      return;
    }
    this.#looking = true;
    try {
      const changed = chains && (await this.#timed(this.#o.chains));
      if (!(await this.#timed(this.#o.sets)) || changed) this.#o.onDirty();
    } catch (error) {
      this.#o.log.warn({ error: messageOf(error) }, 'chains and sets could not be read back');
    } finally {
      this.#looking = false;
    }
    if (!this.#again) return;
    this.#again = false;
    await this.#look(true);
  }
}
