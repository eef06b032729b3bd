import { addr } from '#core';
import type { AnyResource, HostEndpoint } from '#datastore';
import { type FlowSettings, type Packet, type PolicyResources, World } from '#policy';
import { ACTORS, CAST } from './cast.ts';
import { HOST_ACTOR, HOST_LINKS, LINK_ADDRESSES } from './hosts.ts';
import { type Place, passesNode } from './path.ts';
import { type Actor, idOf, type Probe, packetOf, type Scenario } from './scenario.ts';

/** The cast with all its workloads on one node: what leaves one endpoint enters the other through the same rules. */

const onOneNode = (r: AnyResource): AnyResource =>
  r.kind === 'WorkloadEndpoint' ? ({ ...r, spec: { ...r.spec, node: 'node-a' } } as AnyResource) : r;
const CAST_HERE = CAST.map(onOneNode);

/** The scenario's resources, which take the place of the cast's where they have the same id. */
export const resourcesOnOneNode = ({ resources }: Scenario): AnyResource[] => [
  ...new Map([...CAST_HERE, ...resources.map(onOneNode)].map((r) => [`${r.kind}/${idOf(r)}`, r])).values(),
];

export function worldOf(resources: readonly AnyResource[]): World {
  const byKind: Record<string, Map<string, AnyResource>> = {};
  for (const one of resources) {
    byKind[one.kind] ??= new Map();
    byKind[one.kind].set(idOf(one), one);
  }
  return new World(byKind as PolicyResources);
}

export function actorHere(name: string): Actor {
  const found = name === HOST_ACTOR.name ? HOST_ACTOR : ACTORS.get(name);
  if (!found) throw new TypeError(`nobody is called ${name}`);
  return found;
}

/** The packet of a probe, and whether the evaluator lets it through the node. */
export function evaluateProbe(world: World, probe: Probe, settings: FlowSettings): { packet: Packet; allow: boolean } {
  const packet = packetOf(probe, actorHere(probe.from), actorHere(probe.to));
  return { packet, allow: passesNode(world, placeOf(world, probe.from), placeOf(world, probe.to), packet, settings) };
}

function placeOf(world: World, name: string): Place {
  if (name === HOST_ACTOR.name) return { at: 'host' };
  const link = HOST_LINKS[name];
  if (link === undefined) return { at: 'workload', id: actorHere(name).workload };
  return { at: 'link', endpoint: endpointOfLink(world, link, LINK_ADDRESSES[link]) };
}

/** The host endpoint of an interface: by its name, by an address of it, or that of all interfaces. */
export function endpointOfLink(world: World, link: string, addresses: readonly string[]): string | undefined {
  const all = [...(world.resources.HostEndpoint ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
  const first = (fits: (spec: HostEndpoint['spec']) => boolean) => all.find(([, { spec }]) => fits(spec))?.[0];
  return (
    first((spec) => spec.interfaceName === link) ??
    first((spec) => !spec.interfaceName && (spec.expectedIPs ?? []).some((ip) => addresses.includes(addr(ip)))) ??
    first((spec) => spec.interfaceName === '*')
  );
}
