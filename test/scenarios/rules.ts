import { resource, type Scenario, scenario } from './scenario.ts';

/** Rules of a policy on web's ingress (`in`) or egress (`out`), and what passes. */
function rules(name: string, direction: 'in' | 'out', list: readonly object[], probes: readonly string[]): Scenario {
  const spec = direction === 'in' ? { types: ['Ingress'], ingress: list } : { types: ['Egress'], egress: list };
  const policy = resource('GlobalNetworkPolicy', 'p', { selector: "app == 'web' && role == 'server'", ...spec });
  return scenario(name, [policy], probes);
}

const allow = (rule: object) => ({ action: 'Allow', ...rule });
const ports = (...list: (number | string)[]) => ({ destination: { ports: list } });

const PROTOCOLS: readonly Scenario[] = [
  rules('no rule allows nothing', 'in', [], ['lb > web tcp/80 no', 'lb > web udp/80 no', 'lb > web icmp/8 no']),
  rules(
    'an empty rule allows everything',
    'in',
    [allow({})],
    ['lb > web tcp/80 yes', 'out > web 47 yes', 'lb > web icmp/8 yes'],
  ),
  rules('TCP', 'in', [allow({ protocol: 'TCP' })], ['lb > web tcp/80 yes', 'lb > web udp/80 no', 'lb > web icmp/8 no']),
  rules('UDP', 'in', [allow({ protocol: 'UDP' })], ['lb > web tcp/80 no', 'lb > web udp/80 yes']),
  rules('SCTP', 'in', [allow({ protocol: 'SCTP' })], ['lb > web sctp/80 yes', 'lb > web tcp/80 no']),
  rules('UDPLite', 'in', [allow({ protocol: 'UDPLite' })], ['lb > web udplite/80 yes', 'lb > web udp/80 no']),
  rules('a protocol by number', 'in', [allow({ protocol: 6 })], ['lb > web tcp/80 yes', 'lb > web udp/80 no']),
  rules('a protocol without ports', 'in', [allow({ protocol: 47 })], ['lb > web 47 yes', 'lb > web 50 no']),
  rules(
    'not TCP',
    'in',
    [allow({ notProtocol: 'TCP' })],
    ['lb > web tcp/80 no', 'lb > web udp/80 yes', 'lb > web icmp/8 yes'],
  ),
  rules('not a protocol by number', 'in', [allow({ notProtocol: 17 })], ['lb > web udp/53 no', 'lb > web tcp/53 yes']),
  rules('IPv4 only', 'in', [allow({ ipVersion: 4 })], ['lb > web tcp/80 v4 yes', 'lb > web tcp/80 v6 no']),
  rules('IPv6 only', 'in', [allow({ ipVersion: 6 })], ['lb > web tcp/80 v4 no', 'lb > web tcp/80 v6 yes']),
  rules(
    'IPv6 TCP denied',
    'in',
    [{ action: 'Deny', ipVersion: 6, protocol: 'TCP' }, allow({})],
    ['lb > web tcp/80 v4 yes', 'lb > web tcp/80 v6 no', 'lb > web udp/80 yes'],
  ),
];

const PORTS: readonly Scenario[] = [
  rules(
    'one port',
    'in',
    [allow({ protocol: 'TCP', ...ports(80) })],
    ['lb > web tcp/80 yes', 'lb > web tcp/81 no', 'lb > web udp/80 no'],
  ),
  rules(
    'several ports',
    'in',
    [allow({ protocol: 'TCP', ...ports(80, 443) })],
    ['lb > web tcp/80 yes', 'lb > web tcp/443 yes', 'lb > web tcp/442 no'],
  ),
  rules(
    'a range',
    'in',
    [allow({ protocol: 'UDP', ...ports('100:110') })],
    ['lb > web udp/99 no', 'lb > web udp/100 yes', 'lb > web udp/110 yes', 'lb > web udp/111 no'],
  ),
  rules(
    'a range of one',
    'in',
    [allow({ protocol: 'TCP', ...ports('80:80') })],
    ['lb > web tcp/80 yes', 'lb > web tcp/81 no'],
  ),
  rules(
    'a port as text',
    'in',
    [allow({ protocol: 'TCP', ...ports('80') })],
    ['lb > web tcp/80 yes', 'lb > web tcp/8 no'],
  ),
  rules(
    'ports and ranges',
    'in',
    [allow({ protocol: 'TCP', ...ports(22, '80:90', 443) })],
    ['lb > web tcp/22 yes', 'lb > web tcp/85 yes', 'lb > web tcp/91 no'],
  ),
  rules(
    'more ports than one multiport match holds',
    'in',
    [allow({ protocol: 'TCP', ...ports(...Array.from({ length: 20 }, (_, i) => 1000 + 2 * i)) })],
    ['lb > web tcp/1000 yes', 'lb > web tcp/1038 yes', 'lb > web tcp/1001 no', 'lb > web tcp/1040 no'],
  ),
  rules(
    'many ranges',
    'in',
    [allow({ protocol: 'TCP', ...ports(...Array.from({ length: 10 }, (_, i) => `${i}00:${i}10`)) })],
    ['lb > web tcp/205 yes', 'lb > web tcp/910 yes', 'lb > web tcp/911 no'],
  ),
  rules(
    'the whole range',
    'in',
    [allow({ protocol: 'TCP', ...ports('0:65535') })],
    ['lb > web tcp/1 yes', 'lb > web tcp/65535 yes', 'lb > web udp/1 no'],
  ),
  rules(
    'a source port',
    'in',
    [allow({ protocol: 'TCP', source: { ports: [1234] } })],
    ['lb:1234 > web tcp/80 yes', 'lb:1235 > web tcp/80 no'],
  ),
  rules(
    'source and destination ports',
    'in',
    [allow({ protocol: 'TCP', source: { ports: ['1000:2000'] }, ...ports(80) })],
    ['lb:1234 > web tcp/80 yes', 'lb:2001 > web tcp/80 no', 'lb:1234 > web tcp/81 no'],
  ),
  rules(
    'not a port',
    'in',
    [allow({ protocol: 'TCP', destination: { notPorts: [80] } })],
    ['lb > web tcp/80 no', 'lb > web tcp/81 yes', 'lb > web udp/81 no'],
  ),
  rules(
    'not several ports',
    'in',
    [allow({ protocol: 'TCP', destination: { notPorts: [80, '90:99'] } })],
    ['lb > web tcp/80 no', 'lb > web tcp/95 no', 'lb > web tcp/89 yes'],
  ),
  rules(
    'ports but not some of them',
    'in',
    [allow({ protocol: 'TCP', destination: { ports: ['1:100'], notPorts: [80] } })],
    ['lb > web tcp/79 yes', 'lb > web tcp/80 no', 'lb > web tcp/101 no'],
  ),
  rules(
    'not a source port',
    'in',
    [allow({ protocol: 'UDP', source: { notPorts: ['1:1023'] } })],
    ['lb:1024 > web udp/80 yes', 'lb:1000 > web udp/80 no'],
  ),
  rules(
    'egress ports',
    'out',
    [allow({ protocol: 'TCP', ...ports(5432) })],
    ['web > db tcp/5432 yes', 'web > db tcp/80 no', 'web > out tcp/5432 yes'],
  ),
];

const NAMED: readonly Scenario[] = [
  rules(
    'a named port',
    'in',
    [allow({ protocol: 'TCP', ...ports('http') })],
    ['lb > web tcp/8080 yes', 'lb > web tcp/80 no', 'lb > web udp/8080 no'],
  ),
  rules(
    'a named port that nobody has',
    'in',
    [allow({ protocol: 'TCP', ...ports('nothing') })],
    ['lb > web tcp/8080 no', 'lb > web tcp/80 no'],
  ),
  rules(
    'named and numeric ports',
    'in',
    [allow({ protocol: 'TCP', ...ports('http', 22) })],
    ['lb > web tcp/8080 yes', 'lb > web tcp/22 yes', 'lb > web tcp/23 no'],
  ),
  rules(
    'a named port with the protocol of one of two',
    'in',
    [allow({ protocol: 'UDP', ...ports('dns') })],
    ['lb > web udp/53 yes', 'lb > web tcp/53 no'],
  ),
  rules(
    'a named port of any protocol',
    'in',
    [allow({ ...ports('dns') })],
    ['lb > web udp/53 yes', 'lb > web tcp/53 yes', 'lb > web sctp/53 no', 'lb > web udp/54 no'],
  ),
  rules(
    'not a named port',
    'in',
    [allow({ protocol: 'TCP', destination: { notPorts: ['http'] } })],
    ['lb > web tcp/8080 no', 'lb > web tcp/80 yes'],
  ),
  rules(
    'the same name is another port elsewhere',
    'out',
    [allow({ protocol: 'TCP', ...ports('http') })],
    [
      'web > api tcp/80 yes',
      'web > api tcp/8080 no',
      'web > dev tcp/8080 yes',
      'web > dev tcp/80 no',
      'web > db tcp/80 no',
      'web > out tcp/80 no',
    ],
  ),
  rules(
    'a named port of those selected',
    'out',
    [allow({ protocol: 'TCP', destination: { selector: "app == 'api'", ports: ['http'] } })],
    ['web > api tcp/80 yes', 'web > dev tcp/8080 no'],
  ),
  rules(
    'a named or numeric port of those selected',
    'out',
    [allow({ protocol: 'TCP', destination: { selector: "role == 'client'", ports: ['http', 9] } })],
    ['web > api tcp/80 yes', 'web > lb tcp/9 yes', 'web > lb tcp/80 no', 'web > db tcp/9 no'],
  ),
  rules(
    'a named port on the source side',
    'in',
    [allow({ protocol: 'TCP', source: { ports: ['http'] } })],
    ['api:80 > web tcp/7 yes', 'api:81 > web tcp/7 no', 'lb:80 > web tcp/7 no'],
  ),
  rules(
    'not a named port of those selected',
    'out',
    [allow({ protocol: 'TCP', destination: { selector: 'has(role)', notPorts: ['http'] } })],
    ['web > api tcp/80 no', 'web > api tcp/81 yes', 'web > dev tcp/80 yes', 'web > probe tcp/81 no'],
  ),
];

const V4 = ['192.0.2.0/24'];
const V6 = ['2001:db8:bad::/64'];
const NETS: readonly Scenario[] = [
  rules(
    'nets of IPv4 are for IPv4',
    'in',
    [allow({ source: { nets: V4 } })],
    ['out > web tcp/80 v4 yes', 'out > web tcp/80 v6 no', 'office > web tcp/80 no'],
  ),
  rules(
    'nets of IPv6 are for IPv6',
    'in',
    [allow({ source: { nets: V6 } })],
    ['out > web tcp/80 v6 yes', 'out > web tcp/80 v4 no', 'office > web tcp/80 no'],
  ),
  rules(
    'several nets',
    'in',
    [allow({ source: { nets: ['192.0.2.10/32', '198.51.100.0/25'] } })],
    ['out > web tcp/80 v4 yes', 'office > web tcp/80 v4 yes', 'lb > web tcp/80 v4 no'],
  ),
  rules(
    'nets of both families',
    'in',
    [allow({ source: { nets: [...V4, ...V6] } })],
    ['out > web tcp/80 yes', 'office > web tcp/80 no'],
  ),
  rules(
    'every address',
    'in',
    [allow({ source: { nets: ['0.0.0.0/0'] } })],
    ['out > web tcp/80 v4 yes', 'lb > web tcp/80 v4 yes', 'lb > web tcp/80 v6 no'],
  ),
  rules(
    'every IPv6 address',
    'in',
    [allow({ source: { nets: ['::/0'] } })],
    ['out > web tcp/80 v6 yes', 'out > web tcp/80 v4 no'],
  ),
  rules(
    'not a net',
    'in',
    [allow({ source: { notNets: V4 } })],
    ['out > web tcp/80 v4 no', 'office > web tcp/80 v4 yes', 'office > web tcp/80 v6 no'],
  ),
  rules(
    'not an IPv6 net',
    'in',
    [allow({ source: { notNets: V6 } })],
    ['out > web tcp/80 v6 no', 'office > web tcp/80 v6 yes', 'office > web tcp/80 v4 no'],
  ),
  rules(
    'not several nets',
    'in',
    [allow({ source: { notNets: ['192.0.2.0/24', '198.51.100.0/24'] } })],
    ['out > web tcp/80 v4 no', 'office > web tcp/80 v4 no', 'lb > web tcp/80 v4 yes'],
  ),
  rules(
    'nets but not part of them',
    'in',
    [allow({ source: { nets: ['192.0.0.0/8'], notNets: ['192.0.2.10/32'] } })],
    ['out > web tcp/80 v4 no', 'office > web tcp/80 v4 no'],
  ),
  rules('a net and its complement', 'in', [allow({ source: { nets: V4, notNets: V4 } })], ['out > web tcp/80 no']),
  rules(
    'a net that is not every address twice',
    'in',
    [allow({ source: { nets: ['0.0.0.0/0'], notNets: ['198.51.100.7/32'] } })],
    ['office > web tcp/80 v4 no', 'out > web tcp/80 v4 yes'],
  ),
  rules(
    'destination nets',
    'out',
    [allow({ destination: { nets: V4 } })],
    ['web > out tcp/80 v4 yes', 'web > office tcp/80 no', 'web > db tcp/80 no'],
  ),
  rules(
    'not destination nets',
    'out',
    [
      { action: 'Deny', destination: { nets: V6 } },
      allow({ ipVersion: 6, destination: { notNets: ['2001:db8:ff::/48'] } }),
    ],
    ['web > out tcp/80 v6 no', 'web > office tcp/80 v6 no', 'web > db tcp/80 v6 yes', 'web > db tcp/80 v4 no'],
  ),
  rules(
    'nets on both sides',
    'in',
    [allow({ source: { nets: V4 }, destination: { nets: ['10.65.0.1/32'] } })],
    ['out > web tcp/80 v4 yes', 'out > web tcp/80 v6 no', 'lb > web tcp/80 v4 no'],
  ),
  rules(
    'a net and a selector',
    'in',
    [allow({ source: { nets: ['10.65.0.0/30'], selector: "role == 'client'" } })],
    ['lb > web tcp/80 v4 yes', 'api > web tcp/80 v4 no', 'db > web tcp/80 v4 no'],
  ),
  rules(
    'a net of one address',
    'in',
    [allow({ source: { nets: ['10.65.0.3/32'] } })],
    ['lb > web tcp/80 v4 yes', 'api > web tcp/80 v4 no'],
  ),
];

const ICMP: readonly Scenario[] = [
  rules(
    'ICMP',
    'in',
    [allow({ protocol: 'ICMP' })],
    ['lb > web icmp/8 v4 yes', 'lb > web icmp/3.1 v4 yes', 'lb > web icmp/8 v6 no', 'lb > web tcp/80 no'],
  ),
  rules('ICMPv6', 'in', [allow({ protocol: 'ICMPv6' })], ['lb > web icmp/8 v6 yes', 'lb > web icmp/8 v4 no']),
  rules(
    'an ICMP type',
    'in',
    [allow({ protocol: 'ICMP', icmp: { type: 8 } })],
    ['lb > web icmp/8 v4 yes', 'lb > web icmp/13 v4 no'],
  ),
  rules(
    'an ICMP type and code',
    'in',
    [allow({ protocol: 'ICMP', icmp: { type: 3, code: 4 } })],
    ['lb > web icmp/3.4 v4 yes', 'lb > web icmp/3.1 v4 no', 'lb > web icmp/8 v4 no'],
  ),
  rules(
    'ICMP by number',
    'in',
    [allow({ protocol: 1, icmp: { type: 8 } })],
    ['lb > web icmp/8 v4 yes', 'lb > web icmp/8 v6 no'],
  ),
  rules(
    'an ICMPv6 type',
    'in',
    [allow({ protocol: 'ICMPv6', icmp: { type: 128 } })],
    ['lb > web icmp/8 v6 yes', 'lb > web icmp/1 v6 no'],
  ),
  rules(
    'an ICMPv6 type and code',
    'in',
    [allow({ protocol: 58, icmp: { type: 1, code: 3 } })],
    ['lb > web icmp/1.3 v6 yes', 'lb > web icmp/1.4 v6 no'],
  ),
  rules(
    'an empty ICMP criterion',
    'in',
    [allow({ protocol: 'ICMP', icmp: {} })],
    ['lb > web icmp/8 v4 yes', 'lb > web icmp/13 v4 yes'],
  ),
  rules(
    'not an ICMP type',
    'in',
    [allow({ protocol: 'ICMP', notICMP: { type: 8 } })],
    ['lb > web icmp/8 v4 no', 'lb > web icmp/13 v4 yes', 'lb > web tcp/80 no'],
  ),
  rules(
    'not an ICMP type and code',
    'in',
    [allow({ protocol: 'ICMPv6', notICMP: { type: 1, code: 3 } })],
    ['lb > web icmp/1.3 v6 no', 'lb > web icmp/1.4 v6 yes', 'lb > web icmp/8 v6 yes'],
  ),
  rules(
    'pings of both families',
    'in',
    [allow({ protocol: 'ICMP', icmp: { type: 8 } }), allow({ protocol: 'ICMPv6', icmp: { type: 128 } })],
    ['lb > web icmp/8 yes', 'lb > web icmp/1.3 no'],
  ),
  rules(
    'no ping, everything else',
    'in',
    [{ action: 'Deny', protocol: 'ICMP', icmp: { type: 8 } }, allow({})],
    ['lb > web icmp/8 v4 no', 'lb > web icmp/8 v6 yes', 'lb > web tcp/80 yes'],
  ),
  rules(
    'outgoing pings',
    'out',
    [allow({ protocol: 'ICMP', icmp: { type: 8, code: 0 } })],
    ['web > out icmp/8 v4 yes', 'web > out icmp/8.1 v4 no', 'web > out tcp/80 no'],
  ),
];

const ACTIONS: readonly Scenario[] = [
  rules(
    'the first rule that matches decides: Deny',
    'in',
    [{ action: 'Deny', protocol: 'TCP' }, allow({})],
    ['lb > web tcp/80 no', 'lb > web udp/80 yes'],
  ),
  rules(
    'the first rule that matches decides: Allow',
    'in',
    [allow({ protocol: 'TCP' }), { action: 'Deny' }],
    ['lb > web tcp/80 yes', 'lb > web udp/80 no'],
  ),
  rules(
    'Log goes on',
    'in',
    [{ action: 'Log' }, allow({ protocol: 'TCP' }), { action: 'Log' }],
    ['lb > web tcp/80 yes', 'lb > web udp/80 no'],
  ),
  rules(
    'Pass in the last tier leads to the profiles',
    'in',
    [{ action: 'Pass', protocol: 'TCP' }],
    ['lb > web tcp/80 yes', 'lb > web udp/80 no'],
  ),
  rules(
    'Deny before Pass',
    'in',
    [{ action: 'Deny', source: { selector: "app == 'lb'" } }, { action: 'Pass' }],
    ['lb > web tcp/80 no', 'api > web tcp/80 yes'],
  ),
  rules(
    'every criterion must hold',
    'in',
    [allow({ protocol: 'TCP', source: { selector: "app == 'lb'" }, ...ports(80) })],
    ['lb > web tcp/80 yes', 'api > web tcp/80 no', 'lb > web tcp/81 no', 'lb > web udp/80 no'],
  ),
  rules(
    'several rules are alternatives',
    'in',
    [
      allow({ protocol: 'TCP', source: { selector: "app == 'lb'" } }),
      allow({ protocol: 'UDP', source: { selector: "app == 'api'" } }),
    ],
    ['lb > web tcp/80 yes', 'api > web udp/80 yes', 'lb > web udp/80 no', 'api > web tcp/80 no'],
  ),
  rules(
    'a rule about HTTP allows nothing',
    'in',
    [allow({ protocol: 'TCP', http: { methods: ['GET'] } })],
    ['lb > web tcp/80 no'],
  ),
  rules(
    'annotations change nothing',
    'in',
    [allow({ protocol: 'TCP', metadata: { annotations: { why: 'a "reason"' } } })],
    ['lb > web tcp/80 yes', 'lb > web udp/80 no'],
  ),
  rules('egress does not touch ingress', 'out', [], ['web > db tcp/80 no', 'lb > web tcp/80 yes']),
  rules(
    'egress by selector and port',
    'out',
    [
      allow({ protocol: 'TCP', destination: { selector: "app == 'db'", ports: ['sql'] } }),
      allow({ protocol: 'UDP', ...ports(53) }),
    ],
    ['web > db tcp/5432 yes', 'web > db tcp/5433 no', 'web > out udp/53 yes', 'web > out tcp/53 no'],
  ),
  rules(
    'a source selector on egress is about oneself',
    'out',
    [allow({ source: { selector: "app == 'web'" } })],
    ['web > db tcp/80 yes'],
  ),
  rules(
    'a destination selector on ingress is about oneself',
    'in',
    [allow({ destination: { selector: "app == 'db'" } })],
    ['lb > web tcp/80 no'],
  ),
];

export const RULE_SCENARIOS: readonly Scenario[] = [...PROTOCOLS, ...PORTS, ...NAMED, ...NETS, ...ICMP, ...ACTIONS];
