import type { Family } from '#core';
import type { WorkloadEndpointSpec } from '#datastore';
import type { Wishes } from './addresses.ts';
import type { Conf } from './conf.ts';
import type { Traits } from './endpoint.ts';
import { CNI_CODE, CniError } from './error.ts';
import type { PodFacts } from './kubernetes.ts';
import { qosOf } from './qos.ts';

/** What an attachment is to get: from the configuration, and for a pod from what Kubernetes says of it. */
export interface Demand {
  readonly traits: Traits;
  readonly wishes: Wishes;
  /** A MAC address that the pod asks for. */
  readonly mac?: string;
}

export function plainDemand(conf: Conf): Demand {
  const families: Family[] = [];
  if (conf.ipam?.assign_ipv4 ?? true) families.push(4);
  if (conf.ipam?.assign_ipv6) families.push(6);
  const pools = { 4: conf.ipam?.ipv4_pools ?? [], 6: conf.ipam?.ipv6_pools ?? [] };
  return { traits: { labels: {}, profiles: [conf.name] }, wishes: { ips: [], pools, families } };
}

/** Labels, ports, profiles and annotations of a pod, as Calico reads them; the pod's annotations win over its namespace's. */
export function podDemand(conf: Conf, name: string, { pod, namespace }: PodFacts): Demand {
  const plain = plainDemand(conf);
  const annotation = (key: string) =>
    pod.metadata.annotations?.[`cni.projectcalico.org/${key}`] ??
    (key.endsWith('pools') ? namespace.metadata.annotations?.[`cni.projectcalico.org/${key}`] : undefined);
  const account = pod.spec.serviceAccountName;
  return {
    mac: annotation('hwAddr'),
    traits: {
      labels: { ...pod.metadata.labels },
      // Profiles of namespaces are made by kube-controllers; policy type `k8s` says that it runs.
      profiles:
        conf.policy?.type === 'k8s' ? [`kns.${name}`, ...(account ? [`ksa.${name}.${account}`] : [])] : [conf.name],
      serviceAccountName: account,
      ports: portsOf(pod),
      qosControls: qosOf(pod.metadata.annotations),
    },
    wishes: {
      ips: listOf('ipAddrs', annotation('ipAddrs')) ?? [],
      pools: {
        4: listOf('ipv4pools', annotation('ipv4pools')) ?? plain.wishes.pools[4],
        6: listOf('ipv6pools', annotation('ipv6pools')) ?? plain.wishes.pools[6],
      },
      families: familiesOf(listOf('ipFamilies', annotation('ipFamilies'))) ?? plain.wishes.families,
      namespaceLabels: namespace.metadata.labels ?? {},
    },
  };
}

/** A JSON list of words, as annotations have it. */
function listOf(key: string, text: string | undefined): string[] | undefined {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
  } catch {
    // Said below.
  }
  throw new CniError(
    CNI_CODE.configuration,
    `annotation cni.projectcalico.org/${key} must be a JSON list of strings; it is ${JSON.stringify(text)}`,
  );
}

function familiesOf(words: string[] | undefined): Family[] | undefined {
  return words?.map((word) => {
    if (word.toLowerCase() === 'ipv4') return 4;
    if (word.toLowerCase() === 'ipv6') return 6;
    throw new CniError(
      CNI_CODE.configuration,
      `annotation cni.projectcalico.org/ipFamilies: ${JSON.stringify(word)} is no family`,
    );
  });
}

const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;

/** Named ports, and those that a host's port leads to. */
function portsOf({ spec }: PodFacts['pod']): WorkloadEndpointSpec['ports'] {
  return (spec.containers ?? [])
    .flatMap(({ ports }) => ports ?? [])
    .flatMap(({ name, protocol = 'TCP', containerPort, hostPort, hostIP }) => {
      const known = PROTOCOLS.find((one) => one === protocol.toUpperCase());
      if (!known || (!name && !hostPort)) return [];
      return [
        {
          name: name?.toLowerCase() ?? '',
          protocol: known,
          port: containerPort,
          hostPort: hostPort ?? 0,
          hostIP: hostIP ?? '',
        },
      ];
    });
}
