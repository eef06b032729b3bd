import { createHash } from 'node:crypto';
import type { BandwidthLimits, Direction } from '../bandwidth.ts';
import { sameBucket } from '../kernel/netlink/token-bucket.ts';
import type { IngressFilter, Link, Qdisc, TokenBucket, TrafficWrite } from '../kernel/types.ts';

/** Devices with this prefix are ours, as Calico's: one for each workload whose egress is limited. */
export const IFB_PREFIX = 'bwcali';
/** The device through which what the workload at this interface sends is led; at most 15 characters. */
export const ifbOf = (link: string): string =>
  `${IFB_PREFIX}${createHash('sha256').update(link).digest('hex').slice(0, 9)}`;

/** What the kernel holds. */
export interface TrafficState {
  readonly links: ReadonlyMap<string, Link>;
  readonly qdiscs: readonly Qdisc[];
  /** Of the interfaces that have a qdisc at ingress and may have a filter of ours. */
  readonly filters: ReadonlyMap<string, readonly IngressFilter[]>;
}

/** What has to be written, in this order. */
export interface BandwidthPlan {
  readonly devices: readonly { readonly name: string; readonly mtu: number }[];
  readonly changes: readonly TrafficWrite[];
  /** Devices that nothing leads to after the changes. */
  readonly unused: readonly string[];
  /** Limits that a stranger's qdisc or filter keeps out. */
  readonly obstacles: readonly { readonly link: string; readonly direction: Direction; readonly message: string }[];
}

/** What differs between the limits and the kernel. What is right is not written; what is a stranger's is not touched, but said. */
export function planBandwidth(limits: ReadonlyMap<string, BandwidthLimits>, state: TrafficState): BandwidthPlan {
  const { links, qdiscs, filters } = state;
  const roots = new Map(qdiscs.filter((q) => q.at === 'root').map((q) => [q.link, q]));
  const hooks = new Map(qdiscs.filter((q) => q.at === 'ingress').map((q) => [q.link, q]));
  const devices: { name: string; mtu: number }[] = [];
  const changes: TrafficWrite[] = [];
  const obstacles: BandwidthPlan['obstacles'][number][] = [];
  const used = new Set<string>();
  for (const { name: link, mtu } of links.values()) {
    if (link.startsWith(IFB_PREFIX)) continue;
    const { ingress, egress } = limits.get(link) ?? {};
    const toward = planToward(link, roots.get(link), ingress);
    changes.push(...toward.changes);
    if (toward.obstacle) obstacles.push({ link, direction: 'ingress', message: toward.obstacle });
    const device = ifbOf(link);
    const redirect = planRedirect(link, egress && device, hooks.get(link), filters.get(link) ?? []);
    if (redirect.obstacle) obstacles.push({ link, direction: 'egress', message: redirect.obstacle });
    else if (egress) {
      used.add(device);
      if (!links.has(device)) devices.push({ name: device, mtu });
      // The whole device is ours, whatever stands at its root.
      if (!holds(roots.get(device), egress))
        changes.push({ op: 'set bucket', link: device, bucket: egress, force: true });
    }
    changes.push(...redirect.changes);
  }
  const unused = [...links.values()]
    .filter((l) => l.name.startsWith(IFB_PREFIX) && l.linkKind === 'ifb' && !used.has(l.name))
    .map((l) => l.name);
  return { devices, changes, unused, obstacles };
}

interface Part {
  readonly changes: readonly TrafficWrite[];
  /** Why a stranger keeps the limit out. */
  readonly obstacle?: string;
}

/** The bucket at the root of the interface, through which everything to the workload goes. */
function planToward(link: string, have: Qdisc | undefined, want: TokenBucket | undefined): Part {
  if (want && have?.owner === 'stranger') {
    const obstacle = `the qdisc ${have.kind} at the root of ${link} is somebody else's; \`tc qdisc del dev ${link} root\` makes room`;
    return { changes: [], obstacle };
  }
  if (want) return { changes: holds(have, want) ? [] : [{ op: 'set bucket', link, bucket: want }] };
  return { changes: have?.owner === 'us' ? [{ op: 'delete bucket', link }] : [] };
}

/** The filter at the ingress of the interface, by which everything from the workload goes to the device; undefined: none is wanted. */
function planRedirect(
  link: string,
  device: string | undefined,
  hook: Qdisc | undefined,
  filters: readonly IngressFilter[],
): Part {
  const [mine, others] = [filters.filter(isMine), filters.filter((f) => !isMine(f))];
  // Only the qdisc that we make goes with our filter; `clsact` is somebody's.
  const isWholeHookOurs = mine.length > 0 && others.length === 0 && hook?.kind === 'ingress';
  const clear: TrafficWrite[] = isWholeHookOurs
    ? [{ op: 'delete ingress', link }]
    : mine.some((f) => f.isOurs)
      ? [{ op: 'delete redirect', link }]
      : [];
  if (device === undefined) return { changes: clear };
  // A program (bpf) passes on to us what it does not decide; other kinds take packets away before ours sees them.
  const obstacle = [...others, ...(isWholeHookOurs ? [] : mine)].find((f) => !f.isOurs && f.kind !== 'bpf');
  if (obstacle)
    return {
      changes: clear,
      obstacle: `a filter of kind ${obstacle.kind} at the ingress of ${link} is somebody else's`,
    };
  if (mine.length === 1 && mine[0].isOurs && mine[0].to === device) return { changes: [] };
  const hookMissing = hook === undefined || isWholeHookOurs;
  return {
    changes: [
      ...clear,
      ...(hookMissing ? [{ op: 'add ingress', link } as const] : []),
      { op: 'redirect', link, to: device },
    ],
  };
}

/** By our preference, or, made by Felix, by the device that it leads to. */
const isMine = (filter: IngressFilter): boolean => filter.isOurs || filter.to?.startsWith(IFB_PREFIX) === true;

const holds = (have: Qdisc | undefined, want: TokenBucket): boolean =>
  have?.owner === 'us' && have.bucket !== undefined && sameBucket(want, have.bucket);
