import * as z from 'zod';
import {
  bool,
  type Check,
  list,
  maybe,
  maybeSelector,
  object,
  real,
  resourceName,
  shown,
  text,
  word,
} from './fields.ts';
import type { KindInfo, Report } from './kind.ts';
import type { Metadata, Resource } from './meta.ts';
import { type Rule, rule } from './rule.ts';
import { checkRules } from './rule-check.ts';

export type PolicyType = 'Ingress' | 'Egress';

export interface NetworkPolicySpec {
  tier?: string;
  /** Lower first; absent is last. */
  order?: number | null;
  selector?: string;
  serviceAccountSelector?: string;
  types?: PolicyType[];
  ingress?: Rule[];
  egress?: Rule[];
  performanceHints?: 'AssumeNeededOnEveryNode'[];
}
export interface GlobalNetworkPolicySpec extends NetworkPolicySpec {
  namespaceSelector?: string;
  doNotTrack?: boolean;
  preDNAT?: boolean;
  applyOnForward?: boolean;
}
export type StagedAction = 'Set' | 'Delete' | 'Learn' | 'Ignore';

export type NetworkPolicy = Resource<'NetworkPolicy', NetworkPolicySpec>;
export type GlobalNetworkPolicy = Resource<'GlobalNetworkPolicy', GlobalNetworkPolicySpec>;
export type StagedNetworkPolicy = Resource<'StagedNetworkPolicy', NetworkPolicySpec & { stagedAction?: StagedAction }>;
export type StagedGlobalNetworkPolicy = Resource<
  'StagedGlobalNetworkPolicy',
  GlobalNetworkPolicySpec & { stagedAction?: StagedAction }
>;
/** `podSelector` and the rest are Kubernetes' own NetworkPolicySpec, carried without interpretation. */
export type StagedKubernetesNetworkPolicy = Resource<
  'StagedKubernetesNetworkPolicy',
  { stagedAction?: StagedAction; [kubernetesField: string]: unknown }
>;

/** The label by which calicoctl filters policies of a tier. */
export const TIER_LABEL = 'projectcalico.org/tier';

/** Names with a reserved beginning have more dots than others. */
const RESERVED = /^(knp\.default|kanp\.adminnetworkpolicy|kbanp\.baselineadminnetworkpolicy|ossg\.default)\./;

const globalName: Check = (value) =>
  resourceName(value) ??
  (value.split('.').length > 2 ? `may hold one dot at most; '${shown(value)}' holds more` : null);

const namespacedName: Check = (value) => resourceName(value) ?? (RESERVED.test(value) ? null : globalName(value));

type Shape<T> = { [F in keyof Required<T>]: z.ZodType<T[F]> };

const common: Shape<NetworkPolicySpec> = {
  tier: maybe(resourceName),
  order: real,
  selector: maybeSelector,
  serviceAccountSelector: maybeSelector,
  types: list(text<PolicyType>(word('Ingress', 'Egress'))),
  ingress: list(rule, 1024),
  egress: list(rule, 1024),
  performanceHints: list(
    text<'AssumeNeededOnEveryNode'>(
      () => null,
      (value) => word('AssumeNeededOnEveryNode')(value),
    ),
  ),
};
const global: Shape<GlobalNetworkPolicySpec> = {
  ...common,
  namespaceSelector: maybeSelector,
  doNotTrack: bool,
  preDNAT: bool,
  applyOnForward: bool,
};
const stagedAction = maybe<StagedAction>(word('Set', 'Delete', 'Learn', 'Ignore'));

type AnyPolicySpec = GlobalNetworkPolicySpec & { stagedAction?: StagedAction };
interface AnyPolicy {
  metadata: Metadata;
  spec: AnyPolicySpec;
}

function checkPolicy(namespaced: boolean) {
  return ({ spec }: AnyPolicy, report: Report): void => {
    checkRules(spec.ingress, 'spec.ingress', { direction: 'ingress', namespaced }, report);
    checkRules(spec.egress, 'spec.egress', { direction: 'egress', namespaced }, report);
    const types = spec.types ?? [];
    if (new Set(types).size < types.length) report.limit('spec.types', 'has a type twice');
    checkHostTraffic(spec, report);
    if (spec.stagedAction === 'Delete') checkNothingElse(spec, ['stagedAction', 'tier', 'types'], report);
  };
}

/** doNotTrack, preDNAT and applyOnForward concern host endpoints and depend on each other. */
function checkHostTraffic(spec: GlobalNetworkPolicySpec, report: Report): void {
  if (spec.preDNAT && spec.doNotTrack) report('spec.preDNAT', 'cannot be set together with doNotTrack');
  if ((spec.preDNAT || spec.doNotTrack) && !spec.applyOnForward)
    report('spec.applyOnForward', 'must be true when preDNAT or doNotTrack is');
  if (!spec.preDNAT) return;
  if (spec.egress?.length) report('spec.egress', 'must be empty with preDNAT');
  if (spec.types?.includes('Egress')) report('spec.types', 'cannot hold Egress with preDNAT');
}

function checkNothingElse(spec: object, allowed: readonly string[], report: Report): void {
  for (const [field, value] of Object.entries(spec)) {
    const empty = value == null || value === '' || value === false || (Array.isArray(value) && value.length === 0);
    if (!allowed.includes(field) && !empty) report(`spec.${field}`, 'must be absent when stagedAction is Delete');
  }
}

/** Which directions a policy governs when it does not say so. */
export function typesOf(spec: NetworkPolicySpec): PolicyType[] {
  if (spec.types?.length) return spec.types;
  if (!spec.egress?.length) return ['Ingress'];
  return spec.ingress?.length ? ['Ingress', 'Egress'] : ['Egress'];
}

function fillPolicy({ metadata, spec }: AnyPolicy): void {
  spec.tier ||= 'default';
  spec.types = typesOf(spec);
  metadata.labels = { ...metadata.labels, [TIER_LABEL]: spec.tier };
}

function fillStaged(policy: AnyPolicy): void {
  fillPolicy(policy);
  policy.spec.stagedAction ||= 'Set';
  if (policy.spec.stagedAction === 'Delete') delete policy.spec.types;
}

export const networkPolicy: KindInfo<'NetworkPolicy', NetworkPolicySpec> = {
  kind: 'NetworkPolicy',
  plural: 'networkpolicies',
  singular: 'networkpolicy',
  shortNames: ['np', 'policy', 'policies', 'pol', 'pols'],
  namespaced: true,
  name: namespacedName,
  spec: object<NetworkPolicySpec>(common),
  check: checkPolicy(true),
  fill: fillPolicy,
};

export const globalNetworkPolicy: KindInfo<'GlobalNetworkPolicy', GlobalNetworkPolicySpec> = {
  kind: 'GlobalNetworkPolicy',
  plural: 'globalnetworkpolicies',
  singular: 'globalnetworkpolicy',
  shortNames: ['gnp', 'gnps'],
  namespaced: false,
  name: globalName,
  spec: object<GlobalNetworkPolicySpec>(global),
  check: checkPolicy(false),
  fill: fillPolicy,
};

export const stagedNetworkPolicy: KindInfo<'StagedNetworkPolicy', StagedNetworkPolicy['spec']> = {
  kind: 'StagedNetworkPolicy',
  plural: 'stagednetworkpolicies',
  singular: 'stagednetworkpolicy',
  shortNames: ['snp', 'stagedpolicy', 'stagedpolicies', 'spol', 'spols'],
  namespaced: true,
  name: namespacedName,
  spec: object<StagedNetworkPolicy['spec']>({ ...common, stagedAction }),
  check: checkPolicy(true),
  fill: fillStaged,
};

export const stagedGlobalNetworkPolicy: KindInfo<'StagedGlobalNetworkPolicy', StagedGlobalNetworkPolicy['spec']> = {
  kind: 'StagedGlobalNetworkPolicy',
  plural: 'stagedglobalnetworkpolicies',
  singular: 'stagedglobalnetworkpolicy',
  shortNames: ['sgnp', 'sgnps'],
  namespaced: false,
  name: globalName,
  spec: object<StagedGlobalNetworkPolicy['spec']>({ ...global, stagedAction }),
  check: checkPolicy(false),
  fill: fillStaged,
};

type KubernetesSpec = StagedKubernetesNetworkPolicy['spec'];

export const stagedKubernetesNetworkPolicy: KindInfo<'StagedKubernetesNetworkPolicy', KubernetesSpec> = {
  kind: 'StagedKubernetesNetworkPolicy',
  plural: 'stagedkubernetesnetworkpolicies',
  singular: 'stagedkubernetesnetworkpolicy',
  shortNames: ['sknp', 'stagedkubernetespolicy', 'stagedkubernetespolicies', 'skpol', 'skpols'],
  namespaced: true,
  spec: z.looseObject({ stagedAction }) as unknown as z.ZodType<KubernetesSpec>,
  check: ({ spec }, report) => {
    if (spec.stagedAction === 'Delete') checkNothingElse(spec, ['stagedAction'], report);
  },
  fill: ({ spec }) => {
    spec.stagedAction ||= 'Set';
  },
};
