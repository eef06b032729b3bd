import {
  type Addr,
  addrMinus,
  Backoff,
  type Clock,
  covers,
  FAMILIES,
  type Family,
  familyOf,
  hasCode,
  type Log,
  labelsOf,
  messageOf,
  OperationalError,
  type Prefix,
  parseAddr,
  parsePrefix,
  prefixAddr,
  selectorMatches,
  sleep,
} from '#core';
import type { IPPool, Ipam, IpamBlock, Node, Resources } from '#datastore';

/** What the overlay of one family asks of this node. */
export interface TunnelNeed {
  /** Pools that may give the address; none: this family has no overlay here. */
  readonly pools: readonly Prefix[];
  /** The address that the Node resource names. */
  readonly held: Addr | undefined;
  /** False: IPAM records the address for somebody else, or for nobody. */
  readonly recorded: boolean;
}

interface Names {
  readonly field: 'ipv4VXLANTunnelAddr' | 'ipv6VXLANTunnelAddr';
  readonly handle: string;
  readonly type: string;
}
/** Handles and attributes as Calico's (calico-datastore.md 3.7), so that its tools know what the address is for. */
const namesOf = (family: Family, node: string): Names =>
  family === 4
    ? { field: 'ipv4VXLANTunnelAddr', handle: `vxlan-tunnel-addr-${node}`, type: 'vxlanTunnelAddress' }
    : { field: 'ipv6VXLANTunnelAddr', handle: `vxlan-v6-tunnel-addr-${node}`, type: 'vxlanV6TunnelAddress' };

/** Pure: from the resources to what is needed. */
export function tunnelNeed(
  family: Family,
  name: string,
  node: Node | undefined,
  pools: ReadonlyMap<string, IPPool>,
  blocks: ReadonlyMap<string, IpamBlock>,
  enabled: boolean,
): TunnelNeed {
  const labels = node?.metadata.labels ?? {};
  const { field, handle } = namesOf(family, name);
  const text = node?.spec[field];
  const parsed = text ? parseAddr(text) : undefined;
  const held = parsed?.ok ? parsed.value : undefined;
  const usable = enabled ? [...pools.values()].flatMap((pool) => tunnelPool(pool, family, labels)) : [];
  return { pools: usable.sort(), held, recorded: held !== undefined && isRecorded(held, handle, blocks) };
}

function tunnelPool({ spec }: IPPool, family: Family, labels: Record<string, string>): Prefix[] {
  const cidr = parsePrefix(spec.cidr);
  const encapsulates = spec.vxlanMode === 'Always' || spec.vxlanMode === 'CrossSubnet';
  const usable = !spec.disabled && (spec.allowedUses ?? ['Tunnel']).includes('Tunnel');
  if (!cidr.ok || familyOf(cidr.value) !== family || !encapsulates || !usable) return [];
  return selectorMatches(spec.nodeSelector || 'all()', labelsOf(labels)) ? [cidr.value] : [];
}

function isRecorded(address: Addr, handle: string, blocks: ReadonlyMap<string, IpamBlock>): boolean {
  for (const block of blocks.values()) {
    const cidr = parsePrefix(block.cidr);
    if (!cidr.ok || !covers(cidr.value, address)) continue;
    const attribute = block.allocations[Number(addrMinus(address, prefixAddr(cidr.value)))];
    return attribute !== null && attribute !== undefined && block.attributes[attribute]?.handle_id === handle;
  }
  return false;
}

/** Whether the address that the node has is the one it should go on with. */
const isSettled = ({ pools, held, recorded }: TunnelNeed): boolean =>
  pools.length === 0 ? held === undefined : recorded && pools.some((pool) => held !== undefined && covers(pool, held));

export interface TunnelAddressOptions {
  readonly node: string;
  readonly ipam: Pick<Ipam, 'assign' | 'autoAssign' | 'releaseByHandle'>;
  readonly resources: Pick<Resources, 'get' | 'update'>;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Gives this node its tunnel addresses, from pools that encapsulate, and takes them back when no pool does any more. Works in the
 * background: the Node resource that it writes comes back as an update, and the overlay follows from that.
 */
export class TunnelAddresses {
  readonly #o: TunnelAddressOptions;
  readonly #abort = new AbortController();
  #needs: Record<Family, TunnelNeed> | undefined;
  #running: Promise<void> | undefined;

  constructor(options: TunnelAddressOptions) {
    this.#o = options;
  }
  /** What is needed now; called as often as resources change. */
  want(needs: Record<Family, TunnelNeed>): void {
    this.#needs = needs;
    if (FAMILIES.every((family) => isSettled(needs[family]))) return;
    this.#running ??= this.#work().finally(() => {
      this.#running = undefined;
    });
  }
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #work(): Promise<void> {
    const { clock, log } = this.#o;
    const { signal } = this.#abort;
    const backoff = new Backoff(200, 30_000);
    while (!signal.aborted && this.#needs) {
      const needs = this.#needs;
      try {
        for (const family of FAMILIES) if (!isSettled(needs[family])) await this.#settle(family, needs[family]);
        return;
      } catch (error) {
        log.warn({ error: messageOf(error) }, 'the tunnel address could not be arranged; tried again');
      }
      await sleep(clock, backoff.next(), signal).catch(() => undefined);
    }
  }

  async #settle(family: Family, need: TunnelNeed): Promise<void> {
    const { node, ipam, resources, log } = this.#o;
    const { field, handle } = namesOf(family, node);
    const current = (await resources.get('Node', node)).spec[field];
    // What was decided from is no longer so: the update that says it is on its way, and asks again.
    if ((current || undefined) !== need.held) return;
    try {
      await ipam.releaseByHandle(handle);
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
    }
    const address = need.pools.length > 0 ? await this.#assign(family, need) : undefined;
    await this.#write(field, address);
    log.info({ family, address: address ?? null, was: need.held ?? null }, 'tunnel address');
  }
  /** The address that the node has, if nobody else's; else any. */
  async #assign(family: Family, { pools, held }: TunnelNeed): Promise<Addr> {
    const { node, ipam } = this.#o;
    const { handle, type } = namesOf(family, node);
    const purpose = { node, use: 'Tunnel' as const, handle, secondary: { node, type } };
    if (held !== undefined && pools.some((pool) => covers(pool, held)))
      try {
        return (await ipam.assign(held, purpose)).address;
      } catch (error) {
        if (!hasCode(error, 'ALREADY_EXISTS') && !hasCode(error, 'CONFLICT')) throw error;
      }
    const { assigned, messages } = await ipam.autoAssign({ ...purpose, family, count: 1, pools });
    if (assigned.length === 0)
      throw new OperationalError('EXHAUSTED', `no IPv${family} tunnel address: ${messages.join('; ')}`);
    return assigned[0].address;
  }
  async #write(field: Names['field'], address: Addr | undefined): Promise<void> {
    const { node, resources } = this.#o;
    for (let attempt = 1; ; attempt++) {
      const resource = await resources.get('Node', node);
      const { [field]: _, ...spec } = resource.spec;
      try {
        await resources.update<'Node'>({ ...resource, spec: address ? { ...spec, [field]: address } : spec });
        return;
      } catch (error) {
        if (!hasCode(error, 'CONFLICT') || attempt === 10) throw error;
      }
    }
  }
}
