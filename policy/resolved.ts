import type { Family } from '#core';
import type { HostEndpoint, RuleAction, WorkloadEndpoint } from '#datastore';
import type { PortRange, SetId } from './types.ts';

/**
 * What the calculation hands to render/: no selectors and no names of other objects any more, only sets, numbers and order.
 * A consumer can render each of these without looking at any other.
 */

/** One side of a rule; every criterion must match. */
export interface ResolvedEntity {
  readonly nets: readonly string[];
  readonly notNets: readonly string[];
  /** Address sets that must all (respectively must not) hold the address. */
  readonly sets: readonly SetId[];
  readonly notSets: readonly SetId[];
  /** Numeric ports and ranges: any of these or of `portSets` must match. */
  readonly ports: readonly PortRange[];
  /** Sets of `address,protocol:port`, from named ports and services. */
  readonly portSets: readonly SetId[];
  readonly notPorts: readonly PortRange[];
  readonly notPortSets: readonly SetId[];
}

export interface ResolvedRule {
  readonly action: RuleAction;
  /** The only family that it matches, by ipVersion, by its nets or by ICMP; undefined: both families. */
  readonly family?: Family;
  /** IANA protocol numbers; 1 (ICMP) and 58 (ICMPv6) imply a family. */
  readonly protocol?: number;
  readonly notProtocol?: number;
  /** Type, and code if given, of an ICMP packet of its family. */
  readonly icmp?: { readonly type?: number; readonly code?: number };
  /** Holds for every packet that `icmp` would not hold for, those of other protocols included. */
  readonly notIcmp?: { readonly type?: number; readonly code?: number };
  readonly source: ResolvedEntity;
  readonly destination: ResolvedEntity;
  /** `metadata.annotations` as sorted `key=value`, for rule comments. */
  readonly annotations: readonly string[];
}

/** `GlobalNetworkPolicy/name` or `NetworkPolicy/namespace/name`; staged kinds likewise. */
export type PolicyId = string;

export interface ActivePolicy {
  readonly id: PolicyId;
  readonly tier: string;
  /** For grouping consecutive policies of equal selectors: the canonical selector. */
  readonly selector: string;
  readonly ingress: readonly ResolvedRule[];
  readonly egress: readonly ResolvedRule[];
}

export interface ActiveProfile {
  readonly name: string;
  readonly ingress: readonly ResolvedRule[];
  readonly egress: readonly ResolvedRule[];
}

/** The policies of one tier that match an endpoint, per direction, in order. Empty list: the tier does nothing in that direction. */
export interface TierPolicies {
  readonly tier: string;
  readonly defaultAction: 'Deny' | 'Pass';
  readonly ingress: readonly PolicyId[];
  readonly egress: readonly PolicyId[];
}

export interface ResolvedWorkload {
  readonly kind: 'workload';
  /** `namespace/name` of the WorkloadEndpoint. */
  readonly id: string;
  readonly endpoint: WorkloadEndpoint;
  readonly tiers: readonly TierPolicies[];
  /** In order; a profile that does not exist has no ActiveProfile and matches nothing. */
  readonly profiles: readonly string[];
}

export interface ResolvedHost {
  readonly kind: 'host';
  /** Name of the HostEndpoint. */
  readonly id: string;
  readonly endpoint: HostEndpoint;
  /** calico-datastore.md 4.3: the four lists of a host endpoint. */
  readonly normal: readonly TierPolicies[];
  readonly forward: readonly TierPolicies[];
  readonly preDnat: readonly TierPolicies[];
  readonly untracked: readonly TierPolicies[];
  readonly profiles: readonly string[];
}
export type ResolvedEndpoint = ResolvedWorkload | ResolvedHost;

/** Members of a set, both families mixed; the renderer splits them and chooses types. */
export interface ResolvedSet {
  readonly id: SetId;
  readonly kind: 'nets' | 'ports';
  /** Canonical selector or named port, for people. */
  readonly owner: string;
}

/** What changed since the flush before; null is "no longer active". */
export interface ResolvedChanges {
  readonly sets: ReadonlyMap<SetId, ResolvedSet | null>;
  /** Members by set; addresses as /32 or /128 prefixes and nets, or `address,protocol:port`. To be read before the calculation is told or asked anything else. */
  readonly added: ReadonlyMap<SetId, ReadonlySet<string>>;
  readonly removed: ReadonlyMap<SetId, ReadonlySet<string>>;
  readonly policies: ReadonlyMap<PolicyId, ActivePolicy | null>;
  readonly profiles: ReadonlyMap<string, ActiveProfile | null>;
  /** By `WorkloadEndpoint/namespace/name` or `HostEndpoint/name`, which is also the owner of their chains. */
  readonly endpoints: ReadonlyMap<string, ResolvedEndpoint | null>;
}
