import * as z from 'zod';
import { type Family, familyOf, type Prefix, prefixLength } from '#core';
import { community } from './community.ts';
import { asNumber, int, interfacePattern, list, maskedNet, maybe, object, opt, text, word } from './fields.ts';
import type { KindInfo, Report } from './kind.ts';
import type { Resource } from './meta.ts';
import type { AsNumber } from './node.ts';

export interface BGPFilterRule {
  cidr?: string;
  matchOperator?: 'Equal' | 'NotEqual' | 'In' | 'NotIn';
  prefixLength?: { min?: number; max?: number };
  source?: 'RemotePeers';
  interface?: string;
  peerType?: 'eBGP' | 'iBGP';
  communities?: { values: string[] };
  asPathPrefix?: AsNumber[];
  priority?: number;
  action: 'Accept' | 'Reject';
  operations?: (
    | { addCommunity: { value: string } }
    | { prependASPath: { prefix: AsNumber[] } }
    | { setPriority: { value: number } }
  )[];
}
export interface BGPFilterSpec {
  exportV4?: BGPFilterRule[];
  importV4?: BGPFilterRule[];
  exportV6?: BGPFilterRule[];
  importV6?: BGPFilterRule[];
}
export type BGPFilter = Resource<'BGPFilter', BGPFilterSpec>;

const priority = int(1, 2147483646);
const asNumbers = z.array(asNumber) as unknown as z.ZodType<AsNumber[]>;

/** Exactly one of the three; which one is checked by hand, so that the message can say it. */
const operation = z.looseObject({
  addCommunity: opt(object({ value: text(community) })),
  prependASPath: opt(object({ prefix: asNumbers })),
  setPriority: opt(object({ value: priority })),
}) as unknown as z.ZodType<NonNullable<BGPFilterRule['operations']>[number]>;

const rules = list(
  object<BGPFilterRule>({
    cidr: maybe(maskedNet()),
    matchOperator: maybe(word('Equal', 'NotEqual', 'In', 'NotIn')),
    prefixLength: opt(object({ min: opt(int(0, 128)), max: opt(int(0, 128)) })),
    source: maybe(word('RemotePeers')),
    interface: maybe(interfacePattern),
    peerType: maybe(word('eBGP', 'iBGP')),
    communities: opt(object({ values: z.array(text(community)) })),
    asPathPrefix: opt(asNumbers),
    priority: opt(priority),
    action: text(word('Accept', 'Reject')),
    operations: list(operation, 10),
  }),
);

const LISTS: readonly (readonly [keyof BGPFilterSpec, Family])[] = [
  ['exportV4', 4],
  ['importV4', 4],
  ['exportV6', 6],
  ['importV6', 6],
];

function checkRule(rule: BGPFilterRule, field: string, family: Family, report: Report): void {
  if (rule.cidr && !rule.matchOperator) report(`${field}.matchOperator`, 'is required with cidr');
  if (rule.matchOperator && !rule.cidr) report(`${field}.cidr`, 'is required with matchOperator');
  if (rule.cidr && familyOf(rule.cidr as Prefix) !== family) report(`${field}.cidr`, `must be IPv${family} here`);
  checkLength(rule, field, family, report);
  if (rule.communities && rule.communities.values.length !== 1)
    report(`${field}.communities.values`, 'must hold exactly one community');
  if (rule.operations?.length && rule.action !== 'Accept')
    report(`${field}.operations`, 'have a meaning only with action Accept');
  for (const [i, operation] of (rule.operations ?? []).entries()) {
    const named = ['addCommunity', 'prependASPath', 'setPriority'].filter((name) => Object.hasOwn(operation, name));
    if (named.length !== 1)
      report(`${field}.operations[${i}]`, 'must be exactly one of addCommunity, prependASPath, setPriority');
  }
}

function checkLength(
  { cidr, prefixLength: range }: BGPFilterRule,
  field: string,
  family: Family,
  report: Report,
): void {
  if (!range) return;
  if (!cidr) {
    report(`${field}.prefixLength`, 'needs a cidr');
    return;
  }
  const bits = family === 4 ? 32 : 128;
  const min = range.min ?? prefixLength(cidr as Prefix);
  const max = range.max ?? bits;
  if (max > bits) report(`${field}.prefixLength.max`, `must be at most ${bits}`);
  else if (min > max) report(`${field}.prefixLength.min`, `${min} is above the maximum of ${max}`);
}

export const bgpFilter: KindInfo<'BGPFilter', BGPFilterSpec> = {
  kind: 'BGPFilter',
  plural: 'bgpfilters',
  singular: 'bgpfilter',
  shortNames: ['bgpf', 'bgpfs', 'bf', 'bfs'],
  namespaced: false,
  spec: object<BGPFilterSpec>({ exportV4: rules, importV4: rules, exportV6: rules, importV6: rules }),
  check: ({ spec }, report) => {
    for (const [name, family] of LISTS)
      for (const [i, rule] of (spec[name] ?? []).entries()) checkRule(rule, `spec.${name}[${i}]`, family, report);
  },
};
