import { err, ok, type Result } from '#core';

/** The fields of a WorkloadEndpoint's spec that make its name (calico-datastore.md 1.2). */
export interface EndpointIdentity {
  node?: string;
  orchestrator?: string;
  workload?: string;
  pod?: string;
  containerID?: string;
  endpoint?: string;
}

/** Which field is the third segment of the name; libnetwork has a fixed word instead. */
function workloadField(orchestrator: string): 'pod' | 'containerID' | 'workload' | null {
  switch (orchestrator) {
    case 'k8s':
      return 'pod';
    case 'cni':
      return 'containerID';
    case 'libnetwork':
      return null;
    default:
      return 'workload';
  }
}

/** The segments in order, each with the field it came from. */
function segments(identity: EndpointIdentity): { field: string; value: string }[] {
  const orchestrator = identity.orchestrator ?? '';
  const third = workloadField(orchestrator);
  return [
    { field: 'spec.node', value: identity.node ?? '' },
    { field: 'spec.orchestrator', value: orchestrator },
    third
      ? { field: `spec.${third}`, value: identity[third] ?? '' }
      : { field: 'spec.orchestrator', value: orchestrator },
    { field: 'spec.endpoint', value: identity.endpoint ?? '' },
  ];
}

const escaped = (segment: string) => segment.replaceAll('-', '--');

/** The name that follows from the spec: each segment with its dashes doubled, joined with single ones. */
export function workloadEndpointName(identity: EndpointIdentity): Result<string, { field: string; message: string }> {
  const parts = segments(identity);
  for (const { field, value } of parts) {
    if (value === '') return err({ field, message: 'is required, because the name is made of it' });
    if (value.startsWith('-') || value.endsWith('-'))
      return err({ field, message: `must not begin or end with '-', because the name is made of it` });
  }
  return ok(parts.map((part) => escaped(part.value)).join('-'));
}

/** Whether a name follows from the spec. */
export function makesEndpointName(identity: EndpointIdentity): boolean {
  const { node, orchestrator = '', endpoint } = identity;
  const third = workloadField(orchestrator);
  return isSegment(node) && isSegment(orchestrator) && isSegment(endpoint) && (!third || isSegment(identity[third]));
}

const isSegment = (value: string | undefined): boolean =>
  Boolean(value && !value.startsWith('-') && !value.endsWith('-'));

/**
 * The beginning that all endpoints with the given first fields share, ending with `-`. It is not exact: `a-` also begins the
 * endpoints of node `a-b`, so the spec is to be looked at again after a prefix list.
 */
export function workloadEndpointPrefix(identity: EndpointIdentity): string {
  let prefix = '';
  for (const { value } of segments(identity)) {
    if (value === '') return prefix;
    prefix += `${escaped(value)}-`;
  }
  return prefix.slice(0, -1);
}

/** The four segments of a name, or null when it does not have four. */
export function parseWorkloadEndpointName(
  name: string,
): { node: string; orchestrator: string; workload: string; endpoint: string } | null {
  const parts: string[] = [];
  let start = 0;
  for (let i = 1; i < name.length; i++) {
    if (name[i] !== '-') continue;
    if (name[i + 1] === '-') i++;
    else {
      parts.push(name.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(name.slice(start));
  if (parts.length !== 4 || parts.some((part) => part === '')) return null;
  const [node, orchestrator, workload, endpoint] = parts.map((part) => part.replaceAll('--', '-'));
  return { node, orchestrator, workload, endpoint };
}
