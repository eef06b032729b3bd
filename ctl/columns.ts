import type { AnyResource, Kind, Kinds } from '#datastore';

/** What some cells need besides the resource. */
export interface CellContext {
  /** The cluster's AS number, shown in parentheses for nodes without one. */
  readonly clusterAs: string;
}

export interface Column<R = AnyResource> {
  readonly title: string;
  readonly cell: (resource: R, context: CellContext) => string;
}

interface Columns<R> {
  readonly table: readonly Column<R>[];
  readonly wide: readonly Column<R>[];
}

const column = <R>(title: string, cell: Column<R>['cell']): Column<R> => ({ title, cell });
const same = <R extends AnyResource>(...columns: Column<NoInfer<R>>[]): Columns<R> => ({
  table: columns,
  wide: columns,
});
/** The wide table is the narrow one and more. */
const more = <R extends AnyResource>(table: Column<NoInfer<R>>[], ...further: Column<NoInfer<R>>[]): Columns<R> => ({
  table,
  wide: [...table, ...further],
});

const CUT = 80;
const list = (values: readonly unknown[] | undefined): string => (values ?? []).map(String).join(',');
const cut = (text: string): string => (text.length > CUT ? `${text.slice(0, CUT - 3)}...` : text);
const map = (values: Readonly<Record<string, unknown>> | undefined): string =>
  Object.entries(values ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
/** A value that may be absent, as Go prints a nil pointer. */
const pointer = (value: unknown): string => (value === undefined || value === null ? '<nil>' : String(value));
const dash = (value: unknown): string => (value === undefined || value === null ? '-' : String(value));
const plain = (value: unknown): string => (value === undefined || value === null ? '' : String(value));

const NAME = { title: 'NAME', cell: (r: AnyResource) => r.metadata.name } as const;

type Policy = Kinds['NetworkPolicy' | 'GlobalNetworkPolicy' | 'StagedNetworkPolicy' | 'StagedGlobalNetworkPolicy'];
const POLICY: Columns<Policy> = more(
  [NAME, column('TIER', (r) => r.spec.tier || 'default')],
  column('ORDER', (r) => pointer(r.spec.order)),
  column('SELECTOR', (r) => plain(r.spec.selector)),
);
const NETS: Columns<Kinds['NetworkSet' | 'GlobalNetworkSet']> = more(
  [NAME],
  column('NETS', (r) => cut(list(r.spec.nets))),
);

const WORKLOAD: Column<Kinds['WorkloadEndpoint']>[] = [
  column('WORKLOAD', (r) => r.spec.workload || r.spec.pod || ''),
  column('NODE', (r) => plain(r.spec.node)),
  column('NETWORKS', (r) => list(r.spec.ipNetworks)),
  column('INTERFACE', (r) => plain(r.spec.interfaceName)),
];

/** The tables of calicoctl (calico-datastore.md 6.2), and of the kinds it has none for. */
const COLUMNS: { readonly [K in Kind]: Columns<Kinds[K]> } = {
  BGPConfiguration: same(
    NAME,
    column('LOGSEVERITY', (r) => plain(r.spec.logSeverityScreen)),
    column('MESHENABLED', (r) => dash(r.spec.nodeToNodeMeshEnabled)),
    column('ASNUMBER', (r) => dash(r.spec.asNumber)),
  ),
  BGPFilter: same(
    NAME,
    column('NUMEXPORTV4', (r) => String(r.spec.exportV4?.length ?? 0)),
    column('NUMIMPORTV4', (r) => String(r.spec.importV4?.length ?? 0)),
    column('NUMEXPORTV6', (r) => String(r.spec.exportV6?.length ?? 0)),
    column('NUMIMPORTV6', (r) => String(r.spec.importV6?.length ?? 0)),
  ),
  BGPPeer: same(
    NAME,
    column('PEERIP', (r) => plain(r.spec.peerIP)),
    column('NODE', (r) => r.spec.node || r.spec.nodeSelector || '(global)'),
    column('ASN', (r) => String(r.spec.asNumber ?? 0)),
  ),
  BlockAffinity: same(
    NAME,
    column('NODE', (r) => plain(r.spec.node)),
    column('CIDR', (r) => plain(r.spec.cidr)),
    column('STATE', (r) => plain(r.spec.state)),
  ),
  CalicoNodeStatus: more(
    [NAME, column('NODE', (r) => plain(r.spec.node))],
    column('CLASSES', (r) => list(r.spec.classes)),
  ),
  ClusterInformation: same(
    NAME,
    column('CLUSTERGUID', (r) => plain(r.spec.clusterGUID)),
    column('CLUSTERTYPE', (r) => plain(r.spec.clusterType)),
    column('CALICOVERSION', (r) => plain(r.spec.calicoVersion)),
    column('DATASTOREREADY', (r) => pointer(r.spec.datastoreReady)),
  ),
  FelixConfiguration: same(NAME),
  GlobalNetworkPolicy: POLICY,
  GlobalNetworkSet: NETS,
  HostEndpoint: more(
    [NAME, column('NODE', (r) => plain(r.spec.node))],
    column('INTERFACE', (r) => plain(r.spec.interfaceName)),
    column('IPS', (r) => list(r.spec.expectedIPs)),
    column('PROFILES', (r) => list(r.spec.profiles)),
  ),
  IPAMConfiguration: more(
    [
      NAME,
      column('STRICTAFFINITY', (r) => String(r.spec.strictAffinity ?? false)),
      column('AUTOALLOCATEBLOCKS', (r) => String(r.spec.autoAllocateBlocks ?? false)),
    ],
    column('MAXBLOCKSPERHOST', (r) => String(r.spec.maxBlocksPerHost ?? 0)),
  ),
  IPPool: {
    table: [NAME, column('CIDR', (r) => plain(r.spec.cidr)), column('SELECTOR', (r) => plain(r.spec.nodeSelector))],
    wide: [
      NAME,
      column('CIDR', (r) => plain(r.spec.cidr)),
      column('NAT', (r) => String(r.spec.natOutgoing ?? false)),
      column('IPIPMODE', (r) => r.spec.ipipMode || 'Never'),
      column('VXLANMODE', (r) => r.spec.vxlanMode || 'Never'),
      column('DISABLED', (r) => String(r.spec.disabled ?? false)),
      column('DISABLEBGPEXPORT', (r) => String(r.spec.disableBGPExport ?? false)),
      column('SELECTOR', (r) => plain(r.spec.nodeSelector)),
      column('ASSIGNMENTMODE', (r) => plain(r.spec.assignmentMode)),
    ],
  },
  IPReservation: more(
    [NAME],
    column('CIDRS', (r) => cut(list(r.spec.reservedCIDRs))),
  ),
  KubeControllersConfiguration: same(NAME),
  NetworkPolicy: POLICY,
  NetworkSet: NETS,
  Node: more(
    [NAME],
    column('ASN', (r, { clusterAs }) => (r.spec.bgp ? plain(r.spec.bgp.asNumber ?? `(${clusterAs})`) : '')),
    column('IPV4', (r) => plain(r.spec.bgp?.ipv4Address)),
    column('IPV6', (r) => plain(r.spec.bgp?.ipv6Address)),
  ),
  Profile: more(
    [NAME],
    column('LABELS', (r) => map(r.spec.labelsToApply)),
  ),
  StagedGlobalNetworkPolicy: POLICY,
  StagedKubernetesNetworkPolicy: more(
    [NAME],
    column('PODSELECTOR', (r) => podSelector(r.spec.podSelector)),
  ),
  StagedNetworkPolicy: POLICY,
  Tier: same(
    NAME,
    column('ORDER', (r) => pointer(r.spec.order)),
  ),
  WorkloadEndpoint: {
    table: WORKLOAD,
    wide: [
      NAME,
      ...WORKLOAD,
      column('PROFILES', (r) => list(r.spec.profiles)),
      column('NATS', (r) => list(r.spec.ipNATs?.map((nat) => `${nat.externalIP}->${nat.internalIP}`))),
    ],
  },
};

/** A Kubernetes label selector in one line. */
function podSelector(selector: unknown): string {
  const { matchLabels, matchExpressions } = (selector ?? {}) as {
    matchLabels?: Record<string, string>;
    matchExpressions?: { key: string; operator: string; values?: string[] }[];
  };
  const expressions = (matchExpressions ?? []).map(({ key, operator, values }) =>
    `${key} ${operator}${values ? ` (${values.join(' ')})` : ''}`.trim(),
  );
  return [map(matchLabels), ...expressions].filter((part) => part !== '').join(',');
}

const NAMESPACE: Column = { title: 'NAMESPACE', cell: (r) => r.metadata.namespace ?? '' };

/** The columns of a kind; with `namespace`, which namespace each is in comes first. */
export function columnsOf(kind: Kind, width: 'table' | 'wide', namespace: boolean): readonly Column[] {
  const columns = COLUMNS[kind][width] as readonly Column[];
  return namespace ? [NAMESPACE, ...columns] : columns;
}
