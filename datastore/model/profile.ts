import type { Resource } from './meta.ts';
import type { Rule } from './rule.ts';

export interface ProfileSpec {
  ingress?: Rule[];
  egress?: Rule[];
  labelsToApply?: Record<string, string>;
}
export type Profile = Resource<'Profile', ProfileSpec>;
