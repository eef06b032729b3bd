import { type BestBatch, prefixText } from '#bgp';
import { Backoff, type Cancel, type Clock, FAMILIES, type Family, type Log, messageOf } from '#core';
import type { ColumnFailure, Netlink, Route } from './kernel/types.ts';
import { LearnedTable, type LearnedWrites } from './learned-table.ts';

/** Routes that go to the kernel at a time; while a worker thread sends them, sockets are read. */
const BATCH = 8192;
/** Routes of an earlier run wait this long for the peers to confirm them. */
const INHERITED_AT_MOST = 120_000;
/** Between what puts the kernel's table in doubt and reading it: links go up and down in bursts. */
const DOUBT = 200;

export interface LearnedKernelOptions {
  readonly netlink: Pick<Netlink, 'listRoutes' | 'writeRoutes' | 'writeRouteColumns' | 'watch' | 'close'>;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Best routes straight into the kernel, for a speaker that owns every route of protocol 80: a router, not a node. Changes coalesce by prefix while
 * the kernel is busy; a stranger's route at the same key is left alone and the prefix is tried again later.
 */
export class LearnedKernel {
  readonly #o: LearnedKernelOptions;
  readonly #tables = { 4: new LearnedTable(4), 6: new LearnedTable(6) } as const;
  readonly #retry = new Backoff(1_000, 30_000);
  readonly #cancels: Cancel[] = [];
  readonly #refused: { writes: LearnedWrites; index: number }[] = [];
  #inherits = false;
  #busy: Promise<void> | null = null;
  #again: Cancel | null = null;
  #doubt: Cancel | null = null;
  #mustRead = true;
  #closed = false;

  constructor(options: LearnedKernelOptions) {
    this.#o = options;
  }
  /** Reads what is there. @throws OperationalError KERNEL */
  async start(): Promise<void> {
    this.#cancels.push(
      this.#o.netlink.watch({
        route: (family, route, gone) => this.#onRoute(family, route, gone),
        // The kernel drops the routes of a link, or of an address, without a word.
        link: () => this.#askRead(),
        address: () => this.#askRead(),
        overrun: () => this.#askRead(),
      }),
    );
    await this.#read(true);
    this.#inherits = FAMILIES.some((family) => this.#tables[family].hasInherited);
    if (this.isRestart) this.#cancels.push(this.#o.clock.after(INHERITED_AT_MOST, () => this.restartComplete()));
  }
  get isRestart(): boolean {
    return this.#inherits;
  }
  apply(batch: BestBatch): void {
    this.#tables[batch.family].apply(batch);
    this.#run();
  }
  restartComplete(): void {
    for (const family of FAMILIES) this.#tables[family].disown();
    this.#run();
  }
  /** Ends; the routes stay. */
  async stop(): Promise<void> {
    this.#closed = true;
    for (const cancel of [...this.#cancels, this.#again, this.#doubt]) cancel?.();
    await this.#busy;
    this.#o.netlink.close();
  }

  #run(): void {
    if (this.#busy || this.#closed || (!this.#mustRead && !this.#mustWrite)) return;
    this.#busy = this.#work().finally(() => {
      this.#busy = null;
      setImmediate(() => this.#run());
    });
  }
  get #mustWrite(): boolean {
    return FAMILIES.some((family) => !this.#tables[family].isSettled);
  }
  async #work(): Promise<void> {
    try {
      if (this.#mustRead) await this.#read(false);
      // The next batch goes out with the answers to the last one, not a turn of the loop later: the kernel stands still between them.
      while (this.#mustWrite && !this.#mustRead && !this.#closed)
        for (const family of FAMILIES) await this.#write(this.#tables[family].take(BATCH));
    } catch (error) {
      this.#o.log.error({ error: messageOf(error) }, 'routes cannot be written');
      this.#askRead(this.#retry.next());
    }
  }
  async #write(writes: LearnedWrites): Promise<void> {
    if (writes.count === 0) return;
    const failures = await this.#o.netlink.writeRouteColumns(writes);
    if (failures.length === 0) {
      this.#retry.reset();
      return;
    }
    const [{ index, error, detail }] = failures;
    const route = { to: prefixText(writes, index), via: writes.like[index].via, op: writes.op[index] };
    this.#o.log.warn({ ...route, error, detail, count: failures.length }, 'the kernel refused routes');
    for (const failure of failures) this.#onFailure(writes, failure);
  }
  #onFailure(writes: LearnedWrites, { index, error }: ColumnFailure): void {
    // A lost answer, or a refusal of what cannot be refused: only the kernel knows what it holds.
    if (error === 'ENOBUFS' || writes.op[index] !== 'add') this.#askRead(this.#retry.next());
    else {
      this.#tables[writes.family].refused(writes, index);
      this.#refused.push({ writes, index });
    }
    this.#again ??= this.#o.clock.after(this.#retry.next(), () => this.#tryAgain());
  }
  #tryAgain(): void {
    this.#again = null;
    for (const { writes, index } of this.#refused.splice(0)) this.#tables[writes.family].tryAgain(writes, index);
    this.#run();
  }
  #onRoute(family: Family, route: Route, gone: boolean): void {
    if (!gone || this.#busy) this.#askRead();
    else {
      this.#tables[family].lost(route);
      this.#run();
    }
  }
  #askRead(delay = DOUBT): void {
    this.#doubt ??= this.#o.clock.after(delay, () => {
      this.#doubt = null;
      this.#mustRead = true;
      this.#run();
    });
  }
  async #read(areInherited: boolean): Promise<void> {
    const { netlink } = this.#o;
    this.#refused.length = 0;
    const strays: Route[] = [];
    for (const family of FAMILIES)
      strays.push(...this.#tables[family].read(await netlink.listRoutes(family), areInherited));
    this.#mustRead = false;
    if (strays.length > 0) await netlink.writeRoutes(strays.map((route) => ({ op: 'delete' as const, route })));
  }
}
