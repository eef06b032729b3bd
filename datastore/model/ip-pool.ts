import { familyOf, overlaps, type Prefix, parsePrefix, prefix, prefixLength } from '#core';
import { bool, int, list, maskedNet, maybe, maybeSelector, net, object, opt, text, word } from './fields.ts';
import type { KindInfo, Report } from './kind.ts';
import type { Metadata, Resource } from './meta.ts';

export type EncapMode = 'Never' | 'Always' | 'CrossSubnet';

export interface IPPoolSpec {
  cidr: string;
  blockSize?: number;
  ipipMode?: EncapMode;
  vxlanMode?: EncapMode;
  natOutgoing?: boolean;
  disabled?: boolean;
  disableBGPExport?: boolean;
  nodeSelector?: string;
  namespaceSelector?: string;
  allowedUses?: ('Workload' | 'Tunnel' | 'LoadBalancer')[];
  assignmentMode?: 'Automatic' | 'Manual';
}
export type IPPool = Resource<'IPPool', IPPoolSpec>;

export interface IPReservationSpec {
  reservedCIDRs?: string[];
}
export type IPReservation = Resource<'IPReservation', IPReservationSpec>;

const encap = maybe<EncapMode>(word('Never', 'Always', 'CrossSubnet'));
const FORBIDDEN = [prefix('169.254.0.0/16'), prefix('fe80::/10')];

const encapsulates = (mode: EncapMode | undefined) => Boolean(mode) && mode !== 'Never';

function checkPool({ spec }: { metadata: Metadata; spec: IPPoolSpec }, report: Report): void {
  const cidr = spec.cidr as Prefix;
  const six = familyOf(cidr) === 6;
  const [least, most] = six ? [116, 128] : [20, 32];
  const blockSize = spec.blockSize || (six ? 122 : 26);
  if (blockSize < least || blockSize > most)
    report('spec.blockSize', `must lie in ${least} to ${most} for IPv${six ? 6 : 4}; ${blockSize} does not`);
  else if (!spec.disabled && prefixLength(cidr) > blockSize)
    report('spec.cidr', `is smaller than one block of /${blockSize}`);
  if (six && encapsulates(spec.ipipMode)) report('spec.ipipMode', 'is for IPv4 pools only');
  if (encapsulates(spec.ipipMode) && encapsulates(spec.vxlanMode))
    report('spec.vxlanMode', 'and ipipMode cannot both be on');
  for (const forbidden of FORBIDDEN)
    if (overlaps(forbidden, cidr)) report('spec.cidr', `overlaps ${forbidden}, whose addresses stay on their link`);
  checkUses(spec, report);
}

function checkUses(spec: IPPoolSpec, report: Report): void {
  const uses = spec.allowedUses?.length ? spec.allowedUses : ['Workload', 'Tunnel'];
  if (spec.namespaceSelector && uses.includes('Tunnel'))
    report('spec.namespaceSelector', 'cannot stand with allowed use Tunnel; give allowedUses without it');
  if (!uses.includes('LoadBalancer')) return;
  if (uses.length > 1) report('spec.allowedUses', 'LoadBalancer stands alone');
  if (encapsulates(spec.ipipMode) || encapsulates(spec.vxlanMode))
    report('spec.allowedUses', 'a LoadBalancer pool has no encapsulation');
  if (spec.nodeSelector && spec.nodeSelector !== 'all()')
    report('spec.nodeSelector', 'must be all() in a LoadBalancer pool');
  if (spec.disableBGPExport) report('spec.disableBGPExport', 'must be false in a LoadBalancer pool');
}

function fillPool({ spec }: { spec: IPPoolSpec }): void {
  const canonical = parsePrefix(spec.cidr);
  if (canonical.ok) spec.cidr = canonical.value;
  spec.blockSize ||= spec.cidr.includes(':') ? 122 : 26;
  spec.ipipMode ||= 'Never';
  spec.vxlanMode ||= 'Never';
  spec.nodeSelector ||= 'all()';
  if (!spec.allowedUses?.length) spec.allowedUses = ['Workload', 'Tunnel'];
  spec.assignmentMode ||= 'Automatic';
}

export const ipPool: KindInfo<'IPPool', IPPoolSpec> = {
  kind: 'IPPool',
  plural: 'ippools',
  singular: 'ippool',
  shortNames: ['ipp', 'ipps', 'pool', 'pools'],
  namespaced: false,
  spec: object<IPPoolSpec>({
    cidr: text(maskedNet()),
    blockSize: opt(int(0, 128)),
    ipipMode: encap,
    vxlanMode: encap,
    natOutgoing: bool,
    disabled: bool,
    disableBGPExport: bool,
    nodeSelector: maybeSelector,
    namespaceSelector: maybeSelector,
    allowedUses: list(text<'Workload' | 'Tunnel' | 'LoadBalancer'>(word('Workload', 'Tunnel', 'LoadBalancer'))),
    assignmentMode: maybe<'Automatic' | 'Manual'>(word('Automatic', 'Manual')),
  }),
  check: checkPool,
  fill: fillPool,
  fillOnRead: fillPool,
};

export const ipReservation: KindInfo<'IPReservation', IPReservationSpec> = {
  kind: 'IPReservation',
  plural: 'ipreservations',
  singular: 'ipreservation',
  shortNames: ['reservation', 'reservations'],
  namespaced: false,
  spec: object<IPReservationSpec>({ reservedCIDRs: list(text(net(), maskedNet())) }),
};
