import type { Resource } from './meta.ts';
import type { Rule } from './rule.ts';

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
