import { err, ok, type Result, type Selector } from '#core';
import type { GlobalNetworkPolicy, NetworkPolicy, Rule } from '#datastore';
import type { PolicyId } from '../resolved.ts';
import { policySelector } from './conversion.ts';
import type { PolicyPlace } from './order.ts';

/** A policy as the graph keeps it: read as far as needed to know whom it concerns; its rules are read once it is active. */
export interface Policy {
  readonly place: PolicyPlace;
  readonly selector: Selector;
  /** Of the id: the same policy has the same, whatever is in it. */
  readonly hash: number;
  readonly namespace: string;
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
}

/** @param id `name`, or `namespace/name` of a NetworkPolicy. */
export function readPolicy(id: string, resource: NetworkPolicy | GlobalNetworkPolicy): Result<Policy, string> {
  const { kind, spec } = resource;
  const slash = kind === 'NetworkPolicy' ? id.indexOf('/') : -1;
  const namespace = id.slice(0, Math.max(0, slash));
  const selector = policySelector(spec, namespace);
  if (!selector.ok) return err(selector.error);
  const types = effectiveTypes(spec);
  const global = kind === 'GlobalNetworkPolicy' ? resource.spec : {};
  const place: PolicyPlace = {
    id: policyId(kind, id),
    tier: spec.tier || 'default',
    order: spec.order ?? Number.POSITIVE_INFINITY,
    tie: `${id.slice(slash + 1)}/${namespace}/${kind}`,
    ingress: types.ingress,
    egress: types.egress,
    doNotTrack: global.doNotTrack === true,
    preDnat: global.preDNAT === true,
    applyOnForward: global.applyOnForward === true,
  };
  return ok({
    place,
    selector: selector.value,
    hash: hashOf(place.id),
    namespace,
    ingress: types.ingress ? (spec.ingress ?? []) : [],
    egress: types.egress ? (spec.egress ?? []) : [],
  });
}

export const policyId = (kind: 'NetworkPolicy' | 'GlobalNetworkPolicy', id: string): PolicyId => `${kind}/${id}`;

/** Absent types follow from the rules: egress alone is Egress, both are both, anything else is Ingress. */
function effectiveTypes(spec: { types?: string[]; ingress?: Rule[]; egress?: Rule[] }): {
  ingress: boolean;
  egress: boolean;
} {
  if (spec.types && spec.types.length > 0)
    return { ingress: spec.types.includes('Ingress'), egress: spec.types.includes('Egress') };
  const egress = (spec.egress ?? []).length > 0;
  return { ingress: !egress || (spec.ingress ?? []).length > 0, egress };
}

/** FNV-1a, 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}
