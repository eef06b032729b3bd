import { hostPrefix } from '#core';
import type { WorkloadEndpoint } from '#datastore';
import { assignAddresses, releaseAddresses } from './addresses.ts';
import { type AttachmentCall, contentOf, demandReady, passGates } from './call.ts';
import {
  deleteEndpoint,
  ensureProfile,
  joinNetwork,
  readEndpoint,
  siblingEndpoint,
  writeEndpoint,
} from './endpoint.ts';
import { CNI_CODE, CniError } from './error.ts';
import { configureContainer, configureHost, createPair, deleteLink, hasLink, type Pair, randomMac } from './links.ts';
import { addressesOf, type Result } from './result.ts';
import { runSteps, type Step } from './steps.ts';
import { waitForAgent } from './wait.ts';
import { type Demand, plainDemand, podDemand } from './wishes.ts';

/** Gives the container its address, interface and endpoint, or nothing at all (calico-datastore.md 5.3). */
export async function add(call: AttachmentCall): Promise<Result> {
  const { identity } = call;
  await demandReady(call);
  await passGates(call);
  const mtu = mtuOf(call);
  if (identity.orchestrator === 'cni') {
    const joined = await siblingEndpoint(call);
    if (joined && hasLink(joined.spec.interfaceName)) return join(call, joined);
  }
  return connect(call, mtu, await demandOf(call));
}

/** MTU of the workload: the configuration's, the one that the agent worked out, or 0 for the kernel's default. */
function mtuOf({ conf }: AttachmentCall): number {
  if (conf.mtu > 0) return conf.mtu;
  const text = contentOf('/var/lib/calico/mtu');
  if (text === '' && conf.require_mtu_file)
    throw new CniError(
      CNI_CODE.tryAgain,
      '/var/lib/calico/mtu does not exist; the agent writes it once it knows the overlay',
    );
  return /^\d{2,5}$/.test(text) ? Number(text) : 0;
}

/** A pod's labels, ports and annotations are Kubernetes', where the configuration says how to ask it. */
async function demandOf({ conf, identity }: AttachmentCall): Promise<Demand> {
  const asks = conf.policy?.type === 'k8s' || conf.kubernetes?.kubeconfig;
  if (!asks || !identity.pod) return plainDemand(conf);
  const { readPod } = await import('./kubernetes.ts');
  return podDemand(conf, identity.namespace, await readPod(conf, identity.namespace, identity.pod));
}

/** The container joins one more network: it has an interface already, and only its profiles change. */
async function join(call: AttachmentCall, endpoint: WorkloadEndpoint): Promise<Result> {
  await joinNetwork(call, endpoint);
  await ensureProfile(call);
  const ips = (endpoint.spec.ipNetworks ?? []).map((address) => ({ address, interface: 1 }));
  return withInterfaces(call, { interfaces: [], ips, routes: [], dns: {} }, endpoint.spec.mac);
}

function macOf(wanted: string | undefined): string {
  if (!wanted) return randomMac();
  if (/^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$/.test(wanted)) return wanted.toLowerCase();
  throw new CniError(CNI_CODE.configuration, `the requested MAC address ${JSON.stringify(wanted)} is none`);
}

async function connect(call: AttachmentCall, mtu: number, demand: Demand): Promise<Result> {
  const { conf, clock, identity, attachment, journal } = call;
  const before = await readEndpoint(call);
  const mac = macOf(conf.runtimeConfig?.mac ?? demand.mac);
  let assigned: Result | null = null;
  let endpoint: WorkloadEndpoint | null = null;
  const pair = (): Pair => ({
    ...identity,
    netns: attachment.netns,
    mac,
    mtu,
    queues: conf.num_queues,
    addresses: addressesOf(assigned as Result),
    forwarding: conf.container_settings?.allow_ip_forwarding ?? false,
  });
  const steps: Step[] = [
    {
      name: 'addresses',
      run: async () => {
        assigned = await assignAddresses(call, demand.wishes);
      },
      undo: () => releaseAddresses(call),
    },
    {
      name: 'interfaces',
      run: () => createPair(pair(), clock),
      undo: async () => void (await deleteLink(identity.hostIfname, clock)),
    },
    { name: 'host interface', run: () => configureHost(pair(), clock) },
    { name: 'container interface', run: () => configureContainer(pair(), clock) },
    {
      name: 'endpoint',
      run: async () => {
        endpoint = await writeEndpoint(call, assigned as Result, mac, demand.traits, before);
      },
      undo: () => deleteEndpoint(call),
    },
  ];
  if (!conf.policy?.type) steps.push({ name: 'profile', run: () => ensureProfile(call) });
  steps.push({ name: 'policy', run: () => waitForAgent(call, endpoint as unknown as WorkloadEndpoint) });
  await runSteps(steps, {
    signal: call.signal,
    undoFailed: (step, error) =>
      journal.write('error', { step, error: String(error) }, 'could not be undone; DEL will try again'),
  });
  return withInterfaces(call, narrowed(assigned as unknown as Result), mac);
}

/** Addresses as hosts' and without a gateway: the container's link is a point, not a subnet. */
const narrowed = (result: Result): Result => ({
  ...result,
  ips: addressesOf(result).map((address) => ({ address: hostPrefix(address), interface: 1 })),
});

const withInterfaces = ({ identity, attachment, conf }: AttachmentCall, result: Result, mac?: string): Result => ({
  ...result,
  interfaces: [
    { name: identity.hostIfname },
    { name: identity.ifname, mac, sandbox: attachment.netns, ...(conf.mtu > 0 ? { mtu: conf.mtu } : {}) },
  ],
});
