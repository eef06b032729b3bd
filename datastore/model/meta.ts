/** The one API version of every resource; written always, on read the key decides the kind (calico-datastore.md 1.4). */
export const API_VERSION = 'projectcalico.org/v3';

/** Metadata as it is stored, plus `resourceVersion`, which is filled on read from etcd's mod_revision and never stored. */
export interface Metadata {
  name: string;
  namespace?: string;
  uid?: string;
  /** RFC 3339, UTC, whole seconds. */
  creationTimestamp?: string | null;
  /** Decimal text of the key's mod_revision. */
  resourceVersion?: string;
  generateName?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

/** A resource of one kind: what a person writes, what etcd holds, what `tsnetctl get -o json` prints. */
export interface Resource<K extends string, S> {
  apiVersion: typeof API_VERSION;
  kind: K;
  metadata: Metadata;
  spec: S;
}
