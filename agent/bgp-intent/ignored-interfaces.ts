import { wildcard } from '#core';
import type { BGPConfiguration } from '#datastore';

/** Interfaces that BGPConfiguration leaves out, by name with `*` as a wildcard; always those of the service proxy. */
export function ignoredInterfaces(configuration: BGPConfiguration | undefined): (name: string) => boolean {
  const patterns = ['kube-ipvs*', ...(configuration?.spec.ignoredInterfaces ?? [])].map(wildcard);
  return (name) => patterns.some((pattern) => pattern.test(name));
}
