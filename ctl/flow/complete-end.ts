import { KINDS, kindPrefix, parseKey, parseWorkloadEndpointName, type Store } from '#datastore';
import type { EndKind } from './wanted.ts';

/** Words that can stand for an end where a person has typed `current`, from keys alone. */
export async function endsLike(store: Store, current: string, namespace = 'default'): Promise<string[]> {
  const [first, second, third] = current.split('/');
  const word = (kind: EndKind) => KINDS[kind].singular;
  if (second === undefined)
    return [
      ...(await workloads(store, namespace, '')),
      ...(await names(store, 'Node', '')),
      ...(await names(store, 'HostEndpoint', '')),
      ...(['Node', 'HostEndpoint', 'WorkloadEndpoint'] as const).map((kind) => `${word(kind)}/`),
    ].sort();
  for (const kind of ['Node', 'HostEndpoint'] as const)
    if (first === word(kind)) return names(store, kind, `${first}/`);
  if (first !== word('WorkloadEndpoint')) return workloads(store, first, `${first}/`);
  if (third !== undefined) return workloads(store, second, `${first}/${second}/`);
  return workloads(store, namespace, `${first}/`);
}

async function names(store: Store, kind: EndKind, before: string): Promise<string[]> {
  const found: string[] = [];
  for await (const page of store.list(kindPrefix(kind)))
    for (const { key } of page) {
      const parsed = parseKey(key);
      if (parsed?.type === 'resource') found.push(before + parsed.name);
    }
  return found;
}

/** By pod or workload, which is a part of the name of an endpoint. */
async function workloads(store: Store, namespace: string, before: string): Promise<string[]> {
  const found = new Set<string>();
  for await (const page of store.list(kindPrefix('WorkloadEndpoint', namespace)))
    for (const { key } of page) {
      const parsed = parseKey(key);
      if (parsed?.type !== 'resource') continue;
      found.add(before + (parseWorkloadEndpointName(parsed.name)?.workload ?? parsed.name));
    }
  return [...found].sort();
}
