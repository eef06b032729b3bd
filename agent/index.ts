/**
 * agent: the daemon, where what the cluster wants meets what the kernel has.
 *
 * What it is for. It joins the rooms that do not know each other: updates from the datastore go to policy, to the local endpoints and to
 * the BGP intent; what they answer becomes one desired state; and that is applied to the kernel in the one order that is safe.
 *
 * The way in. The syncer's updates, the speaker's best changes, the kernel's link and route events: all through the pipeline, one
 * turn at a time. Drain inputs, recompute what is dirty, replace the desired state, schedule an apply.
 *
 * The way out. `apply` writes sets, chains, routes and neighbours through `reconcile/`, each a desired-against-actual difference;
 * `kernel/` is the only door to Linux. Status goes to the control socket, to metrics, to health and back to the datastore.
 *
 * What it refuses to do. It writes nothing before in-sync (I2), touches nothing that is not ours (I4), rewrites nothing that is
 * right (I5), and on exit leaves everything in place: the rules that close an endpoint outlive the agent (I3).
 */
export * from './bandwidth.ts';
export * from './endpoints.ts';
export { FELIX_FIELDS, type FelixField } from './felix-fields.ts';
export * from './interfaces.ts';
export { createNetlink, listAllRoutes } from './kernel/netlink/index.ts';
export * from './kernel/sysctl.ts';
export { checkSystem, type Machine, type SystemCheck } from './kernel/system-check.ts';
export * from './kernel/types.ts';
export * from './mtu.ts';
export type { PublishedStatus } from './published-status.ts';
export * from './reconcile/bandwidth.ts';
export * from './reconcile/bandwidth-plan.ts';
export * from './reconcile/overlay.ts';
export * from './reconcile/routes.ts';
export * from './reconcile/settings.ts';
export * from './routes.ts';
export type { NodeStatus } from './status.ts';
export * from './tunnel-address.ts';
export * from './vxlan.ts';
