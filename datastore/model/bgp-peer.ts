import { type Addr, type Family, familyOf, parseAddr } from '#core';
import {
  address,
  asNumber,
  bool,
  type Check,
  duration,
  int,
  list,
  maybe,
  maybeSelector,
  object,
  opt,
  resourceName,
  shown,
  text,
  word,
  zeroOrAsNumber,
} from './fields.ts';
import type { KindInfo, Report } from './kind.ts';
import type { Metadata, Resource } from './meta.ts';
import type { AsNumber } from './node.ts';
import { type SecretKeyRef, secretKeyRef } from './secret.ts';

export interface BGPPeerSpec {
  node?: string;
  nodeSelector?: string;
  peerIP?: string;
  asNumber?: AsNumber;
  peerSelector?: string;
  localWorkloadSelector?: string;
  localASNumber?: AsNumber;
  keepOriginalNextHop?: boolean;
  nextHopMode?: 'Auto' | 'Self' | 'Keep';
  password?: SecretKeyRef;
  sourceAddress?: 'UseNodeIP' | 'None';
  maxRestartTime?: string;
  keepaliveTime?: string;
  numAllowedLocalASNumbers?: number;
  ttlSecurity?: number;
  reachableBy?: string;
  filters?: string[];
  reversePeering?: 'Auto' | 'Manual';
}
export type BGPPeer = Resource<'BGPPeer', BGPPeerSpec>;

/** Reads `spec.peerIP`: an address, `v4:port` or `[v6]:port`; the port is null when not given. */
export function parsePeerAddress(text: string): { address: Addr; port: number | null } | null {
  const withPort = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(text);
  const bare = parseAddr(withPort ? (withPort[1] ?? withPort[2]) : text);
  if (!bare.ok) return null;
  if (!withPort) return { address: bare.value, port: null };
  const port = Number(withPort[3]);
  return port >= 1 && port <= 65535 ? { address: bare.value, port } : null;
}

const peerAddress: Check = (value) =>
  parsePeerAddress(value)
    ? null
    : `must be an address, 10.0.0.1:179 or [2001:db8::1]:179, port 1 to 65535; '${shown(value)}' is not`;

function check({ spec }: { metadata: Metadata; spec: BGPPeerSpec }, report: Report): void {
  if (spec.node && spec.nodeSelector) report('spec.nodeSelector', 'and node cannot both be set');
  if (spec.peerIP && spec.peerSelector) report('spec.peerSelector', 'and peerIP cannot both be set');
  if (spec.peerSelector && spec.asNumber && Number(spec.asNumber) !== 0)
    report('spec.asNumber', 'must be absent with peerSelector; the AS numbers are those of the nodes');
  if (spec.keepOriginalNextHop && spec.nextHopMode)
    report.limit('spec.nextHopMode', 'and keepOriginalNextHop cannot both be set');
  checkReachableBy(spec, report);
  if (!spec.localWorkloadSelector) return;
  for (const field of ['peerIP', 'peerSelector'] as const)
    if (spec[field]) report(`spec.${field}`, 'and localWorkloadSelector cannot both be set');
  if (!spec.asNumber) report('spec.asNumber', 'is required with localWorkloadSelector');
}

function checkReachableBy(spec: BGPPeerSpec, report: Report): void {
  if (!spec.reachableBy) return;
  const peer = spec.peerIP ? parsePeerAddress(spec.peerIP) : null;
  if (!peer) {
    report('spec.reachableBy', 'needs peerIP');
    return;
  }
  const gateway: Family = familyOf(spec.reachableBy as Addr);
  if (gateway !== familyOf(peer.address)) report('spec.reachableBy', `is IPv${gateway}, but peerIP is not`);
}

export const bgpPeer: KindInfo<'BGPPeer', BGPPeerSpec> = {
  kind: 'BGPPeer',
  plural: 'bgppeers',
  singular: 'bgppeer',
  shortNames: ['bgpp', 'bgpps', 'bp', 'bps'],
  namespaced: false,
  spec: object<BGPPeerSpec>({
    node: maybe(resourceName),
    nodeSelector: maybeSelector,
    peerIP: maybe(peerAddress),
    asNumber: zeroOrAsNumber,
    peerSelector: maybeSelector,
    localWorkloadSelector: maybeSelector,
    localASNumber: asNumber,
    keepOriginalNextHop: bool,
    nextHopMode: maybe(word('Auto', 'Self', 'Keep')),
    password: secretKeyRef,
    sourceAddress: maybe(word('UseNodeIP', 'None')),
    maxRestartTime: maybe(duration),
    keepaliveTime: maybe(duration),
    numAllowedLocalASNumbers: opt(int(0, 2147483647)),
    ttlSecurity: opt(int(0, 255)),
    reachableBy: maybe(address()),
    filters: list(text(resourceName)),
    reversePeering: maybe(word('Auto', 'Manual')),
  }),
  check,
};
