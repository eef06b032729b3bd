import { type EndpointRef, type Evaluation, ownStep, refText, type Step } from './evaluate.ts';
import type { Direction, ListName } from './order.ts';
import type { World } from './world.ts';

/** What the datastore cannot tell: a packet passes one of the node's interfaces, and they do not all say the same. */
export interface Unknown {
  readonly node: string;
  readonly direction: Direction;
  readonly ways: readonly Way[];
}

/** What happens by one of the interfaces. */
export interface Way {
  /** `HostEndpoint/name`; null: an interface without one, which policy does not touch. */
  readonly endpoint: string | null;
  readonly verdict: 'Allow' | 'Deny';
  readonly steps: readonly Step[];
}

/** A part of a flow's way: what is certain of it, and what is not. */
export interface Part extends Evaluation {
  readonly unknown: readonly Unknown[];
}

const OPEN: Part = { verdict: 'Allow', steps: [], unknown: [] };

/**
 * A packet that passes an interface of a node: which one, only the node's routes tell. Where the node has one host endpoint, of all interfaces, it
 * is that; where all that could be met say the same, that is certain, too; else the packet counts as passing, and the difference is told.
 */
export function byAnyInterface(
  world: World,
  node: string,
  direction: Direction,
  list: ListName,
  evaluate: (ref: EndpointRef) => Evaluation,
): Part {
  const refs = hostEndpointsOf(world, node);
  if (refs.length === 0) return OPEN;
  const all = refs.some(({ id }) => isAny(world, id));
  if (all && refs.length === 1) return { ...evaluate(refs[0]), unknown: [] };
  const ways: Way[] = refs.map((ref) => {
    const { verdict, steps } = evaluate(ref);
    return { endpoint: refText(ref), verdict: verdict === 'Deny' ? 'Deny' : 'Allow', steps };
  });
  if (!all) ways.push({ endpoint: null, verdict: 'Allow', steps: [] });
  const { verdict } = ways[0];
  if (ways.some((way) => way.verdict !== verdict))
    return { verdict: 'Allow', steps: [], unknown: [{ node, direction, ways }] };
  const names = ways.flatMap(({ endpoint }) => endpoint ?? []).join(', ');
  const reason = `it ${verdict === 'Allow' ? 'passes' : 'is denied'} by whichever interface (${names})`;
  return { verdict, steps: [ownStep({ where: `Node/${node}`, direction, list }, verdict, reason)], unknown: [] };
}

/** Those that packets can meet: of several of all interfaces the first by name counts. */
function hostEndpointsOf(world: World, node: string): EndpointRef[] {
  const ids = [...(world.resources.HostEndpoint ?? [])].filter(([, { spec }]) => spec.node === node).map(([id]) => id);
  ids.sort();
  const any = ids.find((id) => isAny(world, id));
  return ids.filter((id) => id === any || !isAny(world, id)).map((id) => ({ kind: 'HostEndpoint', id }));
}

const isAny = (world: World, id: string): boolean => world.resources.HostEndpoint?.get(id)?.spec.interfaceName === '*';
