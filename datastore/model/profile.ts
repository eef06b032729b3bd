import { list, object, resourceName, textMap } from './fields.ts';
import type { KindInfo } from './kind.ts';
import { checkLabels } from './labels.ts';
import { API_VERSION, type Resource } from './meta.ts';
import { type Rule, rule } from './rule.ts';
import { checkRules } from './rule-check.ts';

export interface ProfileSpec {
  ingress?: Rule[];
  egress?: Rule[];
  labelsToApply?: Record<string, string>;
}
export type Profile = Resource<'Profile', ProfileSpec>;

/** Allows everything, exists in every cluster, is stored in none (calico-datastore.md 1.8). */
export const ALLOW_ALL_PROFILE = 'projectcalico-default-allow';

export const allowAllProfile = (): Profile => ({
  kind: 'Profile',
  apiVersion: API_VERSION,
  metadata: { name: ALLOW_ALL_PROFILE, resourceVersion: '1' },
  spec: { ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] },
});

export const profile: KindInfo<'Profile', ProfileSpec> = {
  kind: 'Profile',
  plural: 'profiles',
  singular: 'profile',
  shortNames: ['pro', 'pros'],
  namespaced: false,
  name: (value) =>
    value === ALLOW_ALL_PROFILE ? `${ALLOW_ALL_PROFILE} is built in and reserved` : resourceName(value),
  spec: object<ProfileSpec>({ ingress: list(rule), egress: list(rule), labelsToApply: textMap }),
  check: ({ spec }, report) => {
    checkRules(spec.ingress, 'spec.ingress', { direction: 'ingress', namespaced: false }, report);
    checkRules(spec.egress, 'spec.egress', { direction: 'egress', namespaced: false }, report);
    checkLabels(spec.labelsToApply, 'spec.labelsToApply', report);
  },
};
