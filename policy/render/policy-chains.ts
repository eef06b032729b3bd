import type { Family } from '#core';
import type { ActivePolicy, ActiveProfile, PolicyId, ResolvedRule } from '../resolved.ts';
import type { Action, Chain, ChainRule, Table } from '../types.ts';
import type { RenderConfig } from './config.ts';
import { chainName } from './names.ts';
import { ALLOW_CHAIN, DROP, goto_, jump, markedAny, PASS_CHAIN, RETURN, rule, unmarked } from './phrases.ts';
import type { SetNames } from './policy-sets.ts';
import { renderRule, type Verdict, type Verdicts } from './rule.ts';

export type Direction = 'ingress' | 'egress';

export const policyChain = (id: PolicyId, direction: Direction): string =>
  chainName(direction === 'ingress' ? 'cali-pi-' : 'cali-po-', shortId(id));
export const profileChain = (name: string, direction: Direction): string =>
  chainName(direction === 'ingress' ? 'cali-pri-' : 'cali-pro-', name);

const shortId = (id: PolicyId): string =>
  id.replace(/^GlobalNetworkPolicy\//, 'gnp/').replace(/^NetworkPolicy\//, 'np/');

/** REJECT exists in the filter table only. */
export const denyAction = (config: RenderConfig, table: Table): Action =>
  config.filterDenyAction === 'Reject' && table === 'filter' ? { do: 'reject', with: 'icmp-port-unreachable' } : DROP;

export function renderPolicy(
  policy: ActivePolicy,
  direction: Direction,
  family: Family,
  table: Table,
  config: RenderConfig,
  setNames: SetNames,
): Chain {
  const where = `tier ${policy.tier}, policy ${policy.id}`;
  const verdicts: Verdicts = {
    marks: config.marks,
    allow: goto_(ALLOW_CHAIN),
    pass: goto_(PASS_CHAIN),
    deny: denyAction(config, table),
    log: (index) => logActions(config, policy.tier, policy.id, index),
    setNames,
  };
  const rules = policy[direction].flatMap((source, index) =>
    commented(
      renderRule(source, index, family, verdicts),
      `${where}, ${direction} rule ${index} (${source.action})`,
      source,
    ),
  );
  const name = policyChain(policy.id, direction);
  const isNamed = name.endsWith(shortId(policy.id));
  return { name, rules: isNamed ? rules : describe(rules, `${where}, ${direction}`), owner: policy.id };
}

export function renderProfile(
  profile: ActiveProfile,
  direction: Direction,
  family: Family,
  table: Table,
  config: RenderConfig,
  setNames: SetNames,
): Chain {
  const where = `profile ${profile.name}`;
  const verdicts: Verdicts = {
    marks: config.marks,
    allow: goto_(ALLOW_CHAIN),
    pass: RETURN, // on to the next profile
    deny: denyAction(config, table),
    log: (index) => logActions(config, 'profile', `Profile/${profile.name}`, index),
    setNames,
  };
  const rules = profile[direction].flatMap((source, index) =>
    commented(
      renderRule(source, index, family, verdicts),
      `${where}, ${direction} rule ${index} (${source.action})`,
      source,
    ),
  );
  const name = profileChain(profile.name, direction);
  const isNamed = name.endsWith(profile.name);
  return {
    name,
    rules: isNamed ? rules : describe(rules, `${where}, ${direction}`),
    owner: `Profile/${profile.name}`,
  };
}

/** A chain without rules and with a hash for a name still says whose it is. */
const describe = (rules: readonly ChainRule[], what: string): readonly ChainRule[] =>
  rules.length > 0 ? rules : [rule([], { do: 'none' }, what)];

function commented(rules: readonly ChainRule[], what: string, source: ResolvedRule): ChainRule[] {
  return rules.map((r, index) => (index === 0 ? { ...r, comments: [what, ...source.annotations] } : r));
}

/**
 * `%t` tier, `%k` kind, `%n` name, `%p` namespace/name, then the rule's number. Without any of them tier and policy are appended; the name of a
 * policy in a tier of its own often begins with the tier's, which is then not said twice.
 */
function logActions(config: RenderConfig, tier: string, id: string, index: number): readonly Verdict[] {
  const [kind, ...rest] = id.split('/');
  const values: Record<string, string> = { t: tier, k: kind, n: rest[rest.length - 1] ?? '', p: rest.join('/') };
  const text = config.log.prefix.replace(/%([tknp])/g, (_, key: string) => values[key]);
  const isNamed = values.n.startsWith(`${tier}.`);
  const prefix = /%[tknp]/.test(config.log.prefix) ? text : `${text} ${isNamed ? '' : `${tier}/`}${values.p}`;
  const { rate, group } = config.log;
  return [
    {
      match: rate ? [{ m: 'limit', perSecond: rate.perSecond, burst: rate.burst }] : [],
      action: { do: 'log', prefix, rule: index, ...(group !== undefined && { group }) },
    },
  ];
}

/** After how many jumps a chain looks whether it may leave: between, each jump asks by itself. */
const LOOK_EVERY = 5;

/** Jumps to one chain after the other until one has set one of `bits`; leaves early only when one of `leaveOn` is set. */
export function jumpsUntilVerdict(chains: readonly string[], bits: number, leaveOn: number): ChainRule[] {
  return chains.flatMap((chain, index) => {
    const leave = index > 0 && index % LOOK_EVERY === 0 ? [rule([markedAny(leaveOn)], RETURN)] : [];
    return [...leave, rule(index === 0 ? [] : [unmarked(bits)], jump(chain))];
  });
}
