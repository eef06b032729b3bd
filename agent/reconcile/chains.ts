import type { Clock, Family, Log, Metrics, Milliseconds } from '#core';
import { type PolicyChanges, TABLES, type Table } from '#policy';
import type { Failure, RuleBackend, TableState } from '../kernel/types.ts';
import { atOnce, forEach, type Sliced } from '../slices.ts';
import type { Refusal } from './refused.ts';
import { TableReconciler } from './table.ts';

export interface ChainReconcilerOptions {
  readonly backend: RuleBackend;
  readonly families: readonly Family[];
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface ChainOutcome {
  /** Rules written or removed. */
  readonly written: number;
  readonly failures: readonly Failure[];
  /** Something is to be tried again: come back after this time. */
  readonly again?: Milliseconds;
}

/** A refused rule, with where it stands; `tsnetctl node status` shows these. */
export type Quarantined = Refusal & { readonly family: Family; readonly table: Table };

interface TableOf {
  readonly family: Family;
  readonly table: Table;
  readonly reconciler: TableReconciler;
}

/** What a family's tables held once, with its fingerprint from just before. */
interface Look {
  readonly fingerprint: string | undefined;
  readonly now: Readonly<Record<Table, TableState>>;
}

/**
 * Makes the kernel's chains and hooks exactly the desired ones, table by table; each table is one atomic change for packets. A rule that the
 * kernel refuses closes its owner and nothing else; a table that cannot be written at all is tried again with back-off.
 */
export class ChainReconciler {
  readonly #backend: RuleBackend;
  readonly #families: readonly Family[];
  readonly #tables: readonly TableOf[];
  readonly #counters;
  /** What `check` read last of each family. */
  readonly #looks = new Map<Family, Look>();
  /** Which backend was read ahead. */
  #readAhead: string | undefined;
  /** Reading and writing take turns: what is read during a write is neither the old state nor the new. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: ChainReconcilerOptions) {
    this.#backend = options.backend;
    this.#families = options.families;
    this.#tables = options.families.flatMap((family) =>
      TABLES.map((table) => ({ family, table, reconciler: new TableReconciler({ ...options, family, table }) })),
    );
    this.#counters = declareMetrics(options.metrics, this.#tables);
  }

  /** What policy says has changed. */
  update(changes: Pick<PolicyChanges, 'chains' | 'hooks'>): void {
    atOnce(this.updating(changes));
  }
  /** The same, to be done in slices; nothing may be applied meanwhile. */
  *updating(changes: Pick<PolicyChanges, 'chains' | 'hooks'>): Sliced {
    yield* forEach(changes.chains, ({ family, table, name, chain }) => this.#of(family, table)?.setChain(name, chain));
    if (changes.hooks)
      for (const { family, reconciler } of this.#tables) reconciler.setHooks(changes.hooks[family] ?? []);
  }

  /** Sets that the kernel does not have as they should be, by their name there, with the reason; what asks them is closed. */
  setUnusable(sets: ReadonlyMap<string, string>): void {
    for (const { reconciler } of this.#tables) reconciler.setUnusable(sets);
  }

  /** Kernel state is not trusted any more; the next apply reads it and writes what differs. */
  resync(): void {
    for (const { reconciler } of this.#tables) reconciler.distrust();
  }

  /**
   * Reads the kernel before anything is desired, so that the first apply need not. For backends whose changes the kernel tells of: a stranger's that is told
   * in between is to lead to `check`.
   */
  readAhead(): Promise<void> {
    return this.#inTurn(async () => {
      const { name } = this.#backend;
      await this.#eachFamily(async (family, tables) => {
        const now = await this.#backend.read(family);
        for (const { table, reconciler } of tables) reconciler.adopt(now[table]);
      });
      this.#readAhead = name;
    });
  }

  /**
   * Looks at the kernel, reads it if it is not as it was read last, and says whether a stranger has changed something of ours; the next apply repairs it.
   * @param onTurn when what was being written before has ended
   */
  check(onTurn?: () => void): Promise<boolean> {
    return this.#inTurn(() => this.#check(onTurn));
  }
  apply(): Promise<ChainOutcome> {
    return this.#inTurn(() => this.#apply());
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => {});
    return mine;
  }

  async #check(onTurn?: () => void): Promise<boolean> {
    onTurn?.();
    let changed = false;
    await this.#eachFamily(async (family, tables) => {
      if (tables.every(({ reconciler }) => reconciler.isVacant)) {
        // What was read ahead is not true any more.
        for (const { reconciler } of tables) reconciler.distrust();
        return;
      }
      // Taken before it is read: what changes between leads to another look.
      const fingerprint = await this.#backend.fingerprint(family);
      if (this.#isAsSeen(family, fingerprint)) return;
      const now = await this.#backend.read(family);
      this.#looks.set(family, { fingerprint, now });
      for (const { table, reconciler } of tables)
        if (reconciler.check(now[table])) {
          changed = true;
          this.#counters.foreign.inc({ ip_version: String(family), table });
        }
    });
    return changed;
  }

  /** What was written since then is to be read, whatever the fingerprint: a program may have lied. */
  #isAsSeen(family: Family, fingerprint: string | undefined): boolean {
    const look = this.#looks.get(family);
    if (!look || fingerprint === undefined || look.fingerprint !== fingerprint) return false;
    return this.#tables.every(
      (t) => t.family !== family || t.reconciler.isVacant || t.reconciler.believes(look.now[t.table]),
    );
  }

  async #apply(): Promise<ChainOutcome> {
    if (this.#readAhead !== undefined && this.#readAhead !== this.#backend.name) this.resync();
    this.#readAhead = undefined;
    let written = 0;
    const failures: Failure[] = [];
    let again: Milliseconds | undefined;
    await this.#eachFamily(async (family, tables) => {
      let read: ReturnType<RuleBackend['read']> | undefined;
      for (const { table, reconciler } of tables) {
        const outcome = await reconciler.apply(async () => {
          read ??= this.#backend.read(family);
          return (await read)[table];
        });
        written += outcome.rules;
        failures.push(...outcome.failures);
        if (outcome.again !== undefined) again = Math.min(again ?? outcome.again, outcome.again);
        this.#counters.written.inc({ ip_version: String(family), table }, outcome.rules);
        if (outcome.failures.some((f) => f.error !== 'REFUSED'))
          this.#counters.errors.inc({ ip_version: String(family), table });
      }
    });
    return { written, failures, ...(again !== undefined && { again }) };
  }

  /** The families side by side: what one of them waits for (a command, the kernel) does not keep the other. */
  async #eachFamily(work: (family: Family, tables: readonly TableOf[]) => Promise<void>): Promise<void> {
    const all = this.#families.map((family) =>
      work(
        family,
        this.#tables.filter((t) => t.family === family),
      ),
    );
    // All have to end before anything else is read or written, whatever one of them says.
    await Promise.allSettled(all);
    await Promise.all(all);
  }

  get quarantined(): Quarantined[] {
    return this.#tables.flatMap(({ family, table, reconciler }) =>
      reconciler.refusals.map((refusal) => ({ ...refusal, family, table })),
    );
  }
  /** Tables in which somebody else keeps changing our chains. */
  get fights(): { family: Family; table: Table }[] {
    return this.#tables.filter(({ reconciler }) => reconciler.fighting).map(({ family, table }) => ({ family, table }));
  }

  #of(family: Family, table: Table): TableReconciler | undefined {
    return this.#tables.find((t) => t.family === family && t.table === table)?.reconciler;
  }
}

function declareMetrics(metrics: Metrics, tables: readonly TableOf[]) {
  const labels = ['ip_version', 'table'] as const;
  const gauge = (name: string, help: string, value: (t: TableReconciler) => number) =>
    metrics.gauge(name, help, labels, (g) => {
      for (const { family, table, reconciler } of tables)
        g.set({ ip_version: String(family), table }, value(reconciler));
    });
  gauge('tsnet_chains', 'Chains that policy needs.', (t) => t.chains);
  gauge('tsnet_rules', 'Rules in those chains.', (t) => t.rules);
  gauge('tsnet_rules_refused', 'Chains closed because the kernel refuses a rule of them.', (t) => t.refusals.length);
  gauge('tsnet_rules_fights', '1 while somebody else keeps changing our chains.', (t) => Number(t.fighting));
  return {
    written: metrics.counter('tsnet_rules_written_total', 'Rules written or removed.', labels),
    errors: metrics.counter('tsnet_rules_errors_total', 'Tables that could not be written, by attempt.', labels),
    foreign: metrics.counter('tsnet_rules_repairs_total', 'Times that a stranger had changed our chains.', labels),
  };
}
