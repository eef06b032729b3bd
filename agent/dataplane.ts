import { type Cancel, type Clock, type Log, type Milliseconds, OperationalError } from '#core';
import type { PolicyChanges } from '#policy';
import type { Applier, ApplyStep, StepOutcome } from './apply.ts';
import type { BandwidthLimits } from './bandwidth.ts';
import type { Bgp } from './bgp.ts';
import type { CniFile } from './cni-file.ts';
import type { Intervals, NodeWide } from './felix.ts';
import { nodeSettings, type Sysctl, workloadSettings } from './kernel/sysctl.ts';
import type { Route } from './kernel/types.ts';
import type { PacketFilter } from './packet-filter.ts';
import type { Desired } from './pipeline.ts';
import type { BandwidthReconciler } from './reconcile/bandwidth.ts';
import type { ChainOutcome, ChainReconciler } from './reconcile/chains.ts';
import type { OverlayReconciler } from './reconcile/overlay.ts';
import type { RouteReconciler } from './reconcile/routes.ts';
import type { SetReconciler } from './reconcile/sets.ts';
import type { SettingsReconciler } from './reconcile/settings.ts';
import { inSlices } from './slices.ts';
import type { OverlayIntent } from './vxlan.ts';

export interface DataplaneParts {
  readonly chains: ChainReconciler;
  readonly sets: SetReconciler;
  readonly filter: Pick<PacketFilter, 'removeLeftovers'>;
  /** undefined under --policy-only: routing is another plugin's. */
  readonly routes: RouteReconciler | undefined;
  /** undefined under --policy-only. */
  readonly overlay: OverlayReconciler | undefined;
  readonly mtuFile: CniFile;
  readonly settings: SettingsReconciler;
  readonly bandwidth: BandwidthReconciler;
  readonly sysctl: Sysctl;
  readonly bgp: Bgp | undefined;
}

const nothing: StepOutcome = { written: 0, failures: [] };

/** A step that has nothing to report. */
const quiet = (work: () => void | Promise<void>) => async (): Promise<StepOutcome> => {
  await work();
  return nothing;
};

/**
 * The order in which the kernel is changed (invariants I1, I10), stated here and nowhere else: references before what refers to them, policy
 * before the route that makes a workload reachable, removal in reverse.
 */
export function applySteps(parts: DataplaneParts): ApplyStep[] {
  const { chains, sets, filter, routes, overlay, settings, bandwidth, bgp } = parts;
  return [
    {
      name: 'withdraw',
      because: 'peers stop sending before the blackhole that catches what they send is gone',
      run: quiet(() => bgp?.withdraw()),
    },
    {
      name: 'route deletes',
      because: 'a workload that leaves is unreachable before its policy goes',
      run: async () => (routes ? counted(routes, () => routes.applyDeletes()) : nothing),
    },
    { name: 'sets', because: 'a set exists and is filled before a rule names it', run: () => sets.applyUpdates() },
    {
      name: 'chains',
      because: 'policy stands before the route that makes its workload reachable',
      needs: ['sets'],
      run: async () => {
        chains.setUnusable(sets.unusable);
        return whole(await chains.apply());
      },
    },
    {
      name: 'set removals',
      because: 'what goes from one set to another of the same selector leaves the first when rules ask the second',
      needs: ['chains'],
      run: () => sets.applyRemovals(),
    },
    {
      name: 'interfaces',
      because: 'a workload interface answers ARP and forwards before packets are sent to it',
      run: quiet(() => settings.apply()),
    },
    {
      name: 'bandwidth',
      because: 'the limits of a workload stand before packets are sent to it',
      run: async () => ({ written: await bandwidth.apply(), failures: [] }),
    },
    {
      name: 'overlay',
      because: 'a remote VTEP is known before a route leads to it',
      run: async () => ({ written: 0, failures: (await overlay?.apply()) ?? [] }),
    },
    {
      name: 'route updates',
      because: 'what makes a workload reachable comes when everything it relies on is in place',
      needs: ['chains'],
      run: async () => (routes ? counted(routes, () => routes.applyUpdates()) : nothing),
    },
    {
      name: 'advertise',
      because: 'peers are told only of what this node can deliver or discard',
      needs: ['route updates'],
      run: quiet(() => bgp?.advertise()),
    },
    {
      name: 'overlay deletes',
      because: 'no route leads there any more',
      run: async () => ({ written: 0, failures: (await overlay?.removeUnused()) ?? [] }),
    },
    {
      name: 'set deletes',
      because: 'no rule names them any more, and destroying is slow',
      needs: ['chains'],
      run: () => sets.applyDeletes(),
    },
    {
      name: 'other packet filter',
      because: 'rules of the backend that is not in use go when those in use stand',
      needs: ['chains'],
      run: () => filter.removeLeftovers(),
    },
  ];
}

/** A refused rule is closed by itself; a table that could not be written at all leaves new endpoints without policy, so routes must wait. */
function whole(outcome: ChainOutcome): StepOutcome {
  const failed = outcome.failures.filter((failure) => failure.error !== 'REFUSED');
  if (failed.length > 0) throw new OperationalError('KERNEL', failed.map((f) => `${f.key}: ${f.detail}`).join('; '));
  return outcome;
}

/** The route reconciler keeps its own count and its own retries; what it cannot write it reports by `problems`. */
async function counted(routes: RouteReconciler, work: () => Promise<void>): Promise<StepOutcome> {
  const before = routes.written;
  await work();
  return { written: routes.written - before, failures: [] };
}

/** The desired side of all reconcilers, and the timers that read the kernel back now and then. */
export class Dataplane implements Desired {
  readonly #parts: DataplaneParts;
  readonly #applier: Applier;
  readonly #clock: Clock;
  readonly #log: Log;
  /** The first whole desired state has been handed over. */
  #desired = false;
  /** What the settings of a workload interface were made from, by its name. */
  readonly #links = new Map<string, string>();
  readonly #timers = new Map<keyof Intervals, { period: Milliseconds; cancel: Cancel }>();

  constructor(parts: DataplaneParts, options: { applier: Applier; clock: Clock; log: Log }) {
    this.#parts = parts;
    this.#applier = options.applier;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  async policy(changes: PolicyChanges): Promise<void> {
    await inSlices(this.#clock, this.#parts.sets.updating(changes.sets));
    await inSlices(this.#clock, this.#parts.chains.updating(changes));
  }
  routes(changes: ReadonlyMap<string, Route | undefined>): void {
    this.#parts.routes?.update(changes);
  }
  overlay(intent: OverlayIntent, workloadMtu: number): void {
    this.#parts.overlay?.set(intent);
    this.#parts.mtuFile.set(workloadMtu);
  }
  interfaces(all: ReadonlyMap<string, { spoofing: boolean }>): void {
    const defaultRpFilter = this.#parts.sysctl.read('net/ipv4/conf/default/rp_filter') ?? '0';
    for (const name of this.#links.keys())
      if (!all.has(name)) {
        this.#links.delete(name);
        this.#parts.settings.set(name, undefined);
      }
    for (const [name, { spoofing }] of all) {
      // Asked for at every turn that moves an endpoint: only what differs is made, or a busy node's heap is full of equal settings.
      const madeFrom = spoofing ? 'spoofing' : defaultRpFilter;
      if (this.#links.get(name) === madeFrom) continue;
      this.#links.set(name, madeFrom);
      this.#parts.settings.set(name, workloadSettings(name, { spoofing, defaultRpFilter }));
    }
  }
  bandwidth(limits: ReadonlyMap<string, BandwidthLimits>, wrong: readonly string[]): void {
    this.#parts.bandwidth.set(limits, wrong);
  }
  node({ forwarding, maxSetSize }: NodeWide): void {
    this.#parts.settings.set('', nodeSettings({ forwarding }));
    this.#parts.sets.setMaxElements(maxSetSize);
  }
  intervals(intervals: Intervals): void {
    const resync: Record<keyof Intervals, () => void> = {
      rules: () => this.#parts.chains.resync(),
      sets: () => this.#parts.sets.resync(),
      routes: () => void this.#parts.routes?.readBack().catch(() => this.#log.warn('routes could not be read back')),
      interfaces: () => {
        this.#parts.settings.recheck();
        this.#parts.bandwidth.recheck();
        this.#parts.overlay?.recheck();
      },
    };
    for (const part of Object.keys(resync) as (keyof Intervals)[]) this.#every(part, intervals[part], resync[part]);
  }
  request(): void {
    this.#desired = true;
    this.#applier.request();
  }
  /** A reconciler has work by itself: an event, a retry. Before anything is desired its empty desired side must not be applied (I2). */
  retry(): void {
    if (this.#desired) this.#applier.request();
  }
  /** Reads everything back now, as the backstop timers do. */
  resync(): void {
    this.#parts.chains.resync();
    this.#parts.sets.resync();
    this.#parts.settings.recheck();
    this.#parts.bandwidth.recheck();
    this.#parts.overlay?.recheck();
    this.retry();
  }
  async stop(): Promise<void> {
    for (const { cancel } of this.#timers.values()) cancel();
    await this.#applier.stop();
  }

  #every(part: keyof Intervals, period: Milliseconds, work: () => void): void {
    const known = this.#timers.get(part);
    if (known?.period === period) return;
    known?.cancel();
    this.#timers.delete(part);
    if (period <= 0) return;
    const arm = () =>
      this.#timers.set(part, {
        period,
        cancel: this.#clock.after(period, () => {
          work();
          this.retry();
          arm();
        }),
      });
    arm();
  }
}
