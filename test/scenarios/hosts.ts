import type { AnyResource } from '#datastore';
import { DEFAULT_RENDER_CONFIG, type FlowSettings } from '#policy';
import { type Actor, actor, resource, type Scenario, scenario } from './scenario.ts';

/** One node that is an endpoint itself: `out` is behind its eth0, `office` behind its eth1, every workload of the cast runs on it. */
export interface HostScenario extends Scenario {
  readonly settings: FlowSettings;
}

export const HOST_ACTOR: Actor = actor('host', '10.0.0.1', 'fd00::a');
export const HOST_LINKS: Readonly<Record<string, string>> = { out: 'eth0', office: 'eth1' };
/** Addresses of the node's interfaces besides. */
export const LINK_ADDRESSES: Readonly<Record<string, readonly string[]>> = {
  eth0: ['10.1.0.1', 'fd01::1'],
  eth1: ['10.2.0.1', 'fd02::1'],
};

const { failsafeInbound, failsafeOutbound } = DEFAULT_RENDER_CONFIG;
const SETTINGS: FlowSettings = { endpointToHostAction: 'Drop', failsafeInbound, failsafeOutbound };
const hosts = (
  name: string,
  resources: readonly AnyResource[],
  probes: readonly string[],
  settings: Partial<FlowSettings> = {},
): HostScenario => ({ ...scenario(name, resources, probes), settings: { ...SETTINGS, ...settings } });

const endpoint = (id: string, spec: object, labels: Record<string, string> = { host: id }): AnyResource =>
  resource('HostEndpoint', id, { node: 'node-a', ...spec }, labels);
const eth0 = endpoint('h0', { interfaceName: 'eth0' });
const eth1 = endpoint('h1', { interfaceName: 'eth1' });
const any = endpoint('all', { interfaceName: '*' });
const policy = (id: string, spec: object): AnyResource =>
  resource('GlobalNetworkPolicy', id, { selector: 'has(host)', types: ['Ingress'], ...spec });
const tcp = (action: string, port: number) => ({ action, protocol: 'TCP', destination: { ports: [port] } });
const OPEN = { ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] };
const SHUT = { ingress: [{ action: 'Deny' }], egress: [{ action: 'Deny' }], types: ['Ingress', 'Egress'] };
const forward = { applyOnForward: true };
const preDNAT = { ...forward, preDNAT: true };
const untracked = { ...forward, doNotTrack: true };

const NORMAL: readonly HostScenario[] = [
  hosts('no host endpoint', [], ['out > host tcp/80 yes', 'host > out tcp/80 yes', 'out > office udp/9 yes']),
  hosts(
    'a host endpoint without policy is closed but for the failsafe ports, and forwards',
    [eth0],
    [
      'out > host tcp/80 no',
      'out > host udp/80 no',
      'out > host icmp/8 no',
      'out > host tcp/22 yes',
      'out > host udp/22 no',
      'out > host udp/68 yes',
      'out > host tcp/179 yes',
      'host > out tcp/80 no',
      'host > out udp/53 yes',
      'host > out tcp/53 no',
      // Conntrack has no entry for this one.
      'host > out 58 v4 no',
      'host > out tcp/6443 yes',
      'out > web tcp/80 yes',
      'web > out tcp/80 yes',
      'out > office tcp/80 yes',
      'office > host tcp/80 yes',
      'host > office tcp/80 yes',
    ],
  ),
  hosts(
    'a profile opens a host endpoint',
    [resource('Profile', 'open', OPEN), endpoint('h0', { interfaceName: 'eth0', profiles: ['open'] })],
    ['out > host tcp/80 yes', 'host > out icmp/8 yes'],
  ),
  hosts(
    'policy of both directions',
    [eth0, policy('p', { types: ['Ingress', 'Egress'], ingress: [tcp('Allow', 80)], egress: [tcp('Allow', 81)] })],
    ['out > host tcp/80 yes', 'out > host tcp/81 no', 'host > out tcp/81 yes', 'host > out tcp/80 no'],
  ),
  hosts(
    'ingress policy leaves egress to the profiles',
    [eth0, policy('p', { ingress: [tcp('Allow', 80)] })],
    ['out > host tcp/80 yes', 'host > out tcp/80 no'],
  ),
  hosts(
    'failsafe ports are open against a policy that denies',
    [eth0, policy('p', SHUT)],
    ['out > host tcp/22 yes', 'out > host tcp/23 no', 'host > out udp/67 yes', 'host > out udp/66 no'],
  ),
  hosts(
    'no failsafe ports at all',
    [eth0, policy('p', SHUT)],
    ['out > host tcp/22 no', 'host > out udp/53 no', 'out > web tcp/22 yes'],
    { failsafeInbound: [], failsafeOutbound: [] },
  ),
  hosts(
    'own failsafe ports',
    [eth0, policy('p', SHUT)],
    ['out > host tcp/2222 yes', 'out > host tcp/22 no', 'host > out udp/1000 yes', 'host > out tcp/1000 no'],
    { failsafeInbound: [{ protocol: 6, port: 2222 }], failsafeOutbound: [{ protocol: 17, port: 1000 }] },
  ),
  hosts(
    'failsafe ports of one net',
    [eth0, eth1],
    ['out > host tcp/2222 v4 yes', 'office > host tcp/2222 v4 no', 'out > host tcp/2222 v6 no'],
    { failsafeInbound: [{ protocol: 6, port: 2222, net: '192.0.2.0/24' }] },
  ),
  hosts(
    'normal policy is not for what is forwarded',
    [eth0, eth1, policy('p', SHUT)],
    ['out > web tcp/80 yes', 'web > out tcp/80 yes', 'out > office tcp/80 yes', 'out > host tcp/80 no'],
  ),
  hosts(
    'each interface its own policy',
    [eth0, eth1, policy('p', { selector: "host == 'h0'", ...OPEN, types: ['Ingress', 'Egress'] })],
    ['out > host tcp/80 yes', 'office > host tcp/80 no', 'host > out tcp/80 yes', 'host > office tcp/80 no'],
  ),
  hosts(
    'an endpoint found by its address',
    [endpoint('h', { expectedIPs: ['10.2.0.1'] }), policy('p', { ingress: [tcp('Allow', 80)] })],
    ['office > host tcp/80 yes', 'office > host tcp/81 no', 'out > host tcp/81 yes'],
  ),
  hosts(
    'an endpoint found by its address, in whatever spelling',
    [endpoint('h', { expectedIPs: ['FD02:0:0::1'] }), policy('p', { ingress: [tcp('Allow', 80)] })],
    ['office > host tcp/80 yes', 'office > host tcp/81 no', 'out > host tcp/81 yes'],
  ),
  hosts(
    'the endpoint with the interface’s name goes before the one with its address',
    [
      endpoint('h', { expectedIPs: ['10.1.0.1'] }),
      eth0,
      policy('p', { selector: "host == 'h0'", ingress: [tcp('Allow', 80)] }),
    ],
    ['out > host tcp/80 yes', 'out > host tcp/81 no'],
  ),
  hosts(
    'host endpoints are sources in rules',
    [
      endpoint('h0', { interfaceName: 'eth0', expectedIPs: ['192.0.2.10', '2001:db8:bad::10'] }),
      policy('p', { selector: "app == 'web'", ingress: [{ action: 'Allow', source: { selector: 'has(host)' } }] }),
    ],
    ['out > web tcp/80 yes', 'office > web tcp/80 no', 'lb > web tcp/80 no'],
  ),
  hosts(
    'tiers and Pass',
    [
      eth0,
      resource('Tier', 'high', { order: 1, defaultAction: 'Deny' }),
      policy('a', { tier: 'high', ingress: [tcp('Pass', 80), tcp('Allow', 82)] }),
      policy('b', { ingress: [tcp('Allow', 80), tcp('Allow', 81)] }),
    ],
    ['out > host tcp/80 yes', 'out > host tcp/81 no', 'out > host tcp/82 yes'],
  ),
];

const OWN: readonly HostScenario[] = [
  hosts('a workload to its own host: Drop', [], ['web > host tcp/80 no', 'host > web tcp/80 yes']),
  hosts('a workload to its own host: Reject', [], ['web > host tcp/80 no'], { endpointToHostAction: 'Reject' }),
  hosts('a workload to its own host: Accept', [], ['web > host tcp/80 yes', 'web > host icmp/8 yes'], {
    endpointToHostAction: 'Accept',
  }),
  hosts('a workload to its own host: Return', [], ['web > host tcp/80 yes'], { endpointToHostAction: 'Return' }),
  hosts(
    'egress policy comes before',
    [policy('p', { selector: "app == 'web'", types: ['Egress'], egress: [tcp('Allow', 80)] })],
    ['web > host tcp/80 yes', 'web > host tcp/81 no', 'db > host tcp/81 yes'],
    { endpointToHostAction: 'Accept' },
  ),
  hosts(
    'the host reaches its workloads whatever their policy',
    [policy('p', { selector: "app == 'web'", ingress: [] })],
    ['host > web tcp/80 yes', 'lb > web tcp/80 no'],
  ),
  hosts(
    'an endpoint of all interfaces is not for those of workloads',
    [any],
    ['web > host tcp/80 yes', 'host > web tcp/80 yes', 'web > db tcp/80 yes'],
    { endpointToHostAction: 'Return' },
  ),
];

const FORWARD: readonly HostScenario[] = [
  hosts(
    'applyOnForward policy is for what is forwarded, and for the host',
    [eth0, policy('p', { ...forward, ingress: [tcp('Allow', 80)] })],
    [
      'out > web tcp/80 yes',
      'out > web tcp/81 no',
      'out > host tcp/80 yes',
      'out > host tcp/81 no',
      'office > web tcp/81 yes',
    ],
  ),
  hosts(
    'applyOnForward for egress',
    [eth0, policy('p', { ...forward, types: ['Egress'], egress: [tcp('Allow', 80)] })],
    [
      'web > out tcp/80 yes',
      'web > out tcp/81 no',
      'out > web tcp/81 yes',
      'web > office tcp/81 yes',
      'host > out tcp/80 yes',
    ],
  ),
  hosts(
    'between two host interfaces both are asked',
    [
      eth0,
      eth1,
      policy('in', { ...forward, selector: "host == 'h0'", ingress: [tcp('Allow', 80), tcp('Allow', 81)] }),
      policy('out', { ...forward, selector: "host == 'h1'", types: ['Egress'], egress: [tcp('Allow', 80)] }),
    ],
    ['out > office tcp/80 yes', 'out > office tcp/81 no', 'out > office tcp/82 no', 'office > out tcp/82 yes'],
  ),
  hosts(
    'what forward policy allows still meets the workload’s own',
    [
      eth0,
      policy('fwd', { ...forward, ingress: [tcp('Allow', 80), tcp('Allow', 81)] }),
      policy('web', { selector: "app == 'web' && role == 'server'", ingress: [tcp('Allow', 81), tcp('Allow', 82)] }),
    ],
    ['out > web tcp/80 no', 'out > web tcp/81 yes', 'out > web tcp/82 no', 'out > db tcp/80 yes'],
  ),
  hosts(
    'no failsafe for what is forwarded',
    [eth0, policy('p', { ...forward, ingress: [tcp('Allow', 80)] })],
    ['out > web tcp/22 no', 'out > host tcp/22 yes'],
  ),
  hosts(
    'a forward tier whose default is Pass drops nothing',
    [
      eth0,
      resource('Tier', 'default', { order: 1, defaultAction: 'Pass' }),
      policy('p', { ...forward, ingress: [tcp('Deny', 81)] }),
    ],
    ['out > web tcp/80 yes', 'out > web tcp/81 no', 'out > office tcp/80 yes'],
  ),
  hosts(
    'all interfaces: forwarding',
    [any, policy('p', { ...forward, ingress: [tcp('Allow', 80)] })],
    [
      'out > web tcp/80 yes',
      'out > web tcp/81 no',
      'office > web tcp/81 no',
      'out > host tcp/80 yes',
      'lb > web tcp/81 yes',
    ],
  ),
];

const PRE_DNAT: readonly HostScenario[] = [
  hosts(
    'preDNAT denies before anything else',
    [eth0, policy('p', { ...preDNAT, ingress: [tcp('Deny', 80)] }), policy('q', { order: 1, ...OPEN })],
    [
      'out > host tcp/80 no',
      'out > host tcp/81 yes',
      'out > web tcp/80 no',
      'out > web tcp/81 yes',
      'office > web tcp/80 yes',
    ],
  ),
  hosts(
    'preDNAT allows without asking normal policy',
    [eth0, policy('p', { ...preDNAT, ingress: [tcp('Allow', 80)] })],
    ['out > host tcp/80 yes', 'out > host tcp/81 no', 'out > web tcp/81 yes'],
  ),
  hosts(
    'preDNAT allows without asking forward policy, but not without the workload’s',
    [
      eth0,
      policy('p', { ...preDNAT, ingress: [tcp('Allow', 80)] }),
      policy('q', { ...forward, ingress: [tcp('Allow', 81)] }),
      policy('db', { selector: "app == 'db'", ingress: [] }),
    ],
    ['out > web tcp/80 yes', 'out > web tcp/81 yes', 'out > web tcp/82 no', 'out > db tcp/80 no'],
  ),
  hosts(
    'preDNAT allows, and forward policy of the way out is still asked',
    [
      eth0,
      eth1,
      policy('p', { ...preDNAT, ingress: [tcp('Allow', 80), tcp('Allow', 81)] }),
      policy('q', { ...forward, types: ['Egress'], egress: [tcp('Allow', 81)] }),
    ],
    ['out > office tcp/80 no', 'out > office tcp/81 yes'],
  ),
  hosts(
    'preDNAT leaves the failsafe ports open',
    [eth0, policy('p', { ...preDNAT, ingress: [{ action: 'Deny' }] })],
    ['out > host tcp/22 yes', 'out > web tcp/22 yes', 'out > web tcp/23 no'],
  ),
  hosts(
    'preDNAT of all interfaces',
    [any, policy('p', { ...preDNAT, ingress: [tcp('Deny', 80)] })],
    ['out > web tcp/80 no', 'office > web tcp/80 no', 'lb > web tcp/80 yes', 'out > web tcp/81 yes'],
  ),
];

const UNTRACKED: readonly HostScenario[] = [
  hosts(
    'untracked policy allows without asking anybody else',
    [eth0, policy('p', { ...untracked, ingress: [tcp('Allow', 80)] })],
    ['out > host tcp/80 yes', 'out > host tcp/81 no', 'office > host tcp/81 yes'],
  ),
  hosts(
    'untracked policy denies before normal policy allows',
    [
      eth0,
      policy('p', {
        ...untracked,
        types: ['Ingress', 'Egress'],
        ingress: [tcp('Deny', 80)],
        egress: [tcp('Deny', 81)],
      }),
      policy('q', { ...OPEN, types: ['Ingress', 'Egress'] }),
    ],
    ['out > host tcp/80 no', 'out > host tcp/81 yes', 'host > out tcp/81 no', 'host > out tcp/80 yes'],
  ),
  hosts(
    'untracked policy of both directions',
    [eth0, policy('p', { ...untracked, ...OPEN, types: ['Ingress', 'Egress'] })],
    ['out > host udp/9 yes', 'host > out udp/9 yes', 'out > web tcp/80 yes'],
  ),
  hosts(
    'untracked policy leaves the failsafe ports open',
    [eth0, policy('p', { ...untracked, ...SHUT })],
    ['out > host tcp/22 yes', 'host > out udp/53 yes', 'out > host tcp/23 no', 'host > out tcp/53 no'],
  ),
  hosts(
    'untracked policy denies what would be forwarded, too',
    [eth0, policy('p', { ...untracked, ingress: [tcp('Deny', 80)] })],
    ['out > web tcp/80 no', 'out > web tcp/81 yes', 'office > web tcp/80 yes'],
  ),
  hosts(
    'an untracked tier has no default',
    [
      eth0,
      resource('Tier', 'high', { order: 1, defaultAction: 'Deny' }),
      policy('p', { ...untracked, tier: 'high', ingress: [tcp('Pass', 80), tcp('Deny', 81)] }),
      policy('q', { ingress: [{ action: 'Allow' }] }),
    ],
    ['out > host tcp/80 yes', 'out > host tcp/81 no', 'out > host tcp/82 yes'],
  ),
  hosts(
    'all interfaces have no untracked policy',
    [any, policy('p', { ...untracked, ingress: [tcp('Allow', 80)] }), policy('q', { ingress: [tcp('Allow', 81)] })],
    ['out > host tcp/80 no', 'out > host tcp/81 yes'],
  ),
  hosts(
    'untracked, preDNAT and normal policy in this order',
    [
      eth0,
      policy('raw', { ...untracked, ingress: [tcp('Allow', 1), tcp('Deny', 2)] }),
      policy('pre', { ...preDNAT, ingress: [tcp('Deny', 1), tcp('Allow', 2), tcp('Allow', 3), tcp('Deny', 4)] }),
      policy('post', { ingress: [tcp('Deny', 1), tcp('Allow', 2), tcp('Deny', 3), tcp('Allow', 4), tcp('Allow', 5)] }),
    ],
    [
      'out > host tcp/1 yes',
      'out > host tcp/2 no',
      'out > host tcp/3 yes',
      'out > host tcp/4 no',
      'out > host tcp/5 yes',
      'out > host tcp/6 no',
    ],
  ),
];

const ANY: readonly HostScenario[] = [
  hosts(
    'all interfaces are closed by one endpoint',
    [any],
    [
      'out > host tcp/80 no',
      'office > host tcp/80 no',
      'host > office tcp/80 no',
      'office > host tcp/22 yes',
      'out > web tcp/80 yes',
    ],
  ),
  hosts(
    'an endpoint of its own goes before that of all interfaces',
    [any, eth0, policy('p', { selector: "host == 'all'", ingress: [tcp('Allow', 80)] })],
    ['office > host tcp/80 yes', 'out > host tcp/80 no', 'office > host tcp/81 no'],
  ),
  hosts(
    'egress of all interfaces',
    [any, policy('p', { types: ['Egress'], egress: [tcp('Allow', 80)] })],
    ['host > out tcp/80 yes', 'host > office tcp/80 yes', 'host > out tcp/81 no', 'out > host tcp/80 no'],
  ),
];

export const HOST_SCENARIOS: readonly HostScenario[] = [
  ...NORMAL,
  ...OWN,
  ...FORWARD,
  ...PRE_DNAT,
  ...UNTRACKED,
  ...ANY,
];
