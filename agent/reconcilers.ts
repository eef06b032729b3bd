import type { Clock, Log, Metrics } from '#core';
import { CniFile, MTU_FILE } from './cni-file.ts';
import type { Runner } from './kernel/runner.ts';
import { sysctl } from './kernel/sysctl.ts';
import type { Netlink } from './kernel/types.ts';
import { PacketFilter } from './packet-filter.ts';
import { BandwidthReconciler } from './reconcile/bandwidth.ts';
import { ChainReconciler } from './reconcile/chains.ts';
import { OverlayReconciler } from './reconcile/overlay.ts';
import { createRouteReconciler, type RouteReconciler } from './reconcile/routes.ts';
import { SetReconciler } from './reconcile/sets.ts';
import { SettingsReconciler } from './reconcile/settings.ts';

/** Members of a set at most, unless FelixConfiguration says otherwise (maxIpsetSize). */
const SET_SIZE = 1_048_576;

/** One reconciler for each kind of thing in the kernel. */
export interface Reconcilers {
  readonly variant: 'nft' | 'legacy';
  readonly chains: ChainReconciler;
  readonly sets: SetReconciler;
  /** undefined under --policy-only: routing is another plugin's. */
  readonly routes: RouteReconciler | undefined;
  readonly overlay: OverlayReconciler | undefined;
  /** iptables or nftables. */
  readonly filter: PacketFilter;
  readonly mtuFile: CniFile;
  readonly settings: SettingsReconciler;
  readonly bandwidth: BandwidthReconciler;
  close(): void;
}

export interface ReconcilerContext {
  readonly runner: Runner;
  readonly netlink: Netlink;
  readonly variant: 'nft' | 'legacy';
  readonly policyOnly: boolean;
  readonly isWorkloadLink: (name: string) => boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Something in the kernel differs from what is desired. */
  readonly onDirty: () => void;
  /** Another packet filter is wanted than the one in use. */
  readonly onOther: (why: string) => void;
}

export function createReconcilers(context: ReconcilerContext): Reconcilers {
  const { netlink, variant, policyOnly, clock, log, metrics, onDirty } = context;
  const filter = new PacketFilter(context);
  const chains = new ChainReconciler({
    backend: filter.rules,
    families: [4, 6],
    clock,
    log,
    metrics,
  });
  const sets = new SetReconciler({ backend: filter.sets, clock, log, metrics, maxElements: SET_SIZE });
  const settings = new SettingsReconciler({ sysctl, netlink, clock, log, onDirty });
  const bandwidth = new BandwidthReconciler({ netlink, clock, log, metrics, onDirty });
  const overlay = policyOnly ? undefined : new OverlayReconciler({ netlink, clock, log, metrics, onDirty });
  const routes = policyOnly ? undefined : createRouteReconciler(context);
  return {
    variant,
    filter,
    chains,
    sets,
    settings,
    bandwidth,
    overlay,
    routes,
    mtuFile: new CniFile(MTU_FILE, log),
    close: () => {
      routes?.close();
      settings.close();
      bandwidth.close();
      overlay?.close();
      filter.close();
    },
  };
}
