import type { LocalRoute, PeerConfig, SpeakerConfig } from '#bgp';
import { type Addr, addr, bitsOf, covers, FAMILIES, type Family, type Prefix, prefixLength } from '#core';
import { clusterAs, listenPortOf, nodeFacts, routerIdOf } from './facts.ts';
import type { IntentInput, IntentProblem } from './input.ts';
import { normalPriorities, normalPriority, ownBlocks, serviceRanges } from './route-policy.ts';
import { sessions } from './sessions.ts';

export { nodeFacts, routerIdOf } from './facts.ts';
export { ignoredInterfaces } from './ignored-interfaces.ts';
export * from './input.ts';
export { type LearnedVerdict, learnedVerdict } from './learned.ts';

/** What this node's speaker should be: whole, and a function of the input alone. */
export interface BgpIntent {
  /** null: this node has no address to speak from; `problems` says so. */
  readonly speaker: Omit<SpeakerConfig, 'restarting'> | null;
  readonly peers: readonly PeerConfig[];
  readonly localRoutes: readonly LocalRoute[];
  /** Own blocks: in the kernel before they are advertised, so that an unused address is not bounced to the default route (I10). */
  readonly blackholes: readonly Prefix[];
  readonly problems: readonly IntentProblem[];
}

export function bgpIntent(input: IntentInput): BgpIntent {
  const local = localRoutes(input);
  const own = input.nodes.get(input.node);
  const self = own && nodeFacts(own, input.configurations);
  if (!self || (!self.addresses[4] && !self.addresses[6])) {
    const message = self ? 'the Node has no spec.bgp.ipv4Address or ipv6Address' : 'the Node does not exist';
    return {
      speaker: null,
      peers: [],
      ...local,
      problems: [{ resource: `Node(${input.node})`, message: `${message}; BGP stays off` }],
    };
  }
  const { peers, problems } = sessions(input, self);
  const speaker: BgpIntent['speaker'] = {
    asNumber: self.asNumber ?? clusterAs(input.configurations),
    routerId: routerIdOf(input.routerId, self),
    ...(self.clusterId && { clusterId: self.clusterId }),
    listen: listenOn(input, self.addresses),
    holdTime: 90,
    restartTime: 120,
    connectRetry: 5000,
    normalPriority: normalPriorities(input),
  };
  return { speaker, peers, ...local, problems };
}

function listenOn(input: IntentInput, addresses: Partial<Record<Family, Addr>>): SpeakerConfig['listen'] {
  const port = listenPortOf(input.configurations, input.node);
  const mode = (input.configurations.get(`node.${input.node}`) ?? input.configurations.get('default'))?.spec.bindMode;
  const any: Record<Family, Addr> = { 4: addr('0.0.0.0'), 6: addr('::') };
  return FAMILIES.flatMap((family) => {
    const own = addresses[family];
    return own ? [{ address: mode === 'NodeIP' ? own : any[family], port }] : [];
  });
}

/** What this node originates: its blocks, its workloads' addresses outside them, and the service ranges that every node announces. */
function localRoutes(input: IntentInput): Pick<BgpIntent, 'localRoutes' | 'blackholes'> {
  const routes: LocalRoute[] = [];
  const blackholes: Prefix[] = [];
  for (const family of FAMILIES) {
    const priority = normalPriority(input, family);
    const blocks = ownBlocks(input, family);
    for (const prefix of blocks) {
      routes.push({ prefix, priority, reason: 'block' });
      // A block of one address is that address's own route; a blackhole would hide it.
      if (prefixLength(prefix) < bitsOf(family)) blackholes.push(prefix);
    }
    for (const [prefix, metric] of input.localAddresses) {
      if (prefix.includes(':') !== (family === 6)) continue;
      const covered = blocks.some((block) => covers(block, prefix));
      if (!covered || metric < priority) {
        const reason = covered ? 'address with elevated priority' : 'address outside a block';
        if (!blocks.includes(prefix)) routes.push({ prefix, priority: metric, reason });
      }
    }
    for (const prefix of serviceRanges(input, family)) routes.push({ prefix, priority, reason: 'service range' });
  }
  return { localRoutes: routes, blackholes };
}
