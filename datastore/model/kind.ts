import type * as z from 'zod';
import type { Check } from './fields.ts';
import type { Metadata } from './meta.ts';

/** Collects what is wrong; `limit` for what is refused on write only. Fields are paths such as `spec.ingress[0].action`. */
export interface Report {
  (field: string, message: string): void;
  limit(field: string, message: string): void;
}

/** What every file of `model/` says about its kind. */
export interface KindInfo<K extends string = string, S = unknown> {
  readonly kind: K;
  /** As in the key; lower case. */
  readonly plural: string;
  readonly singular: string;
  /** Further words that calicoctl accepts for it. */
  readonly shortNames: readonly string[];
  readonly namespaced: boolean;
  readonly spec: z.ZodType<S>;
  /** The rule for `metadata.name`, when it is narrower than that of all resources. */
  readonly name?: Check;
  /** What no single field shows; runs only when the schema holds. */
  check?(resource: { metadata: Metadata; spec: S }, report: Report): void;
  /** Fills in on write what Calico's client fills in; changes the resource, which is the writer's own copy. */
  fill?(resource: { metadata: Metadata; spec: S }): void;
  /** Defaults that also hold for stored objects that lack them. */
  fillOnRead?(resource: { metadata: Metadata; spec: S }): void;
  /** On read a wrong field is left out and reported, and the rest of the object holds. */
  readonly fieldByField?: boolean;
  /** calicoctl and tsnetctl only show it. */
  readonly readOnly?: boolean;
}
