import type { QosControls } from '#datastore';
import type { LocalEndpoint } from './endpoints.ts';
import type { Link, TokenBucket } from './kernel/types.ts';

/** What limits the traffic of a workload's interface; the directions are the workload's. */
export interface BandwidthLimits {
  /** The endpoint's id. */
  readonly owner: string;
  readonly ingress?: TokenBucket;
  readonly egress?: TokenBucket;
}
export const DIRECTIONS = ['ingress', 'egress'] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** Bits that may go at once where the endpoint does not say (calico-datastore.md 2.2). */
const DEFAULT_BURST = 4_294_967_296;
/** Milliseconds that a packet waits at most, were the bucket empty and the burst as small as a packet. */
const LATENCY = 25;
/**
 * Bytes of a burst for which the queue has room. Calico makes room for the whole burst, 512 MB by default: then a workload that floods pins as
 * much kernel memory, and what it sends waits for minutes.
 */
const QUEUED_BURST = 256 << 10;
const WORD = 0xffff_ffff;
/** Ethernet header before the IP packet; the bucket counts it. */
const HEADER = 14;

/**
 * The limits of the interfaces that exist, and what of the endpoints' wishes cannot be honoured as it stands, one line each. Of two
 * endpoints that claim one interface the smaller id has it, as in policy.
 */
export function bandwidthLimits(
  endpoints: Iterable<LocalEndpoint>,
  links: ReadonlyMap<string, Link>,
): { limits: Map<string, BandwidthLimits>; problems: string[] } {
  const limits = new Map<string, BandwidthLimits>();
  const problems: string[] = [];
  for (const { id, interfaceName, resource } of [...endpoints].sort((a, b) => (a.id < b.id ? -1 : 1))) {
    const link = links.get(interfaceName);
    const controls = resource.spec.qosControls;
    if (!link || !controls || limits.has(interfaceName)) continue;
    const say = (field: string, message: string) =>
      problems.push(`WorkloadEndpoint ${id}: qosControls.${field}: ${message}`);
    const found = Object.fromEntries(DIRECTIONS.map((d) => [d, bucketOf(controls, d, link, say)]));
    limits.set(interfaceName, { owner: id, ...found });
  }
  for (const [name, { ingress, egress }] of limits) if (!ingress && !egress) limits.delete(name);
  return { limits, problems };
}

function bucketOf(
  controls: QosControls,
  direction: Direction,
  link: Link,
  say: (field: string, message: string) => void,
): TokenBucket | undefined {
  const of = (what: 'Bandwidth' | 'Burst' | 'Peakrate' | 'Minburst') => controls[`${direction}${what}`] || undefined;
  const bandwidth = of('Bandwidth');
  const peakrate = of('Peakrate');
  if (!bandwidth) {
    for (const what of ['Burst', 'Peakrate', 'Minburst'] as const)
      if (of(what)) say(`${direction}${what}`, `has no effect without ${direction}Bandwidth`);
    return undefined;
  }
  const rate = bytes(bandwidth);
  const burst = Math.min(bytes(of('Burst') ?? DEFAULT_BURST), WORD);
  const packet = link.mtu + HEADER;
  if (burst < packet)
    say(`${direction}Burst`, `${burst} bytes hold no packet of ${packet} bytes, as ${link.name} has: such are dropped`);
  const queue = (bytesASecond: number, atOnce: number) =>
    Math.min(Math.round((bytesASecond * LATENCY) / 1000) + Math.min(atOnce, QUEUED_BURST), WORD);
  const limit = queue(rate, burst);
  if (peakrate === undefined) {
    if (of('Minburst')) say(`${direction}Minburst`, `has no effect without ${direction}Peakrate`);
    return { rate, burst, limit };
  }
  const peak = { rate: bytes(peakrate), burst: Math.max(of('Minburst') ?? 0, packet) };
  if (peak.rate <= rate) {
    say(`${direction}Peakrate`, `${peakrate} is not above ${direction}Bandwidth ${bandwidth}; it is left out`);
    return { rate, burst, limit };
  }
  return { rate, burst, limit: Math.min(limit, queue(peak.rate, peak.burst)), peak };
}

const bytes = (bits: number): number => Math.floor(bits / 8);
