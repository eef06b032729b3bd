import { type Addr, type Family, familyOf, hasCode, hostPrefix, parseAddr, prefixLength } from '#core';
import type { Assigned } from '#datastore';
import type { AttachmentCall } from './call.ts';
import { hasOwnIpam } from './conf.ts';
import { delegate } from './delegate.ts';
import { CNI_CODE, CniError } from './error.ts';
import { withIpamLock } from './lock.ts';
import { decodeResult, type Result } from './result.ts';

/** What a pod's annotations or the configuration ask for beyond the defaults. */
export interface Wishes {
  readonly ips: readonly string[];
  readonly pools: Readonly<Record<Family, readonly string[]>>;
  readonly families: readonly Family[];
  readonly namespaceLabels?: Readonly<Record<string, string>>;
}

/** Gives the attachment its addresses, from the pools or from another IPAM plugin. Half a success is taken back. */
export async function assignAddresses(call: AttachmentCall, wishes: Wishes): Promise<Result> {
  const { conf } = call;
  const result = hasOwnIpam(conf)
    ? await withIpamLock(call, () => fromPools(call, wishes))
    : decodeResult(await delegate(call, conf.ipam?.type as string, 'ADD'));
  if (result.ips.length === 0)
    throw new CniError(CNI_CODE.exhausted, 'IPAM gave no address; check assign_ipv4, assign_ipv6 and the pools');
  return result;
}

/** Takes them back; nothing to take back is fine. */
export async function releaseAddresses(call: AttachmentCall): Promise<void> {
  const { conf, identity, ipam } = call;
  if (!hasOwnIpam(conf)) {
    await delegate(call, conf.ipam?.type as string, 'DEL');
    return;
  }
  // Older plugins held addresses by other names.
  const older = identity.pod ? [`${identity.namespace}.${identity.pod}`] : [identity.containerId];
  await withIpamLock(call, async () => {
    for (const handle of [identity.handle, ...older])
      await ipam.releaseByHandle(handle).catch((error: unknown) => {
        if (!hasCode(error, 'NOT_FOUND')) throw error;
      });
  });
}

/** What the request says, in the order of precedence: CNI_ARGS, the runtime's `ips`, `args.cni.ips`, then the pod's annotation. */
export function requestedAddresses(call: Pick<AttachmentCall, 'attachment' | 'conf'>, wishes: Wishes): Addr[] {
  const { args } = call.attachment;
  const { runtimeConfig, args: confArgs } = call.conf;
  const texts = args.ip ? args.ip.split(',') : (runtimeConfig?.ips ?? confArgs?.cni?.ips ?? wishes.ips);
  const found = texts.map((text) => {
    const address = parseAddr(text.trim().split('/')[0]);
    if (!address.ok)
      throw new CniError(CNI_CODE.configuration, `requested address ${JSON.stringify(text)}: ${address.error}`);
    return address.value;
  });
  for (const family of [4, 6] as const)
    if (found.filter((address) => familyOf(address) === family).length > 1)
      throw new CniError(
        CNI_CODE.configuration,
        `requested addresses ${found.join(', ')}: at most one of each family is possible`,
      );
  return found;
}

async function fromPools(call: AttachmentCall, wishes: Wishes): Promise<Result> {
  const requested = requestedAddresses(call, wishes);
  const ips: Result['ips'][number][] = [];
  try {
    if (requested.length > 0)
      for (const address of requested) {
        await call.ipam.assign(address, holder(call));
        ips.push({ address: hostPrefix(address) });
      }
    else
      for (const family of wishes.families) {
        const { address, block } = await oneOf(call, family, wishes);
        ips.push({ address: `${address}/${prefixLength(block)}` });
      }
  } catch (error) {
    await call.ipam.releaseByHandle(call.identity.handle).catch((failure: unknown) => {
      if (!hasCode(failure, 'NOT_FOUND'))
        call.journal.write('error', { failure: String(failure) }, 'addresses may be left over');
    });
    throw error;
  }
  return { interfaces: [], ips, routes: [], dns: {} };
}

async function oneOf(call: AttachmentCall, family: Family, wishes: Wishes): Promise<Assigned> {
  const { assigned, messages } = await call.ipam.autoAssign({
    ...holder(call),
    family,
    count: 1,
    pools: wishes.pools[family].length > 0 ? wishes.pools[family] : undefined,
    namespaceLabels: wishes.namespaceLabels,
  });
  if (assigned.length > 0) return assigned[0];
  throw new CniError(
    CNI_CODE.exhausted,
    `no IPv${family} address is left: ${messages.join('; ') || 'all pools are full'}`,
  );
}

/** Who holds the address, as Calico's plugin writes it (calico-datastore.md 3.7). */
function holder({ identity, clock, node }: AttachmentCall) {
  const time = clock.date().toISOString();
  const secondary: Record<string, string> = {
    node,
    timestamp: `${time.slice(0, 10)} ${time.slice(11, 23)} +0000 UTC`,
  };
  if (identity.pod) Object.assign(secondary, { pod: identity.pod, namespace: identity.namespace });
  return { node, handle: identity.handle, secondary };
}
