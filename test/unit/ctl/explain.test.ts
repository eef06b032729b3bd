import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Store } from '#datastore';
import { apply, ctl, memoryStore } from './harness.ts';

const CLUSTER = `
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: default}
spec: {order: 1000000, defaultAction: Deny}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n1, labels: {rack: r1}}
spec: {bgp: {ipv4Address: 10.0.0.11/24, ipv6Address: 'fd00::11/64'}, ipv4VXLANTunnelAddr: 10.65.9.1}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n2}
spec: {bgp: {ipv4Address: 10.0.0.12/24}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: twin}
spec: {bgp: {ipv4Address: 10.0.0.13/24}}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: twin, labels: {host: twin}}
spec: {node: twin, interfaceName: eth0, expectedIPs: [10.0.0.13]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: n2-all, labels: {host: n2}}
spec: {node: n2, interfaceName: '*'}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: n2-eth1, labels: {host: n2-eth1}}
spec: {node: n2, interfaceName: eth1}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {namespace: prod, labels: {app: web}}
spec: {orchestrator: k8s, node: n1, pod: web-0, endpoint: eth0, containerID: 0123456789abcdef, interfaceName: caliweb, ipNetworks: [10.65.0.1/32, 'fd00:65::1/128'], profiles: [kns.prod]}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {namespace: prod, labels: {app: db}}
spec: {orchestrator: k8s, node: n1, pod: db-0, endpoint: eth0, interfaceName: calidb, ipNetworks: [10.65.0.2/32, 'fd00:65::2/128'], profiles: [kns.prod]}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {namespace: default, labels: {app: vm}}
spec: {orchestrator: openstack, node: n2, workload: vm-7, endpoint: p0, interfaceName: tapvm, ipNetworks: [10.65.0.3/32, 10.65.0.33/32], ipNATs: [{internalIP: 10.65.0.3, externalIP: 203.0.113.7}], profiles: [open]}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {namespace: default, labels: {app: two}}
spec: {orchestrator: k8s, node: n1, pod: two, endpoint: eth0, interfaceName: calitwo0, ipNetworks: ['fd00:65::4/128'], profiles: [open]}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {namespace: default, labels: {app: two}}
spec: {orchestrator: k8s, node: n1, pod: two, endpoint: net1, interfaceName: calitwo1, ipNetworks: [10.65.0.5/32], profiles: [open]}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {namespace: default, labels: {app: bare}}
spec: {orchestrator: k8s, node: n1, pod: bare, endpoint: eth0, interfaceName: calibare, profiles: [open]}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {namespace: node, labels: {app: x}}
spec: {orchestrator: k8s, node: n1, pod: n1, endpoint: eth0, interfaceName: calinn, ipNetworks: [10.65.0.6/32], profiles: [open]}
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: kns.prod}
spec: {ingress: [{action: Allow}], egress: [{action: Allow}], labelsToApply: {pcns.name: prod}}
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: open}
spec: {ingress: [{action: Allow}], egress: [{action: Allow}]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: office, labels: {who: office}}
spec: {nets: [198.51.100.0/24]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: prod}
spec:
  selector: app == 'db'
  types: [Ingress]
  ingress:
  - {action: Log, protocol: TCP}
  - {action: Allow, protocol: TCP, source: {selector: app == 'web'}, destination: {ports: [5432]}}
  - {action: Allow, protocol: ICMP, icmp: {type: 8}}
  - {action: Allow, protocol: TCP, source: {namespaceSelector: global(), selector: who == 'office'}, destination: {ports: [22]}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: of-another, namespace: default}
spec: {selector: all(), order: 1, types: [Ingress], ingress: [{action: Allow, protocol: UDP}, {action: Allow, protocol: TCP, source: {ports: [7]}}]}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: shut-db}
spec: {selector: app == 'db', order: 1, types: [Ingress], ingress: [{action: Deny, protocol: TCP, destination: {ports: [5432]}}]}
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec: {defaultEndpointToHostAction: Accept, failsafeInboundHostPorts: [{protocol: TCP, port: 2222}]}
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: node.n2}
spec: {defaultEndpointToHostAction: Drop, failsafeInboundHostPorts: [{protocol: TCP, port: 3333}]}
---
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {name: default}
spec: {serviceClusterIPs: [{cidr: 10.96.0.0/16}]}
`;

let store: Store;
beforeAll(async () => {
  store = await memoryStore();
  await apply(store, CLUSTER);
});

const run = (...argv: string[]) => ctl(store, ['explain', ...argv]);
async function ask(from: string, to: string, ...more: string[]) {
  const port = more.some((flag) => flag === '--port' || flag === '--protocol') ? [] : ['--port', '80'];
  const { out, err, status } = await run('--from', from, '--to', to, ...port, ...more, '-o', 'json');
  expect([status, err]).toEqual([0, '']);
  return JSON.parse(out);
}
async function refused(...argv: string[]): Promise<string> {
  const { out, err, status } = await run(...argv);
  expect([out, status === 1 || status === 2, err.trim().split('\n').length]).toEqual(['', true, 1]);
  return `${status} ${err.replace('tsnetctl: ', '').trim()}`;
}
const WEB = 'WorkloadEndpoint/prod/n1-k8s-web--0-eth0';
const DB = 'WorkloadEndpoint/prod/n1-k8s-db--0-eth0';
const VM = 'WorkloadEndpoint/default/n2-openstack-vm--7-p0';

test('the answer as data: the fields that scripts rely on', async () => {
  const { steps, ...rest } = await ask('prod/web-0', 'prod/db-0', '--port', '5432');
  expect(rest).toMatchObject({
    from: WEB,
    to: DB,
    protocol: 'TCP',
    port: 5432,
    verdict: 'Allow',
    ipVersion: 4,
    unknown: [],
  });
  expect(rest.source).toEqual({
    given: 'prod/web-0',
    kind: 'WorkloadEndpoint',
    name: WEB,
    node: 'n1',
    address: '10.65.0.1',
    port: 49152,
  });
  expect(rest.destination).toMatchObject({ name: DB, address: '10.65.0.2', port: 5432 });
  expect(steps.map(({ missed: _, list: __, ...step }: { missed: unknown; list: unknown }) => step)).toEqual([
    {
      where: WEB,
      direction: 'egress',
      tier: null,
      policy: 'Profile/kns.prod',
      rule: 0,
      action: 'Allow',
      reason: 'the rule matches',
    },
    {
      where: DB,
      direction: 'ingress',
      tier: 'default',
      policy: 'NetworkPolicy/prod/db',
      rule: 0,
      action: 'Log',
      reason: 'the rule matches',
    },
    {
      where: DB,
      direction: 'ingress',
      tier: 'default',
      policy: 'NetworkPolicy/prod/db',
      rule: 1,
      action: 'Allow',
      reason: 'the rule matches',
    },
  ]);
  expect(rest.staged).toMatchObject({
    verdict: 'Deny',
    policies: [
      {
        policy: 'StagedGlobalNetworkPolicy/shut-db',
        stagedAction: 'Set',
        instead: null,
        at: [{ where: DB, rule: 0, action: 'Deny' }],
      },
    ],
  });
});

test('YAML is the same data', async () => {
  const { out } = await run('--from', 'prod/web-0', '--to', 'prod/db-0', '--port', '5432', '-o', 'yaml');
  const { parse } = await import('yaml');
  expect(parse(out)).toEqual(await ask('prod/web-0', 'prod/db-0', '--port', '5432'));
});

test('for people: the verdict first, each step, why rules did not match, and what is staged', async () => {
  const { out, err, status } = await run('--from', 'prod/web-0', '--to', 'prod/db-0', '--port', '5433');
  expect([err, status]).toEqual(['', 0]);
  expect(out).toMatchInlineSnapshot(`
    "Deny: TCP 10.65.0.1:49152 -> 10.65.0.2:5433
      from WorkloadEndpoint/prod/n1-k8s-web--0-eth0 on node n1
      to   WorkloadEndpoint/prod/n1-k8s-db--0-eth0 on node n1

    egress from WorkloadEndpoint/prod/n1-k8s-web--0-eth0
      Allow Profile/kns.prod egress[0]: Allow

    ingress to WorkloadEndpoint/prod/n1-k8s-db--0-eth0
      Log   tier default: NetworkPolicy/prod/db ingress[0]: Log TCP
      Deny  tier default: no rule of NetworkPolicy/prod/db matches, and the tier's default is to deny
            no match: NetworkPolicy/prod/db ingress[1]: Allow TCP from app == 'web' to ports 5432: destination port is none of its ports
            no match: NetworkPolicy/prod/db ingress[2]: Allow ICMP type 8: it is for protocol ICMP
            no match: NetworkPolicy/prod/db ingress[3]: Allow TCP from who == 'office' namespaces global() to ports 22: source does not match (!has(projectcalico.org/namespace)) && (who == 'office')

    staged policies, which are not enforced; if they were: Deny, as it is
      Deny  tier default: no rule of StagedGlobalNetworkPolicy/shut-db, NetworkPolicy/prod/db matches, and the tier's default is to deny
      StagedGlobalNetworkPolicy/shut-db (Set)
            ingress to WorkloadEndpoint/prod/n1-k8s-db--0-eth0: none of its rules matches

    note: this is about IPv4; --ip-version 6 asks about IPv6
    "
  `);
});

test('wide has what did not match at every step', async () => {
  const { out } = await run('--from', 'prod/web-0', '--to', 'prod/db-0', '--protocol', 'icmp', '-o', 'wide');
  expect(out).toMatchInlineSnapshot(`
    "Allow: ICMP 10.65.0.1 -> 10.65.0.2 type 8 code 0
      from WorkloadEndpoint/prod/n1-k8s-web--0-eth0 on node n1
      to   WorkloadEndpoint/prod/n1-k8s-db--0-eth0 on node n1

    egress from WorkloadEndpoint/prod/n1-k8s-web--0-eth0
      Allow Profile/kns.prod egress[0]: Allow

    ingress to WorkloadEndpoint/prod/n1-k8s-db--0-eth0
      Allow tier default: NetworkPolicy/prod/db ingress[2]: Allow ICMP type 8
            no match: NetworkPolicy/prod/db ingress[0]: Log TCP: it is for protocol TCP
            no match: NetworkPolicy/prod/db ingress[1]: Allow TCP from app == 'web' to ports 5432: it is for protocol TCP

    staged policies, which are not enforced; if they were: Allow, as it is
      StagedGlobalNetworkPolicy/shut-db (Set)
            ingress to WorkloadEndpoint/prod/n1-k8s-db--0-eth0: none of its rules matches
    "
  `);
});

test('colours on a terminal only, and nothing of the datastore moves its cursor', async () => {
  const evil = await memoryStore();
  await apply(evil, CLUSTER);
  const key = '/calico/resources/v3/projectcalico.org/globalnetworkpolicies/evil';
  const spec = { order: 0, selector: 'all()', ingress: [{ action: 'Deny', source: { selector: "a == '\u001b[2J'" } }] };
  await evil.txn([], [{ op: 'put', key, value: JSON.stringify({ metadata: { name: 'evil' }, spec }) }]);
  const argv = ['explain', '--from', 'prod/web-0', '--to', 'prod/db-0', '--port', '1', '-o', 'wide'];
  const { out } = await ctl(evil, argv, { isTTY: true });
  expect(out.startsWith('\u001b[31mDeny\u001b[0m: TCP')).toBe(true);
  expect(out).toContain("a == '\\u001b[2J'");
  expect((await ctl(evil, argv)).out).not.toContain('\u001b');
});

describe('an end', () => {
  test.each([
    ['prod/web-0', WEB],
    ['prod/n1-k8s-web--0-eth0', WEB],
    ['prod/caliweb', WEB],
    ['prod/0123456789ab', WEB],
    ['wep/prod/web-0', WEB],
    ['WorkloadEndpoint/prod/n1-k8s-web--0-eth0', WEB],
    ['endpoint/prod/web-0', WEB],
    ['10.65.0.1', WEB],
    ['fd00:65::1', WEB],
    ['FD00:65:0::1', WEB],
    ['10.65.0.1/32', WEB],
    ['vm-7', VM],
    ['default/vm-7', VM],
    ['workloadendpoint/vm-7', VM],
    ['n1', 'Node/n1'],
    ['no/n1', 'Node/n1'],
    ['10.0.0.11', 'Node/n1'],
    ['10.65.9.1', 'Node/n1'],
    ['hep/n2-all', 'HostEndpoint/n2-all'],
    ['n2-eth1', 'HostEndpoint/n2-eth1'],
    // The address of a host endpoint of one interface is that endpoint's.
    ['10.0.0.13', 'HostEndpoint/twin'],
    ['node/twin', 'HostEndpoint/twin'],
    // One of all interfaces may not be what a packet meets.
    ['10.0.0.12', 'Node/n2'],
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8::1', '2001:db8::1'],
  ])('%s is %s', async (given, name) => {
    const other = given.includes(':') || given.startsWith('FD') ? 'fd00::11' : '192.0.2.200';
    expect(await ask(given, other)).toMatchObject({ from: name, source: { given, name } });
    expect(await ask(other, given)).toMatchObject({ to: name, destination: { given, name } });
  });
  test('-n is the namespace of a bare name', async () => {
    expect(await ask('web-0', 'db-0', '-n', 'prod')).toMatchObject({ from: WEB, to: DB });
  });
  test('a floating address and one of a service are said to be so', async () => {
    expect((await ask('prod/web-0', '203.0.113.7')).notes).toEqual([
      expect.stringContaining(`a floating address (ipNATs) of ${VM}`),
    ]);
    expect((await ask('prod/web-0', '10.96.0.10')).notes).toEqual([
      expect.stringContaining('in a range of service addresses'),
    ]);
  });
  test.each([
    [
      ['--from', 'web-0', '--to', 'prod/db-0'],
      "1 --from 'web-0' is not there: looked for a workload 'web-0' in namespace default, a host endpoint 'web-0', a node 'web-0'; there is 'workloadendpoint/prod/n1-k8s-web--0-eth0'",
    ],
    [
      ['--from', 'prod/web-1', '--to', 'n1'],
      "1 --from 'prod/web-1' is not there: looked for a workload 'web-1' in namespace prod; did you mean 'prod/web-0'?",
    ],
    [
      ['--from', 'n1', '--to', 'node/n9'],
      "looked for a node 'n9', a workload 'n9' in namespace node; did you mean 'node/n1'?",
    ],
    [['--from', 'n1', '--to', 'nod/n2'], "did you mean 'node/n2'?"],
    [
      ['--from', 'n1', '--to', 'nowhere-at-all'],
      "'tsnetctl get endpoints -A' and 'tsnetctl get nodes' list what is there",
    ],
    [
      ['--from', 'two', '--to', 'n1'],
      "2 --from 'two' can be several: workloadendpoint/default/n1-k8s-two-eth0, workloadendpoint/default/n1-k8s-two-net1; give one of these",
    ],
    [['--from', 'n1', '--to', 'twin'], "--to 'twin' can be several: hostendpoint/twin, node/twin"],
    [
      ['--from', '10.0.0.1', '--to', 'node/n1'],
      "2 --to 'node/n1' can be several: node/n1, workloadendpoint/node/n1-k8s-n1-eth0",
    ],
    [['--from', 'n1', '--to', '10.65.0.0/16'], "2 --to '10.65.0.0/16' is a network; give one address of it"],
    [['--from', 'n1', '--to', 'a//b'], "2 --to 'a//b' is not the name of an end: give"],
    [
      ['--from', 'n1', '--to', 'workloadendpont/prod/web-0'],
      "'workloadendpont' is not a kind that a flow ends at, did you mean 'workloadendpoint'?",
    ],
    [['--from', 'n1', '--to', 'node/prod/n1'], "a Node has no namespace; give 'node/name'"],
    [['--from', 'default/bare', '--to', '10.65.0.1'], "--from 'default/bare' has no address that the datastore knows"],
    [['--from', 'fd00:65::1', '--to', '10.65.0.1'], 'the ends have no family in common'],
    [['--from', 'prod/web-0', '--to', 'n2', '--ip-version', '6'], 'the ends have no IPv6 address on both sides'],
    [['--to', 'n1'], '2 --from is needed'],
    [['--from', 'n1'], '2 --to is needed'],
  ])('%j is refused in one line', async (argv, words) => {
    expect(await refused(...argv, '--port', '80')).toContain(words);
  });
  test('two workloads with one address are both told', async () => {
    const twice = await memoryStore();
    await apply(twice, CLUSTER.replace('10.65.0.6/32', '10.65.0.1/32'));
    const { err } = await ctl(twice, ['explain', '--from', '10.65.0.1', '--to', '192.0.2.1', '--port', '1']);
    expect(err).toContain(
      'can be several: workloadendpoint/node/n1-k8s-n1-eth0, workloadendpoint/prod/n1-k8s-web--0-eth0',
    );
    // By name it is clear, and what selects the other one's labels holds for both.
    const argv = ['--from', 'wep/node/n1', '--to', 'prod/db-0', '--port', '5432', '-o', 'json'];
    expect(JSON.parse((await ctl(twice, ['explain', ...argv])).out)).toMatchObject({ verdict: 'Allow' });
  });
});

describe('addresses', () => {
  test('IPv4 where both have both, and --ip-version for the other; each is said', async () => {
    const four = await ask('prod/web-0', 'prod/db-0');
    expect([four.source.address, four.notes]).toEqual([
      '10.65.0.1',
      ['this is about IPv4; --ip-version 6 asks about IPv6'],
    ]);
    const six = await ask('prod/web-0', 'prod/db-0', '--ip-version', '6');
    expect([six.ipVersion, six.source.address, six.notes]).toEqual([6, 'fd00:65::1', []]);
  });
  test('an address on one side decides, and so does a family that only one side has', async () => {
    expect(await ask('prod/web-0', 'fd00:65::2')).toMatchObject({ ipVersion: 6, to: DB });
    expect(await ask('prod/web-0', 'wep/default/n1-k8s-two-eth0')).toMatchObject({ ipVersion: 6 });
    expect(await ask('prod/web-0', 'prod/db-0', '--protocol', 'icmpv6')).toMatchObject({
      ipVersion: 6,
      protocol: 'ICMPv6',
    });
  });
  test('of several the first, or the one that is given', async () => {
    const first = await ask('vm-7', '192.0.2.1');
    expect([first.source.address, first.notes]).toEqual([
      '10.65.0.3',
      [`${VM} has other addresses: 10.65.0.33; give one of them to ask about it`],
    ]);
    expect(await ask('10.65.0.33', '192.0.2.1')).toMatchObject({
      from: VM,
      source: { address: '10.65.0.33' },
      notes: [],
    });
  });
});

describe('the packet', () => {
  const verdict = async (...argv: string[]) => (await ask('prod/web-0', 'prod/db-0', ...argv)).verdict;
  test('protocols by name and number, ports, source ports, ICMP types', async () => {
    expect(await verdict('--port', '5432')).toBe('Allow');
    expect(await verdict('--protocol', '6', '--port', '5432')).toBe('Allow');
    expect(await verdict('--protocol', 'UDP', '--port', '5432')).toBe('Deny');
    expect(await verdict('--protocol', 'icmp')).toBe('Allow');
    expect(await verdict('--protocol', 'icmp', '--icmp-type', '13')).toBe('Deny');
    expect(await verdict('--protocol', '89')).toBe('Deny');
    const { verdict: from7 } = await ask('n1', 'vm-7', '--port', '9', '--source-port', '7');
    const { verdict: from8 } = await ask('n1', 'vm-7', '--port', '9', '--source-port', '8');
    expect([from7, from8]).toEqual(['Allow', 'Deny']);
    expect(await ask('n1', 'vm-7', '--protocol', 'icmp', '--icmp-type', '3', '--icmp-code', '4')).toMatchObject({
      port: null,
      icmp: { type: 3, code: 4 },
    });
  });
  test.each([
    [['--protocol', 'tpc', '--port', '1'], "2 --protocol 'tpc' is not known, did you mean 'tcp'?"],
    [['--protocol', '0'], "--protocol '0' is not known"],
    [['--protocol', '256'], "--protocol '256' is not known"],
    [[], '2 --port is needed for protocol TCP'],
    [['--protocol', 'sctp'], '2 --port is needed for protocol SCTP'],
    [['--port', '0'], "2 --port must be a number from 1 to 65535, not '0'"],
    [['--port', '65536'], '--port must be a number'],
    [['--port', 'http'], '--port must be a number'],
    [['--port', '80', '--source-port', '-1'], '--source-port must be a number'],
    [
      ['--protocol', 'icmp', '--port', '8'],
      '2 --port means nothing for protocol ICMP, which has no ports; it has --icmp-type',
    ],
    [['--protocol', '89', '--source-port', '8'], '--source-port means nothing for protocol 89'],
    [['--port', '80', '--icmp-type', '8'], '2 --icmp-type means nothing for protocol TCP'],
    [['--protocol', 'icmp', '--icmp-type', '256'], '--icmp-type must be a number from 0 to 255'],
    [['--protocol', 'icmp', '--icmp-code', '1'], '--icmp-code needs --icmp-type'],
    [['--port', '80', '--ip-version', '5'], '2 --ip-version must be 4 or 6'],
    [['--protocol', 'icmp', '--ip-version', '6'], "--protocol icmp is IPv4's"],
    [['--port', '80', '-o', 'xml'], "unknown output format 'xml'"],
  ])('%j is refused in one line', async (argv, words) => {
    expect(await refused('--from', 'prod/web-0', '--to', 'prod/db-0', ...argv)).toContain(words);
  });
});

describe('hosts', () => {
  test('what the node’s configuration says, over the cluster’s', async () => {
    expect((await ask('prod/web-0', 'n1')).steps.at(-1)).toMatchObject({
      action: 'Allow',
      reason: 'defaultEndpointToHostAction is Accept',
    });
    expect((await ask('vm-7', 'node/n2')).steps.at(-1)).toMatchObject({
      action: 'Deny',
      reason: 'defaultEndpointToHostAction is Drop',
    });
    expect(await ask('192.0.2.1', 'hep/n2-all', '--port', '3333')).toMatchObject({ verdict: 'Allow' });
    expect(await ask('192.0.2.1', 'hep/n2-all', '--port', '2222')).toMatchObject({ verdict: 'Deny' });
    expect(await ask('192.0.2.1', 'hep/twin', '--port', '2222')).toMatchObject({ verdict: 'Allow' });
  });
  test('an interface that is not known makes no difference, or is told', async () => {
    expect(await ask('192.0.2.1', 'node/n2')).toMatchObject({
      verdict: 'Deny',
      unknown: [],
      steps: [{ where: 'Node/n2' }],
    });
    const more = await memoryStore();
    const forward = `
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: no-udp}
spec: {selector: host == 'n2-eth1', applyOnForward: true, types: [Ingress], ingress: [{action: Deny, protocol: UDP}, {action: Allow}]}
`;
    await apply(more, CLUSTER + forward);
    const argv = ['explain', '--from', 'prod/web-0', '--to', 'default/vm-7', '--protocol', 'udp', '--port', '9'];
    const { out } = await ctl(more, [...argv, '-o', 'json']);
    expect(JSON.parse(out)).toMatchObject({
      verdict: 'Allow',
      unknown: [
        {
          node: 'n2',
          direction: 'ingress',
          ways: [
            { endpoint: 'HostEndpoint/n2-all', verdict: 'Allow' },
            { endpoint: 'HostEndpoint/n2-eth1', verdict: 'Deny' },
          ],
        },
      ],
    });
    const { out: text } = await ctl(more, argv);
    expect(text).toMatch(/^Allow, unless it takes an interface that denies it \(below\): UDP/);
    expect(text).toContain(
      'not known: by which interface of node n2 it enters\n  Allow by that of HostEndpoint/n2-all',
    );
    expect(text).toContain('  Deny  by that of HostEndpoint/n2-eth1: GlobalNetworkPolicy/no-udp ingress[0]');
  });
  test('addresses outside meet rules by the network sets that they are in', async () => {
    expect(await ask('198.51.100.9', 'prod/db-0', '--port', '22')).toMatchObject({ verdict: 'Allow' });
    const { steps, verdict } = await ask('192.0.2.9', 'prod/db-0', '--port', '22');
    expect(verdict).toBe('Deny');
    expect(steps.at(-1).missed.at(-1).reason).toContain('source is no endpoint and in no network set');
  });
});

test('what cannot be used counts as absent, and is told', async () => {
  const broken = await memoryStore();
  await apply(broken, CLUSTER);
  const put = (plural: string, id: string, value: string) =>
    broken.txn([], [{ op: 'put', key: `/calico/resources/v3/projectcalico.org/${plural}/${id}`, value }]);
  await put('globalnetworkpolicies', 'bad', '{"spec":{"order":0,"selector":"a =","ingress":[{"action":"Deny"}]}}');
  await put('workloadendpoints', 'prod/n1-k8s-x-eth0', 'no JSON');
  await put('profiles', 'kns.prod', '{"spec":{"ingress":[{"action":"Permit"}]}}');
  await put('networkpolicies', 'default/elsewhere', '{"spec":{"selector":"a ="}}');
  const ran = await ctl(broken, ['explain', '--from', '192.0.2.1', '--to', 'prod/web-0', '--port', '80']);
  expect(ran.status).toBe(0);
  expect(ran.out).toMatch(/^Deny/);
  expect(ran.out).toContain('Profile/kns.prod: there is no such profile');
  const warned = ran.err.trim().split('\n');
  expect(warned.every((line) => line.startsWith('tsnetctl: warning: '))).toBe(true);
  expect(ran.err).toMatch(/GlobalNetworkPolicy\(bad\) cannot be used and counts as absent: .*selector/);
  expect(ran.err).toMatch(/Profile\(kns\.prod\) cannot be used and counts as absent: .*action/);
  expect(ran.err).toMatch(/WorkloadEndpoint\(prod\/n1-k8s-x-eth0\) cannot be used/);
  expect(ran.err).not.toContain('elsewhere');
  expect(new Set(warned).size).toBe(warned.length);
});

test('a directory of files is asked as etcd is', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'explain-'));
  try {
    writeFileSync(join(directory, 'cluster.yaml'), CLUSTER);
    const argv = ['explain', '--from', 'prod/web-0', '--to', 'prod/db-0', '--port', '5432', '-o', 'json'];
    const { out, err } = await ctl(null, argv, { env: { TSNET_DIRECTORY: directory } });
    expect([err, JSON.parse(out)]).toEqual(['', await ask('prod/web-0', 'prod/db-0', '--port', '5432')]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('help has examples, and completion has names', async () => {
  const help = await run('--help');
  expect([help.status, help.err]).toEqual([0, '']);
  for (const words of ['Examples:', '--from', '--icmp-type', 'Staged policies never count'])
    expect(help.out).toContain(words);
  const complete = async (...words: string[]) =>
    (await ctl(store, ['__complete', '--', 'explain', ...words])).out.split('\n');
  expect(await complete('--')).toEqual(expect.arrayContaining(['--from', '--to', '--protocol', '--port']));
  expect(await complete('--protocol', 'u')).toEqual(['udp', 'udplite', '']);
  expect(await complete('--from', 'prod/')).toEqual(['prod/db-0', 'prod/web-0', '']);
  expect(await complete('--to', 'n')).toEqual(['n1', 'n2', 'n2-all', 'n2-eth1', 'node/', '']);
  expect(await complete('--to', 'hostendpoint/t')).toEqual(['hostendpoint/twin', '']);
  expect(await complete('-n', 'prod', '--to', 'web')).toEqual(['web-0', '']);
  expect(await complete('--ip-version', '')).toEqual(['4', '6', '']);
});
