import { FELIX_FIELDS } from '#agent';
import { type AnyResource, type FieldError, type Kind, unknownFields } from '#datastore';

/** `honour`: a tsnet node acts on it as a Calico node does; `ignore`: it does nothing, and harms nothing; `refuse`: do not switch a node yet. */
export type Verdict = 'honour' | 'ignore' | 'refuse';

/** One thing about an object that is not honoured. */
export interface Note {
  readonly verdict: 'ignore' | 'refuse';
  /** null: about the whole object. */
  readonly field: string | null;
  readonly message: string;
}

/** What a tsnet node does about one object of a Calico cluster. */
export interface Judgement {
  readonly kind: string;
  readonly name: string;
  readonly namespace: string | null;
  readonly verdict: Verdict;
  readonly notes: readonly Note[];
}

/** Kinds that no agent acts on, with the reason. */
const NOT_FOR_AGENTS: Partial<Record<Kind, string>> = {
  KubeControllersConfiguration: 'is for kube-controllers, which goes on reading it',
  IPAMConfiguration: 'is not what IPAM in etcd reads, here as in Calico; see tsnetctl ipam show --show-configuration',
  BlockAffinity: "mirrors IPAM's keys for the Kubernetes datastore; the keys count, here as in Calico",
  StagedNetworkPolicy: 'is staged: no node enforces it',
  StagedGlobalNetworkPolicy: 'is staged: no node enforces it',
  StagedKubernetesNetworkPolicy: 'is staged: no node enforces it',
  CalicoNodeStatus: 'is not filled by tsnet-agent; see tsnetctl node status --all',
};

/** Fields of FelixConfiguration that tsnet-agent acts on, and the one that says for which nodes the others hold. */
export const HONOURED_FELIX_FIELDS: readonly string[] = [...Object.keys(FELIX_FIELDS), 'nodeSelector', 'ipv6Support'];

/** Switches of Calico's other dataplanes: a node without them would treat packets differently. */
const REFUSED_FELIX: Readonly<Record<string, string>> = {
  bpfEnabled: 'selects the eBPF dataplane; tsnet programs iptables: switch it off on all nodes first',
  wireguardEnabled: 'encrypts traffic between nodes; a tsnet node would send and expect it in the clear',
  wireguardEnabledV6: 'encrypts traffic between nodes; a tsnet node would send and expect it in the clear',
};
/** Defaults that Calico's client writes into every object: they mean nothing to anybody who did not set them. */
const WRITTEN_BY_DEFAULT = [
  'bpfConnectTimeLoadBalancing',
  'bpfHostNetworkedNATWithoutCTLB',
  'bpfLogLevel',
  'nftablesMode',
  'nftablesFlowTableOffload',
  'logSeverityScreen',
  'reportingInterval',
];

/** Holds a valid object against what a tsnet node does. */
export function judge(resource: AnyResource): Judgement {
  const whole = NOT_FOR_AGENTS[resource.kind];
  const notes: Note[] = whole ? [{ verdict: 'ignore', field: null, message: whole }] : [...notesOf(resource)];
  return judgement(resource.kind, resource.metadata.name, resource.metadata.namespace ?? null, notes);
}

/** An object that cannot be used: a tsnet node treats it as absent. */
export const refused = (kind: string, name: string, namespace: string | null, message: string): Judgement =>
  judgement(kind, name, namespace, [{ verdict: 'refuse', field: null, message: `counts as absent: ${message}` }]);

export function judgement(kind: string, name: string, namespace: string | null, notes: readonly Note[]): Judgement {
  const worst = notes.some((note) => note.verdict === 'refuse') ? 'refuse' : null;
  // An object with one field that does nothing is still honoured in the others.
  const ignored = notes.some((note) => note.field === null) ? 'ignore' : 'honour';
  return { kind, name, namespace, verdict: worst ?? ignored, notes };
}

function* notesOf(resource: AnyResource): IterableIterator<Note> {
  if (resource.kind === 'FelixConfiguration') return yield* felixNotes(resource.spec);
  for (const { field } of unknownFields(resource).filter(isOfSpec))
    yield { verdict: 'ignore', field, message: 'is not known to tsnet and has no effect' };
  switch (resource.kind) {
    case 'IPPool':
      if (resource.spec.ipipMode && resource.spec.ipipMode !== 'Never')
        yield refuse(
          'spec.ipipMode',
          `is ${resource.spec.ipipMode}; tsnet has no IPIP tunnels: change the pool to VXLAN or to no encapsulation first`,
        );
      return;
    case 'BGPConfiguration':
      if (resource.spec.logSeverityScreen && resource.spec.logSeverityScreen !== 'Info')
        yield ignore('spec.logSeverityScreen', 'has no effect; see --log-level of tsnet-agent');
      if (resource.spec.programClusterRoutes)
        yield ignore('spec.programClusterRoutes', 'has no effect: one agent programs all routes');
      return;
    case 'ClusterInformation':
      if (resource.spec.datastoreReady === false)
        yield refuse('spec.datastoreReady', 'is false: every agent waits until it is true');
      return;
    case 'NetworkPolicy':
    case 'GlobalNetworkPolicy':
    case 'Profile':
      for (const side of ['ingress', 'egress'] as const)
        for (const [i, rule] of (resource.spec[side] ?? []).entries()) yield* ruleNotes(rule, `spec.${side}[${i}]`);
      return;
    default:
  }
}

interface RuleLike {
  readonly http?: unknown;
  readonly source?: { readonly services?: unknown };
  readonly destination?: { readonly services?: unknown };
}

function* ruleNotes(rule: RuleLike, at: string): IterableIterator<Note> {
  if (rule.http)
    yield ignore(
      `${at}.http`,
      'cannot be seen in packets: the rule allows nothing, as in Calico without its application layer',
    );
  for (const side of ['source', 'destination'] as const)
    if (rule[side]?.services)
      yield ignore(
        `${at}.${side}.services`,
        'names a Kubernetes Service, whose endpoints are not in etcd: the rule matches nothing',
      );
}

function* felixNotes(spec: Readonly<Record<string, unknown>>): IterableIterator<Note> {
  for (const [field, value] of Object.entries(spec)) {
    if (value === null || value === undefined || HONOURED_FELIX_FIELDS.includes(field)) continue;
    const reason = Object.hasOwn(REFUSED_FELIX, field) && value === true ? REFUSED_FELIX[field] : null;
    if (reason) yield refuse(`spec.${field}`, reason);
    else if (!WRITTEN_BY_DEFAULT.includes(field)) yield ignore(`spec.${field}`, 'has no effect on a tsnet node');
  }
}

const isOfSpec = ({ field }: FieldError): boolean => field.startsWith('spec.');
const ignore = (field: string, message: string): Note => ({ verdict: 'ignore', field, message });
const refuse = (field: string, message: string): Note => ({ verdict: 'refuse', field, message });
