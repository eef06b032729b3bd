import { releaseAddresses } from './addresses.ts';
import { type AttachmentCall, demandReady } from './call.ts';
import { deleteEndpoint } from './endpoint.ts';
import { deleteLink, removeContainerLink } from './links.ts';

/**
 * Takes everything back that ADD made, in any state that it may be in; what is gone already is fine. All of it is tried, and the first failure
 * is the answer, so that the runtime comes again (calico-datastore.md 5.5).
 */
export async function del(call: AttachmentCall): Promise<void> {
  await demandReady(call);
  const endpoint = () => deleteEndpoint(call);
  const links = () => removeLinks(call);
  const addresses = () => releaseAddresses(call);
  const failures: unknown[] = [];
  // Calico's order: a pod's name may have a newer sandbox already, a container's has not.
  for (const release of call.identity.orchestrator === 'cni'
    ? [addresses, endpoint, links]
    : [endpoint, links, addresses])
    await release().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

async function removeLinks({ identity, attachment, clock }: AttachmentCall): Promise<void> {
  await removeContainerLink(attachment.netns, attachment.ifname, clock);
  // The host's end goes with the container's, but not before the kernel has come to tidy up a namespace that ended.
  if (identity.orchestrator === 'cni') await deleteLink(identity.hostIfname, clock);
}
