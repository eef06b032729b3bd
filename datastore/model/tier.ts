import { type Check, maybe, object, real, word } from './fields.ts';
import type { KindInfo } from './kind.ts';
import type { Resource } from './meta.ts';

export interface TierSpec {
  /** Lower first; absent is last. */
  order?: number | null;
  defaultAction?: 'Deny' | 'Pass';
}
export type Tier = Resource<'Tier', TierSpec>;

const label: Check = (value) =>
  /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(value) && value.length <= 63
    ? null
    : `a tier's name is one DNS label of at most 63 characters, without dots`;

/** Tiers with a fixed meaning (calico-datastore.md 2.7). */
export const BUILT_IN_TIERS: Readonly<Record<string, { order: number; defaultAction: 'Deny' | 'Pass' }>> = {
  default: { order: 1_000_000, defaultAction: 'Deny' },
  'kube-admin': { order: 1000, defaultAction: 'Pass' },
  'kube-baseline': { order: 10_000_000, defaultAction: 'Pass' },
};

export const tier: KindInfo<'Tier', TierSpec> = {
  kind: 'Tier',
  plural: 'tiers',
  singular: 'tier',
  shortNames: [],
  namespaced: false,
  name: label,
  spec: object<TierSpec>({ order: real, defaultAction: maybe(word('Deny', 'Pass')) }),
  check: ({ metadata, spec }, report) => {
    const fixed = Object.hasOwn(BUILT_IN_TIERS, metadata.name) ? BUILT_IN_TIERS[metadata.name] : null;
    if (!fixed) return;
    // What is absent is filled in from the fixed values.
    if (spec.order != null && spec.order !== fixed.order)
      report.limit('spec.order', `of tier ${metadata.name} is always ${fixed.order}`);
    if (spec.defaultAction && spec.defaultAction !== fixed.defaultAction)
      report.limit('spec.defaultAction', `of tier ${metadata.name} is always ${fixed.defaultAction}`);
  },
  fill: ({ metadata, spec }) => {
    const fixed = Object.hasOwn(BUILT_IN_TIERS, metadata.name) ? BUILT_IN_TIERS[metadata.name] : null;
    spec.order ??= fixed?.order ?? 1_000_000;
    spec.defaultAction ||= fixed?.defaultAction ?? 'Deny';
  },
};
