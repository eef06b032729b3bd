import { Daemon } from './daemon.ts';
import { attemptIn, createNetns, ip, runIn, sysctl } from './netns.ts';
import { HOST_MAC, type Host, type NodePlan, WORKLOAD_GATEWAYS, type WorkloadPlan } from './plan.ts';
import { ProbeClient } from './probe-client.ts';
import { PROBE } from './program.ts';
import type { LabState } from './state.ts';
import { LabError } from './wait.ts';

/**
 * A workload as the CNI plugin leaves it: a namespace with `eth0`, its addresses as /32 and /128, and default routes to gateways that exist
 * nowhere. What makes those gateways answer, and the addresses reachable, is the agent's work; nothing of that is done here.
 */

/** Makes the namespace and its veth pair; gives the MAC of the workload's side. */
export async function createWorkload(workload: WorkloadPlan, node: Pick<NodePlan, 'netns'>): Promise<string> {
  await createNetns(workload.netns);
  await attachInterface(workload, node);
  return macOf(workload);
}

/** The veth pair alone: also for an interface that was deleted and is made again. */
export async function attachInterface(workload: WorkloadPlan, node: Pick<NodePlan, 'netns'>): Promise<void> {
  const [v4, v6] = workload.addresses;
  const host = workload.interfaceName;
  await ip(node.netns, [`link add ${host} address ${HOST_MAC} type veth peer name eth0 netns ${workload.netns}`]);
  await sysctl(node.netns, { [`net.ipv6.conf.${host}.accept_dad`]: 0 });
  await sysctl(workload.netns, { 'net.ipv6.conf.eth0.accept_dad': 0 });
  await ip(node.netns, [`link set ${host} up`]);
  await ip(workload.netns, [
    `addr add ${v4}/32 dev eth0`,
    `addr add ${v6}/128 dev eth0 nodad`,
    'link set eth0 up',
    `route add ${WORKLOAD_GATEWAYS[0]} dev eth0 scope link`,
    `route add default via ${WORKLOAD_GATEWAYS[0]} dev eth0`,
    `route add ::/0 via ${WORKLOAD_GATEWAYS[1]} dev eth0`,
  ]);
}

export async function macOf(workload: Host): Promise<string> {
  const mac = /link\/ether (\S+)/.exec(await runIn(workload.netns, ['ip', 'link', 'show', 'eth0']))?.[1];
  if (!mac) throw new LabError(`${workload.name} has no eth0`);
  return mac;
}

/** Removes the veth pair, if it is there. */
export async function detachInterface(workload: WorkloadPlan): Promise<void> {
  await attemptIn(workload.netns, ['ip', 'link', 'del', 'eth0']);
}

/** Starts the program inside the workload (or inside another host of the lab) and waits until it answers. */
export async function startProbe(state: LabState, host: Host): Promise<ProbeClient> {
  const socket = state.path(`probe-${host.name}.sock`);
  const daemon = await Daemon.start(state, {
    name: `probe-${host.name}`,
    netns: host.netns,
    command: [process.execPath, PROBE, host.name, socket],
  });
  const client = new ProbeClient(socket);
  await daemon.waitFor(
    `the program in ${host.name} to answer`,
    async () => (await client.ask('ping', {})).name === host.name || 'another answers',
  );
  return client;
}
