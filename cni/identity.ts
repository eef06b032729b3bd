import { createHash } from 'node:crypto';
import { type EndpointIdentity, workloadEndpointName } from '#datastore';
import type { Conf } from './conf.ts';
import { CNI_CODE, CniError } from './error.ts';
import type { Attachment, Environment } from './request.ts';

/** Who the attachment is in the datastore and in the kernel (calico-datastore.md 5.2, 5.4). */
export interface Identity {
  readonly node: string;
  readonly orchestrator: 'k8s' | 'cni';
  readonly namespace: string;
  readonly containerId: string;
  readonly pod?: string;
  readonly ifname: string;
  /** The host's end of the veth pair. */
  readonly hostIfname: string;
  /** What its addresses are held by. */
  readonly handle: string;
}

/** @throws CniError configuration for names that the datastore could not hold */
export function identityOf(attachment: Attachment, conf: Conf, node: string, env: Environment): Identity {
  const { args, containerId, ifname } = attachment;
  const isPod = args.pod !== undefined && args.podNamespace !== undefined;
  const identity: Identity = {
    node,
    orchestrator: isPod ? 'k8s' : 'cni',
    namespace: isPod ? (args.podNamespace as string) : (args.namespace ?? 'default'),
    containerId,
    pod: isPod ? args.pod : undefined,
    ifname,
    hostIfname: isPod
      ? `${interfacePrefix(env)}${podHash(args.podNamespace as string, args.pod as string)}`.slice(0, 15)
      : `cali${containerId.slice(0, 11)}`,
    handle: `${conf.name}.${containerId}`,
  };
  endpointName(identity);
  return identity;
}

const interfacePrefix = (env: Environment): string => (env.FELIX_INTERFACEPREFIX ?? '').split(',')[0].trim() || 'cali';

const podHash = (namespace: string, pod: string): string =>
  createHash('sha1').update(`${namespace}.${pod}`).digest('hex').slice(0, 11);

/** The fields of the endpoint's spec that name it. */
export const specIdentity = ({ node, orchestrator, pod, containerId, ifname }: Identity): EndpointIdentity => ({
  node,
  orchestrator,
  pod,
  containerID: containerId,
  endpoint: ifname,
});

/** The name of its WorkloadEndpoint. */
export function endpointName(identity: Identity): string {
  const name = workloadEndpointName(specIdentity(identity));
  if (!name.ok)
    throw new CniError(
      CNI_CODE.configuration,
      `the endpoint cannot be named: ${name.error.field} ${name.error.message}`,
    );
  return name.value;
}
