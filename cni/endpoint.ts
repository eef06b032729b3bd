import { hasCode, hostPrefix } from '#core';
import {
  API_VERSION,
  type Profile,
  type WorkloadEndpoint,
  type WorkloadEndpointSpec,
  workloadEndpointPrefix,
} from '#datastore';
import type { AttachmentCall } from './call.ts';
import { endpointName, specIdentity } from './identity.ts';
import { addressesOf, type Result } from './result.ts';

/** What the endpoint has besides its identity and its interface. */
export interface Traits {
  readonly labels: Readonly<Record<string, string>>;
  readonly profiles: readonly string[];
  readonly ports?: WorkloadEndpointSpec['ports'];
  readonly serviceAccountName?: string;
  readonly qosControls?: WorkloadEndpointSpec['qosControls'];
}

/** The attachment's own endpoint, or null. */
export async function readEndpoint({ resources, identity }: AttachmentCall): Promise<WorkloadEndpoint | null> {
  return orNull(resources.get('WorkloadEndpoint', endpointName(identity), identity.namespace));
}

/** An endpoint that another network has given to the same container, whatever the interface is called. */
export async function siblingEndpoint({
  resources,
  store,
  identity,
}: AttachmentCall): Promise<WorkloadEndpoint | null> {
  const { node, orchestrator, containerId, namespace } = identity;
  const prefix = workloadEndpointPrefix({ ...specIdentity(identity), endpoint: '' });
  const found: string[] = [];
  for await (const page of store.list(endpointKey(namespace, prefix)))
    found.push(...page.map(({ key }) => key.slice(key.lastIndexOf('/') + 1)));
  for (const name of found) {
    const endpoint = await orNull(resources.get('WorkloadEndpoint', name, namespace));
    const spec = endpoint?.spec;
    // The beginning of a name is not exact.
    if (spec?.node === node && spec.orchestrator === orchestrator && spec.containerID === containerId) return endpoint;
  }
  return null;
}

const endpointKey = (namespace: string, prefix: string): string =>
  `/calico/resources/v3/projectcalico.org/workloadendpoints/${namespace}/${prefix}`;

/** Creates or updates the endpoint: what the agent acts on. */
export async function writeEndpoint(
  { resources, identity }: AttachmentCall,
  result: Result,
  mac: string,
  traits: Traits,
  before: WorkloadEndpoint | null,
): Promise<WorkloadEndpoint> {
  const { namespace, hostIfname } = identity;
  const next: WorkloadEndpoint = {
    apiVersion: API_VERSION,
    kind: 'WorkloadEndpoint',
    metadata: {
      name: endpointName(identity),
      namespace,
      labels: { ...traits.labels },
      ...(before ? { resourceVersion: before.metadata.resourceVersion } : {}),
    },
    spec: {
      ...(specIdentity(identity) as Pick<WorkloadEndpointSpec, 'node' | 'orchestrator' | 'endpoint'>),
      interfaceName: hostIfname,
      mac,
      ipNetworks: addressesOf(result).map(hostPrefix),
      profiles: [...traits.profiles],
      ports: traits.ports,
      serviceAccountName: traits.serviceAccountName,
      qosControls: traits.qosControls,
    },
  };
  return before ? resources.update(next) : resources.create(next);
}

/** Tries of a delete that only counts while the endpoint is still ours. */
const ATTEMPTS = 5;

/** Deletes the attachment's endpoint, unless a newer sandbox of the same pod has taken it over. */
export async function deleteEndpoint(call: AttachmentCall): Promise<void> {
  const { resources, identity } = call;
  for (let attempt = 1; ; attempt++) {
    const endpoint = await readEndpoint(call);
    const owner = endpoint?.spec.containerID;
    if (!endpoint || (owner && owner !== identity.containerId)) return;
    const { name, namespace, resourceVersion } = endpoint.metadata;
    try {
      await resources.delete('WorkloadEndpoint', name, { namespace, resourceVersion });
      return;
    } catch (error) {
      if (hasCode(error, 'NOT_FOUND')) return;
      if (!hasCode(error, 'CONFLICT') || attempt === ATTEMPTS) throw error;
    }
  }
}

/** Joins an endpoint that exists to this network, by its profile. */
export async function joinNetwork(call: AttachmentCall, endpoint: WorkloadEndpoint): Promise<void> {
  const profiles = endpoint.spec.profiles ?? [];
  if (profiles.includes(call.conf.name)) return;
  await call.resources.update({ ...endpoint, spec: { ...endpoint.spec, profiles: [...profiles, call.conf.name] } });
}

/** The profile that carries the network's name: its members reach each other. Made once, never changed (calico-datastore.md 5.6). */
export async function ensureProfile({ resources, conf: { name }, identity }: AttachmentCall): Promise<void> {
  const from = identity.orchestrator === 'cni' ? { source: { selector: `has(${name})` } } : {};
  const profile: Profile = {
    apiVersion: API_VERSION,
    kind: 'Profile',
    metadata: { name },
    spec: {
      ingress: [{ action: 'Allow', ...from }],
      egress: [{ action: 'Allow' }],
      labelsToApply: { [name]: '' },
    },
  };
  if (await orNull(resources.get('Profile', name))) return;
  await resources.create(profile).catch((error: unknown) => {
    if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
  });
}

const orNull = <T>(reading: Promise<T>): Promise<T | null> =>
  reading.catch((error: unknown) => {
    if (hasCode(error, 'NOT_FOUND')) return null;
    throw error;
  });
