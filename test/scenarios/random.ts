import fc from 'fast-check';
import { type Addr, addr } from '#core';
import type { AnyResource } from '#datastore';
import type { Packet } from '#policy';
import { resource } from './scenario.ts';

/** Random clusters: few names and numbers, so that what is written at random often matches. */

const NAMESPACES = ['red', 'blue'];
const LABELS = ['a', 'b'];
const VALUES = ['', '1', '2'];
const ACCOUNTS = ['sa1', 'sa2'];
const PORTS = [80, 81, 90];
const PORT_NAMES = ['http', 'dns'];
const FOUR = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.1.1', '192.0.2.1'];
const SIX = ['fd00::1', 'fd00::2', 'fd00::3', 'fd00:0:0:1::1', '2001:db8::1'];
/** What endpoints and packets have. */
export const ADDRESSES: Readonly<Record<4 | 6, readonly string[]>> = { 4: FOUR, 6: SIX };
const NETS = {
  4: ['10.0.0.0/24', '10.0.0.2/32', '10.0.0.0/31', '10.0.0.0/8', '0.0.0.0/0', '192.0.2.0/24'],
  6: ['fd00::/64', 'fd00::2/128', 'fd00::/127', 'fd00::/16', '::/0', '2001:db8::/32'],
};
const TIERS = ['default', 'high', 'absent'];
const NODE = 'here';

const pick = <T>(...values: readonly T[]) => fc.constantFrom(...values);
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 2 });
const quoted = pick(...VALUES).map((v) => `'${v}'`);

const term = fc.oneof(
  pick('all()', 'has(a)', '!has(b)'),
  fc.tuple(pick(...LABELS), pick('==', '!=', 'contains', 'starts with', 'ends with'), quoted).map((t) => t.join(' ')),
  fc
    .tuple(pick(...LABELS), pick('in', 'not in'), fc.subarray(VALUES))
    .map(([l, op, vs]) => `${l} ${op} {${vs.map((v) => `'${v}'`).join(', ')}}`),
);
export const selectorText = fc.oneof(
  { weight: 4, arbitrary: term },
  { weight: 1, arbitrary: term.map((t) => `!(${t})`) },
  { weight: 2, arbitrary: fc.tuple(term, pick('&&', '||'), term).map((t) => t.join(' ')) },
  {
    weight: 1,
    arbitrary: pick(
      "projectcalico.org/namespace == 'red'",
      "pcns.a == '1'",
      "projectcalico.org/serviceaccount == 'sa1'",
    ),
  },
);
const labels = fc.dictionary(pick(...LABELS), pick(...VALUES), { maxKeys: 2, noNullPrototype: true });

const port = fc.oneof(pick<number | string>(...PORTS), pick<number | string>('80:85', '1:79', ...PORT_NAMES));
const portsOfRule = maybe(fc.array(port, { minLength: 1, maxLength: 2 }));
const entity = fc.record(
  {
    selector: maybe(selectorText),
    notSelector: maybe(selectorText),
    namespaceSelector: maybe(fc.oneof(selectorText, pick('global()'))),
    serviceAccounts: maybe(fc.record({ names: maybe(fc.subarray(ACCOUNTS)), selector: maybe(term) })),
    ports: portsOfRule,
    notPorts: portsOfRule,
    nets: fc.constant(undefined as string[] | undefined),
    notNets: fc.constant(undefined as string[] | undefined),
  },
  { requiredKeys: [] },
);

interface AnyRule {
  action: string;
  protocol?: unknown;
  notProtocol?: unknown;
  source?: Record<string, unknown>;
  destination?: Record<string, unknown>;
}

/** What validation asks for: ports with a protocol that has them, a type for ICMP alone, nets of one family. */
function valid(
  rule: AnyRule,
  family: 4 | 6,
  nets: readonly (string[] | undefined)[],
  icmp: object | undefined,
): object {
  const hasPorts = [rule.source, rule.destination].some((e) => e?.ports || e?.notPorts);
  const isPortProtocol = ['TCP', 'UDP', 'SCTP', 6, 17].includes(rule.protocol as string);
  const isIcmp = ['ICMP', 'ICMPv6', 1, 58].includes(rule.protocol as string);
  const protocol = hasPorts && !isPortProtocol ? 'TCP' : rule.protocol;
  const side = (e: Record<string, unknown> | undefined, i: number) =>
    e && { ...e, nets: nets[i], notNets: nets[i + 1] };
  return JSON.parse(
    JSON.stringify({
      ...rule,
      protocol,
      ...(isIcmp && !hasPorts && icmp),
      source: side(rule.source, 0),
      destination: side(rule.destination, 2),
      ...(nets.some(Boolean) && { ipVersion: family }),
    }),
  );
}

const icmpCriterion = fc.oneof(
  fc.record({ icmp: fc.record({ type: pick(8, 128, 3), code: maybe(pick(0, 1)) }) }),
  fc.record({ notICMP: fc.record({ type: pick(8, 128), code: maybe(pick(0, 1)) }) }),
);
const rule = fc
  .tuple(
    fc.record(
      {
        action: pick('Allow', 'Deny', 'Pass', 'Log', 'Allow'),
        ipVersion: pick(4, 6),
        protocol: pick<unknown>('TCP', 'UDP', 'ICMP', 'ICMPv6', 6, 17, 47, 'SCTP'),
        notProtocol: pick<unknown>('TCP', 17),
        source: entity,
        destination: entity,
      },
      { requiredKeys: ['action'] },
    ),
    pick<4 | 6>(4, 6),
    fc.array(maybe(fc.subarray([0, 1, 2, 3, 4, 5], { minLength: 1, maxLength: 2 })), { minLength: 4, maxLength: 4 }),
    maybe(icmpCriterion),
  )
  .map(([r, family, nets, icmp]) =>
    valid(
      r as AnyRule,
      family,
      nets.map((is) => is?.map((i) => NETS[family][i])),
      icmp,
    ),
  );
const rules = maybe(fc.array(rule, { maxLength: 3 }));

const policySpec = fc.record(
  {
    tier: pick(...TIERS),
    order: pick<number | null>(1, 2, 2.5, null),
    selector: selectorText,
    serviceAccountSelector: term,
    types: pick(['Ingress'], ['Egress'], ['Ingress', 'Egress'], []),
    ingress: rules,
    egress: rules,
  },
  { requiredKeys: [] },
);
const globalPart = fc.oneof(
  fc.constant({}),
  fc.record({ namespaceSelector: selectorText }),
  fc.constant({ applyOnForward: true }),
  fc.constant({ applyOnForward: true, doNotTrack: true }),
  fc.constant({ applyOnForward: true, preDNAT: true, egress: undefined, types: ['Ingress'] }),
);
const name = pick('p1', 'p2', 'p3', 'p4');
const globalPolicy = fc
  .tuple(name, policySpec, globalPart)
  .map(([id, spec, part]) => resource('GlobalNetworkPolicy', id, { ...spec, ...part }));
const namespacedPolicy = fc
  .tuple(pick(...NAMESPACES), name, policySpec)
  .map(([namespace, id, spec]) => resource('NetworkPolicy', `${namespace}/${id}`, spec));

const endpointPorts = fc.array(
  fc.record({ name: pick(...PORT_NAMES), protocol: pick('TCP', 'UDP'), port: pick(...PORTS) }),
  { maxLength: 2 },
);
const workload = fc
  .record({
    namespace: pick(...NAMESPACES),
    i: fc.integer({ min: 0, max: 3 }),
    j: fc.integer({ min: 0, max: 3 }),
    labels,
    ports: endpointPorts,
    account: pick('', ...ACCOUNTS),
    more: fc.boolean(),
  })
  .map(({ namespace, i, j, labels: own, ports, account, more }) =>
    resource(
      'WorkloadEndpoint',
      `${namespace}/w${i}`,
      {
        orchestrator: 'k8s',
        node: NODE,
        endpoint: 'eth0',
        interfaceName: `cali${namespace}${i}`,
        ipNetworks: [`${FOUR[j]}/32`, ...(more ? [`${SIX[j]}/128`] : [])],
        profiles: [`kns.${namespace}`, ...(account ? [`ksa.${namespace}.${account}`] : [])],
        serviceAccountName: account,
        ports,
      },
      own,
    ),
  );
const host = fc
  .record({
    i: fc.integer({ min: 0, max: 1 }),
    labels,
    expectedIPs: fc.subarray([FOUR[3], SIX[3], FOUR[0]]),
    ports: endpointPorts,
    profiles: fc.subarray(['kns.red', 'other']),
  })
  .map(({ i, labels: own, ...spec }) =>
    resource('HostEndpoint', `h${i}`, { node: NODE, interfaceName: `eth${i}`, ...spec }, own),
  );
const profile = fc
  .record({
    name: pick('kns.red', 'kns.blue', 'ksa.red.sa1', 'other'),
    ingress: rules,
    egress: rules,
    labels: fc.dictionary(pick('a', 'pcns.a', 'pcsa.b'), pick(...VALUES), { noNullPrototype: true }),
  })
  .map(({ name: id, ingress, egress, labels: labelsToApply }) =>
    resource('Profile', id, { ingress, egress, labelsToApply }),
  );
const tier = fc
  .record({
    name: pick('default', 'high'),
    order: pick<number | undefined>(1, 5, undefined),
    defaultAction: pick('Deny', 'Pass'),
  })
  .map(({ name: id, ...spec }) => resource('Tier', id, spec));
const sets = fc
  .record({
    id: pick('s1', 's2', 'red/s1', 'blue/s2'),
    nets: fc.subarray([...NETS[4], ...NETS[6]], { maxLength: 3 }),
    labels,
  })
  .map(({ id, nets, labels: own }) =>
    resource(id.includes('/') ? 'NetworkSet' : 'GlobalNetworkSet', id, { nets }, own),
  );

/** A cluster of random resources on one node; the last of those with one id counts. */
export const cluster: fc.Arbitrary<readonly AnyResource[]> = fc
  .tuple(
    fc.array(fc.oneof(globalPolicy, namespacedPolicy), { minLength: 1, maxLength: 6 }),
    fc.array(workload, { minLength: 1, maxLength: 6 }),
    fc.array(host, { maxLength: 2 }),
    fc.array(profile, { maxLength: 4 }),
    fc.array(tier, { maxLength: 2 }),
    fc.array(sets, { maxLength: 3 }),
  )
  .map((parts) => [
    ...new Map(parts.flat().map((r) => [`${r.kind} ${r.metadata.namespace} ${r.metadata.name}`, r])).values(),
  ]);

const addresses = fc
  .tuple(pick(FOUR, SIX), fc.nat(4), fc.nat(4))
  .map(([family, i, j]): [Addr, Addr] => [addr(family[i]), addr(family[j])]);

export const packet: fc.Arbitrary<Packet> = fc
  .tuple(addresses, pick(6, 17, 1, 58, 47, 132), pick(...PORTS, 8), pick(...PORTS, 8), pick(8, 128, 3), pick(0, 1))
  .map(([[source, destination], protocol, sourcePort, destinationPort, icmpType, icmpCode]) => ({
    source,
    destination,
    protocol,
    ...([6, 17, 132].includes(protocol) && { sourcePort, destinationPort }),
    ...([1, 58].includes(protocol) && { icmpType, icmpCode }),
  }));
