import { createHash } from 'node:crypto';
import type { PolicyId } from '../resolved.ts';
import type { Chain } from '../types.ts';
import type { RenderConfig } from './config.ts';
import { chainName } from './names.ts';
import { verdictBits } from './phrases.ts';
import { type Direction, jumpsUntilVerdict, policyChain } from './policy-chains.ts';

/** A run of policies that always come together, in one chain that several endpoints share. */
export interface PolicyGroup {
  readonly chain: string;
  readonly selector: string;
  readonly policies: readonly PolicyId[];
}

/**
 * Policies in a group at most. iptables-nft-restore walks a list of all chains that it was told of for each jump, and one chain is never divided between
 * two commands (agent/kernel/iptables-pieces.ts): a group of ten thousand took it a second.
 */
const GROUP_MOST = 500;

/**
 * Splits the policies of a tier into runs of equal selectors: endpoints that match one of a run match all of it, so the run is
 * written once. A run of one is its policy's own chain.
 */
function groupPolicies(
  ids: readonly PolicyId[],
  selectorOf: (id: PolicyId) => string,
  direction: Direction,
): PolicyGroup[] {
  const runs: { selector: string; policies: PolicyId[] }[] = [];
  for (const id of ids) {
    const selector = selectorOf(id);
    const last = runs[runs.length - 1];
    if (last?.selector === selector && last.policies.length < GROUP_MOST) last.policies.push(id);
    else runs.push({ selector, policies: [id] });
  }
  return runs.map(({ selector, policies }) => ({
    selector,
    policies,
    chain: policies.length === 1 ? policyChain(policies[0], direction) : groupName(selector, policies, direction),
  }));
}

function groupName(selector: string, policies: readonly PolicyId[], direction: Direction): string {
  const hash = createHash('sha256')
    .update([selector, ...policies].join('\0'))
    .digest('base64url');
  return chainName(direction === 'ingress' ? 'cali-gi-' : 'cali-go-', hash.slice(0, 16).replaceAll('_', '.'));
}

export function renderGroup(group: PolicyGroup, direction: Direction, config: RenderConfig): Chain {
  return {
    name: group.chain,
    rules: jumpsUntilVerdict(
      group.policies.map((id) => policyChain(id, direction)),
      verdictBits(config.marks),
      verdictBits(config.marks),
    ),
  };
}

/** The groups of lists of policies, each worked out once for all endpoints that share the list. */
export class Groups {
  readonly #selectorOf: (id: PolicyId) => string;
  #known: Record<Direction, WeakMap<readonly PolicyId[], readonly PolicyGroup[]>> | undefined;

  constructor(selectorOf: (id: PolicyId) => string) {
    this.#selectorOf = selectorOf;
  }

  /** @param ids a list that is never changed */
  of(ids: readonly PolicyId[], direction: Direction): readonly PolicyGroup[] {
    this.#known ??= { ingress: new WeakMap(), egress: new WeakMap() };
    let groups = this.#known[direction].get(ids);
    if (!groups) {
      groups = groupPolicies(ids, this.#selectorOf, direction);
      this.#known[direction].set(ids, groups);
    }
    return groups;
  }
  /** The selector of some policy is another one. */
  forget(): void {
    this.#known = undefined;
  }
}
