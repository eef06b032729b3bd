import type { ResolvedWorkload, TierPolicies } from '../resolved.ts';
import type { Chain, ChainRule } from '../types.ts';
import type { RenderConfig } from './config.ts';
import type { Groups, PolicyGroup } from './groups.ts';
import { chainName } from './names.ts';
import {
  clearMark,
  DROP,
  goto_,
  jump,
  marked,
  PROTOCOL,
  protocol,
  RETURN,
  rule,
  unmarked,
  verdictBits,
} from './phrases.ts';
import { type Direction, jumpsUntilVerdict, profileChain } from './policy-chains.ts';

/** Ingress of a workload is what goes to it (`cali-tw-`), egress what comes from it (`cali-fw-`). */
export const workloadChain = (iface: string, direction: Direction): string =>
  chainName(direction === 'ingress' ? 'cali-tw-' : 'cali-fw-', iface);

/** What says no for many endpoints stands once, with words for a person; their own chains only lead to it, which costs less to write (docs/adr/0008). */
export const NO_VERDICT_CHAIN = 'cali-no-verdict';
export const UNKNOWN_INTERFACE_CHAIN = 'cali-unknown-if';
/** Clears the mark that a tier before has set. */
export const NEXT_TIER_CHAIN = 'cali-next-tier';
export const tierEndChain = (tier: string): string => chainName('cali-end-', tier);

/** Those that do not depend on what tiers there are, each of one rule. */
export const SHARED_ENDS: Readonly<Record<string, (config: RenderConfig, deny: ChainRule['action']) => ChainRule>> = {
  [NO_VERDICT_CHAIN]: (_, deny) => rule([], deny, 'no policy and no profile allowed it'),
  [UNKNOWN_INTERFACE_CHAIN]: () => rule([], DROP, 'unknown interface'),
  [NEXT_TIER_CHAIN]: ({ marks }) => rule([], clearMark(marks.pass)),
};
export const renderTierEnd = (tier: string, deny: ChainRule['action']): Chain => ({
  name: tierEndChain(tier),
  rules: [rule([], deny, `end of tier ${tier}: no policy matched`)],
});

/** Chain that ends a connection above an endpoint's limit: a reset tells TCP at once. */
export const CONNECTION_LIMIT_CHAIN = 'cali-conn-limit';

export interface Tiers {
  readonly rules: readonly ChainRule[];
  /** Group chains that the rules jump to. */
  readonly groups: readonly PolicyGroup[];
}

/** What an endpoint's chains are made from besides the endpoint. */
export interface EndpointPolicy {
  readonly groups: Pick<Groups, 'of'>;
  profileExists(name: string): boolean;
}

export interface TierOptions {
  readonly marks: RenderConfig['marks'];
  readonly groups: Pick<Groups, 'of'>;
  /** preDNAT and untracked policy give no verdict at the end of a tier. */
  readonly defaults: boolean;
}

/** The tiers of one direction: policies in order until a verdict, then the tier's default. The verdict bits are clear on entry. */
export function renderTiers(tiers: readonly TierPolicies[], direction: Direction, options: TierOptions): Tiers {
  const { marks, defaults } = options;
  const groups: PolicyGroup[] = [];
  const rules: ChainRule[] = [];
  for (const tier of tiers) {
    const ids = tier[direction];
    if (ids.length === 0) continue;
    const runs = options.groups.of(ids, direction);
    groups.push(...runs.filter((run) => run.policies.length > 1));
    if (rules.length > 0) rules.push(rule([marked(marks.pass)], jump(NEXT_TIER_CHAIN)));
    const chains = runs.map((run) => run.chain);
    rules.push(...jumpsUntilVerdict(chains, verdictBits(marks), marks.accept));
    rules.push(rule([marked(marks.accept)], RETURN));
    if (defaults && tier.defaultAction === 'Deny')
      rules.push(rule([unmarked(marks.pass)], goto_(tierEndChain(tier.tier))));
  }
  return { rules, groups };
}

/** Profiles in order; one that does not exist has no chain and matches nothing. */
export function renderProfiles(
  profiles: readonly string[],
  direction: Direction,
  marks: RenderConfig['marks'],
  exists: (name: string) => boolean,
): ChainRule[] {
  return profiles
    .filter(exists)
    .flatMap((name) => [rule([], jump(profileChain(name, direction))), rule([marked(marks.accept)], RETURN)]);
}

/**
 * The chain of a workload endpoint in one direction. Established packets were accepted, invalid ones dropped and the verdict bits
 * cleared before the dispatch, once for all endpoints; here stands only what is this endpoint's own.
 */
export function renderWorkload(
  workload: ResolvedWorkload,
  direction: Direction,
  config: RenderConfig,
  policy: EndpointPolicy,
): { chain: Chain; groups: readonly PolicyGroup[] } {
  const { spec } = workload.endpoint;
  const limit =
    direction === 'ingress' ? spec.qosControls?.ingressMaxConnections : spec.qosControls?.egressMaxConnections;
  const tiers = renderTiers(workload.tiers, direction, {
    marks: config.marks,
    groups: policy.groups,
    defaults: true,
  });
  return {
    groups: tiers.groups,
    chain: {
      name: workloadChain(spec.interfaceName, direction),
      owner: `WorkloadEndpoint/${workload.id}`,
      rules: [
        ...(limit ? [rule([{ m: 'connlimit-above', count: limit, side: 'src' }], jump(CONNECTION_LIMIT_CHAIN))] : []),
        ...tiers.rules,
        ...renderProfiles(workload.profiles, direction, config.marks, policy.profileExists),
        rule([], goto_(NO_VERDICT_CHAIN)),
      ],
    },
  };
}

/** A chain for an endpoint that must not pass anything: the address is unknown, or the kernel refused a rule of it. */
export const CLOSED_CHAIN = 'cali-closed';

export const connectionLimitChain = (): Chain => ({
  name: CONNECTION_LIMIT_CHAIN,
  rules: [rule([protocol(PROTOCOL.tcp)], { do: 'reject', with: 'tcp-reset' }), rule([], DROP)],
});
