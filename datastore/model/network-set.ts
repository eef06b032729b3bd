import type { Resource } from './meta.ts';

export interface NetworkSetSpec {
  nets?: string[];
}
export type NetworkSet = Resource<'NetworkSet', NetworkSetSpec>;
export type GlobalNetworkSet = Resource<'GlobalNetworkSet', NetworkSetSpec>;
