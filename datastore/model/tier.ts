import type { Resource } from './meta.ts';

export interface TierSpec {
  /** Lower first; absent is last. */
  order?: number | null;
  defaultAction?: 'Deny' | 'Pass';
}
export type Tier = Resource<'Tier', TierSpec>;
