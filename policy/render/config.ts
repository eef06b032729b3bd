import type { Family } from '#core';
import type { PortRange } from '../types.ts';
import type { Marks } from './marks.ts';

/** Names of the VXLAN devices, by family of what they carry (INTERFACES.md). */
export const VXLAN_DEVICES: Record<Family, string> = { 4: 'vxlan.calico', 6: 'vxlan-v6.calico' };

/** A port that stays reachable whatever a host endpoint's policy says. */
export interface Failsafe {
  /** IANA number: 6 or 17. */
  readonly protocol: number;
  readonly port: number;
  readonly net?: string;
}

/** What FelixConfiguration and the command line decide about the chains; resolved to values, without defaults or durations. */
export interface RenderConfig {
  readonly families: readonly Family[];
  /**
   * `tree`: chains that branch on the next character of the interface name (iptables); `map`: one verdict map (nftables), where also sets of addresses
   * alone are of another type than those with networks.
   */
  readonly dispatch: 'tree' | 'map';
  /** Beginnings of workload interface names, without wildcard. */
  readonly interfacePrefixes: readonly string[];
  readonly marks: Marks;
  /** Whether the jumps stand first in the kernel's chains or last. */
  readonly chainInsertMode: 'insert' | 'append';
  readonly filterAllowAction: 'Accept' | 'Return';
  readonly mangleAllowAction: 'Accept' | 'Return';
  readonly filterDenyAction: 'Drop' | 'Reject';
  readonly endpointToHostAction: 'Drop' | 'Return' | 'Accept' | 'Reject';
  /** false: `disableConntrackInvalidCheck`. */
  readonly dropInvalid: boolean;
  /** `Any`: allowSpoofedSourcePrefixes of endpoints count. */
  readonly workloadSourceSpoofing: 'Disabled' | 'Any';
  /** UDP port of the overlay; packets to it are accepted only from known VXLAN hosts when `vxlan` is true. */
  readonly vxlan: boolean;
  readonly vxlanPort: number;
  readonly allowVxlanFromWorkloads: boolean;
  readonly allowIpipFromWorkloads: boolean;
  readonly failsafeInbound: readonly Failsafe[];
  readonly failsafeOutbound: readonly Failsafe[];
  readonly nat: {
    /** SNAT to this address instead of masquerading; IPv4 only, as in Calico. */
    readonly outgoingAddress?: string;
    readonly portRange?: PortRange;
    readonly excludeHosts: boolean;
    readonly outInterface?: string;
    readonly randomFully: boolean;
  };
  readonly floatingIps: boolean;
  readonly serviceLoopPrevention: 'Drop' | 'Reject' | 'Disabled';
  readonly log: {
    /** May hold %t tier, %k kind, %n name, %p namespace/name. */
    readonly prefix: string;
    readonly rate?: { readonly perSecond: number; readonly burst: number };
    /** NFLOG group; undefined: the kernel log. */
    readonly group?: number;
  };
}

/** Facts of the cluster that the NAT and overlay chains need; prefixes in canonical text, both families mixed. */
export interface ClusterFacts {
  /** IP pools, disabled ones too. */
  readonly pools: readonly { readonly cidr: string; readonly natOutgoing: boolean }[];
  /** Addresses of all nodes. */
  readonly hosts: readonly string[];
  /** Addresses from which overlay packets may come. */
  readonly vxlanHosts: readonly string[];
  /** Service CIDRs advertised by BGP, for service loop prevention. */
  readonly serviceCidrs: readonly string[];
}
export const NO_FACTS: ClusterFacts = { pools: [], hosts: [], vxlanHosts: [], serviceCidrs: [] };

/** An interface of the host, for host endpoints that are found by address. */
export interface HostInterface {
  readonly name: string;
  readonly addresses: readonly string[];
}

/** Fields as Calico defaults them; the marks are those of the mask 0xffff0000. */
export const DEFAULT_RENDER_CONFIG: RenderConfig = {
  families: [4, 6],
  dispatch: 'tree',
  interfacePrefixes: ['cali'],
  marks: { accept: 0x10000, pass: 0x20000, scratch0: 0x80000, scratch1: 0x100000 },
  chainInsertMode: 'insert',
  filterAllowAction: 'Accept',
  mangleAllowAction: 'Accept',
  filterDenyAction: 'Drop',
  endpointToHostAction: 'Drop',
  dropInvalid: true,
  workloadSourceSpoofing: 'Disabled',
  vxlan: false,
  vxlanPort: 4789,
  allowVxlanFromWorkloads: false,
  allowIpipFromWorkloads: false,
  failsafeInbound: [
    { protocol: 6, port: 22 },
    { protocol: 17, port: 68 },
    ...[179, 2379, 2380, 5473, 6443, 6666, 6667].map((port) => ({ protocol: 6, port })),
  ],
  failsafeOutbound: [
    { protocol: 17, port: 53 },
    { protocol: 17, port: 67 },
    ...[179, 2379, 2380, 5473, 6443, 6666, 6667].map((port) => ({ protocol: 6, port })),
  ],
  nat: { excludeHosts: false, randomFully: true },
  floatingIps: false,
  serviceLoopPrevention: 'Drop',
  log: { prefix: 'calico-packet' },
};
