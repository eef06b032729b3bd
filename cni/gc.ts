import * as z from 'zod';
import { hasCode } from '#core';
import type { WorkloadEndpoint } from '#datastore';
import { type Call, demandReady } from './call.ts';
import { hasOwnIpam } from './conf.ts';
import { delegate } from './delegate.ts';
import { CNI_CODE, CniError } from './error.ts';
import { deleteLink } from './links.ts';
import { withIpamLock } from './lock.ts';

const attachments = z.array(z.object({ containerID: z.string(), ifname: z.string() }));

/**
 * Takes back what this node holds for containers of this network that the runtime no longer knows: endpoints, their interfaces, and addresses.
 * All of it is tried; the first failure is the answer.
 */
export async function collectGarbage(call: Call): Promise<void> {
  const { conf, resources, ipam } = call;
  const given = attachments.safeParse(conf['cni.dev/valid-attachments']);
  if (!given.success)
    throw new CniError(
      CNI_CODE.configuration,
      'cni.dev/valid-attachments: must list containerID and ifname of each attachment',
    );
  await demandReady(call);
  const valid = new Set(given.data.map(({ containerID }) => containerID));
  const prefix = `${conf.name}.`;
  const handles = (await ownHandles(call, prefix)).filter((handle) => !valid.has(handle.slice(prefix.length)));
  const gone = new Set(handles.map((handle) => handle.slice(prefix.length)));
  const failures: unknown[] = [];
  const attempt = (work: () => Promise<unknown>) => work().catch((error: unknown) => failures.push(error));
  for (const endpoint of (await resources.list('WorkloadEndpoint')).items)
    if (isLeftOver(endpoint, call, valid, gone)) await attempt(() => remove(endpoint, call));
  await withIpamLock(call, async () => {
    for (const handle of handles)
      await attempt(() =>
        ipam.releaseByHandle(handle).catch((error: unknown) => {
          if (!hasCode(error, 'NOT_FOUND')) throw error;
        }),
      );
  });
  if (!hasOwnIpam(conf)) await attempt(() => delegate(call, conf.ipam?.type as string, 'GC'));
  if (failures.length > 0) throw failures[0];
}

/** Handles of this network by which this node's containers hold addresses. */
async function ownHandles({ ipam, node }: Call, prefix: string): Promise<string[]> {
  const { pools, homeless } = await ipam.usage();
  const found = new Set<string>();
  for (const { allocations } of [...pools.flatMap(({ blocks }) => blocks), ...homeless])
    for (const { handle, attributes } of allocations)
      if (handle.startsWith(prefix) && attributes.node === node) found.add(handle);
  return [...found];
}

/** An endpoint of another network keeps its own: only the network's handle or profile says that it is ours. */
function isLeftOver({ spec }: WorkloadEndpoint, { node, conf }: Call, valid: Set<string>, gone: Set<string>): boolean {
  const id = spec.containerID;
  if (spec.node !== node || !id || valid.has(id)) return false;
  return gone.has(id) || (spec.orchestrator === 'cni' && spec.profiles?.[0] === conf.name);
}

async function remove({ metadata, spec }: WorkloadEndpoint, { resources, clock, journal }: Call): Promise<void> {
  const { name, namespace, resourceVersion } = metadata;
  journal.write('info', { endpoint: `${namespace}/${name}`, container: spec.containerID }, 'left over; removed');
  await resources.delete('WorkloadEndpoint', name, { namespace, resourceVersion }).catch((error: unknown) => {
    // Changed or deleted since it was read: then somebody else takes care of it.
    if (!hasCode(error, 'NOT_FOUND') && !hasCode(error, 'CONFLICT')) throw error;
  });
  if (/^[A-Za-z0-9_.-]{1,15}$/.test(spec.interfaceName)) await deleteLink(spec.interfaceName, clock);
}
