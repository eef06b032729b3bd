import { describe, expect, test } from 'vitest';
import {
  type AnyResource,
  API_VERSION,
  describeErrors,
  encodeResource,
  KIND_NAMES,
  KINDS,
  type Kind,
  kindOfWord,
  prepare,
  unknownFields,
  validate,
} from '#datastore';

/** A resource of a kind, as a person writes it. */
const make = (kind: Kind, name: string, spec: object, metadata: object = {}): AnyResource =>
  ({
    apiVersion: API_VERSION,
    kind,
    metadata: { name, ...(KINDS[kind].namespaced && { namespace: 'default' }), ...metadata },
    spec,
  }) as AnyResource;

const rule = (more: object) => ({ ingress: [{ action: 'Allow', ...more }] });
const endpoint = {
  orchestrator: 'cni',
  node: 'node-1',
  containerID: '9f8e7d6c5b4a',
  endpoint: 'eth0',
  interfaceName: 'cali9f8e7d6c5b4',
  mac: '5e:11:22:33:44:55',
  ipNetworks: ['10.65.3.70/32', 'fd00:65::1c42/128'],
  profiles: ['net1'],
  ports: [{ name: 'http', protocol: 'TCP', port: 8080, hostPort: 0, hostIP: '' }],
};
const WEP = 'node--1-cni-9f8e7d6c5b4a-eth0';

/** kind, name, spec, metadata */
type Valid = [Kind, string, object, object?];
const valid: Valid[] = [
  [
    'Node',
    'node-1',
    {
      bgp: { ipv4Address: '10.0.0.11/24', asNumber: 64513, ipv4IPIPTunnelAddr: '10.65.3.64' },
      ipv4VXLANTunnelAddr: '10.65.3.65',
      vxlanTunnelMACAddr: '66:0a:11:22:33:44',
      addresses: [
        { address: '10.0.0.11', type: 'CalicoNodeIP' },
        { address: '192.0.2.11', type: 'ExternalIP' },
      ],
      orchRefs: [{ nodeName: 'node-1', orchestrator: 'k8s' }],
    },
    { labels: { rack: 'r1' } },
  ],
  ['Node', 'n', { bgp: { asNumber: '1.10', ipv6Address: 'fd00::1/64' } }],
  ['WorkloadEndpoint', WEP, endpoint],
  ['WorkloadEndpoint', '', endpoint],
  [
    'HostEndpoint',
    'node-1-eth0',
    {
      node: 'node-1',
      interfaceName: 'eth0',
      expectedIPs: ['10.0.0.11'],
      profiles: [],
      ports: [{ name: 'ssh', protocol: 'TCP', port: 22 }],
    },
    { labels: { role: 'edge' } },
  ],
  ['HostEndpoint', 'all', { node: 'n', interfaceName: '*' }],
  [
    'GlobalNetworkPolicy',
    'edge-in',
    {
      tier: 'default',
      order: 100,
      selector: "role == 'edge'",
      types: ['Ingress'],
      applyOnForward: true,
      ingress: [
        { action: 'Deny', source: { selector: "set == 'blocklist'" } },
        {
          action: 'Allow',
          protocol: 'TCP',
          source: { nets: ['192.0.2.0/24'], notNets: ['192.0.2.7/32'] },
          destination: { ports: [22, '8000:8010', 'http'] },
        },
        { action: 'Allow', ipVersion: 4, protocol: 'ICMP', icmp: { type: 8 } },
        { action: 'Pass' },
      ],
    },
  ],
  [
    'NetworkPolicy',
    'web',
    {
      selector: "app == 'web'",
      types: ['Ingress', 'Egress'],
      ingress: [
        {
          action: 'Allow',
          protocol: 'TCP',
          source: { selector: "app == 'lb'", namespaceSelector: "team == 'net'" },
          destination: { ports: [8080] },
        },
      ],
      egress: [{ action: 'Allow' }],
    },
    { namespace: 'prod' },
  ],
  ['NetworkPolicy', 'knp.default.a.b.c', {}],
  ['NetworkPolicy', 'any', rule({ source: { namespaceSelector: 'global()' } })],
  [
    'StagedGlobalNetworkPolicy',
    'try-deny',
    {
      stagedAction: 'Set',
      tier: 'default',
      order: 10,
      selector: "app == 'db'",
      types: ['Ingress'],
      ingress: [{ action: 'Deny' }],
    },
  ],
  ['StagedNetworkPolicy', 'gone', { stagedAction: 'Delete' }],
  ['StagedKubernetesNetworkPolicy', 'k', { podSelector: {}, policyTypes: ['Ingress'] }],
  ['Tier', 'security', { order: 300, defaultAction: 'Pass' }],
  ['Tier', 'default', { order: 1000000, defaultAction: 'Deny' }],
  [
    'Profile',
    'net1',
    {
      ingress: [{ action: 'Allow', source: { selector: 'has(net1)' } }],
      egress: [{ action: 'Allow' }],
      labelsToApply: { net1: '' },
    },
  ],
  ['GlobalNetworkSet', 'blocked', { nets: ['198.51.100.0/24', 'fd00:bad::/64'] }, { labels: { set: 'blocklist' } }],
  ['NetworkSet', 'some', { nets: ['198.51.100.1'] }],
  [
    'IPPool',
    'pool-a',
    {
      cidr: '10.65.0.0/16',
      blockSize: 26,
      ipipMode: 'Never',
      vxlanMode: 'CrossSubnet',
      natOutgoing: true,
      nodeSelector: 'all()',
      allowedUses: ['Workload', 'Tunnel'],
      assignmentMode: 'Automatic',
    },
  ],
  ['IPPool', 'six', { cidr: 'fd00:65::/48' }],
  ['IPReservation', 'r', { reservedCIDRs: ['10.65.0.0/30', '10.65.255.255/32'] }],
  [
    'BGPConfiguration',
    'default',
    {
      nodeToNodeMeshEnabled: true,
      asNumber: 64512,
      listenPort: 179,
      communities: [{ name: 'lp', value: '64512:120' }],
      prefixAdvertisements: [{ cidr: '10.65.0.0/16', communities: ['lp'] }],
    },
  ],
  ['BGPConfiguration', 'node.n1', { listenPort: 1179 }],
  [
    'BGPPeer',
    'tor-1',
    { nodeSelector: "rack == 'r1'", peerIP: '10.0.0.1:179', asNumber: 65001, filters: ['only-pods'], ttlSecurity: 1 },
  ],
  ['BGPPeer', 'six', { peerIP: '[fd00::1]:1179', asNumber: '65001' }],
  [
    'BGPFilter',
    'only-pods',
    {
      exportV4: [
        { cidr: '10.65.0.0/16', matchOperator: 'In', prefixLength: { min: 24, max: 32 }, action: 'Accept' },
        { action: 'Reject' },
      ],
      importV4: [{ cidr: '0.0.0.0/0', matchOperator: 'Equal', action: 'Reject' }],
    },
  ],
  [
    'BGPFilter',
    'ops',
    {
      importV6: [
        {
          peerType: 'eBGP',
          communities: { values: ['1:2:3'] },
          asPathPrefix: [65001],
          action: 'Accept',
          operations: [
            { addCommunity: { value: '65000:1' } },
            { prependASPath: { prefix: [65000] } },
            { setPriority: { value: 7 } },
          ],
        },
      ],
    },
  ],
  [
    'FelixConfiguration',
    'default',
    {
      reportingInterval: '0s',
      logSeverityScreen: 'Info',
      failsafeInboundHostPorts: [{ protocol: 'tcp', port: 22 }],
      vxlanPort: 4789,
      floatingIPs: 'Disabled',
      bpfSomething: 'new',
    },
  ],
  ['FelixConfiguration', 'racks', { nodeSelector: "rack == 'r1'" }],
  [
    'ClusterInformation',
    'default',
    { clusterGUID: '3f1d2c4b5a6978877665544332211000', clusterType: 'tsnet', datastoreReady: true },
  ],
  ['CalicoNodeStatus', 'node-1', { node: 'node-1', classes: ['Agent', 'BGP'], updatePeriodSeconds: 10 }],
  ['KubeControllersConfiguration', 'default', { controllers: {} }],
  ['IPAMConfiguration', 'default', { strictAffinity: false, autoAllocateBlocks: true, maxBlocksPerHost: 4 }],
  [
    'BlockAffinity',
    'n1-10-65-3-64-26',
    { state: 'confirmed', node: 'n1', type: 'host', cidr: '10.65.3.64/26', deleted: 'false' },
  ],
];

/** kind, name, spec, the field that has to be named, metadata */
type Invalid = [Kind, string, object, string, object?];
const invalid: Invalid[] = [
  ['Node', 'Node1', {}, 'metadata.name'],
  ['Node', 'n', { bgp: {} }, 'spec.bgp'],
  ['Node', 'n', { bgp: { ipv4Address: 'fd00::1/64' } }, 'spec.bgp.ipv4Address'],
  ['Node', 'n', { bgp: { ipv4IPIPTunnelAddr: '10.65.3.64/32' } }, 'spec.bgp.ipv4IPIPTunnelAddr'],
  ['Node', 'n', { addresses: [{ address: '10.0.0.11', type: 'Hostname' }] }, 'spec.addresses[0].type'],
  ['Node', 'n', { addresses: [{ address: '10.0.0.11/24' }] }, 'spec.addresses[0].address'],
  ['Node', 'n', { bgp: { asNumber: 0 } }, 'spec.bgp.asNumber'],
  ['Node', 'n', { bgp: { asNumber: '70000.1' } }, 'spec.bgp.asNumber'],
  ['Node', 'n', {}, 'metadata.labels', { labels: { 'bad key!': 'x' } }],
  ['Node', 'n', {}, 'metadata.labels.k', { labels: { k: 'bad value' } }],
  ['Node', 'n', {}, 'metadata.namespace', { namespace: 'x' }],
  ['WorkloadEndpoint', 'web', endpoint, 'metadata.name'],
  ['WorkloadEndpoint', WEP, { ...endpoint, ipNetworks: ['10.65.3.0/26'] }, 'spec.ipNetworks[0]'],
  ['WorkloadEndpoint', WEP, { ...endpoint, node: 'node-' }, 'spec.node'],
  ['WorkloadEndpoint', WEP, { ...endpoint, interfaceName: 'averyverylonginterface' }, 'spec.interfaceName'],
  ['WorkloadEndpoint', WEP, { ...endpoint, interfaceName: undefined }, 'spec.interfaceName'],
  [
    'WorkloadEndpoint',
    WEP,
    { ...endpoint, ipNATs: [{ internalIP: '10.9.9.9', externalIP: '192.0.2.1' }] },
    'spec.ipNATs[0].internalIP',
  ],
  [
    'WorkloadEndpoint',
    WEP,
    { ...endpoint, ipNATs: [{ internalIP: '10.65.3.70', externalIP: 'fd00::1' }] },
    'spec.ipNATs[0].externalIP',
  ],
  ['WorkloadEndpoint', WEP, { ...endpoint, ports: [{ protocol: 'TCP', port: 80 }] }, 'spec.ports[0].name'],
  ['WorkloadEndpoint', WEP, { ...endpoint, containerID: undefined }, 'spec.containerID'],
  [
    'WorkloadEndpoint',
    WEP,
    { ...endpoint, qosControls: { ingressBandwidth: 10 } },
    'spec.qosControls.ingressBandwidth',
  ],
  ['WorkloadEndpoint', WEP, { ...endpoint, qosControls: { egressBurst: 999 } }, 'spec.qosControls.egressBurst'],
  [
    'WorkloadEndpoint',
    WEP,
    { ...endpoint, qosControls: { ingressPeakrate: 1009 } },
    'spec.qosControls.ingressPeakrate',
  ],
  [
    'WorkloadEndpoint',
    WEP,
    { ...endpoint, qosControls: { egressBandwidth: 5000, egressPeakrate: 5000 } },
    'spec.qosControls.egressPeakrate',
  ],
  ['HostEndpoint', 'h', { node: 'n1' }, 'spec.interfaceName'],
  ['HostEndpoint', 'h', { interfaceName: 'eth0' }, 'spec.node'],
  ['HostEndpoint', 'h', { node: 'n1', expectedIPs: ['10.0.0.0/24'] }, 'spec.expectedIPs[0]'],
  [
    'HostEndpoint',
    'h',
    { node: 'n1', interfaceName: 'eth0', ports: [{ name: 'x', protocol: 'ICMP', port: 1 }] },
    'spec.ports[0].protocol',
  ],
  ['GlobalNetworkPolicy', 'p', { doNotTrack: true }, 'spec.applyOnForward'],
  ['GlobalNetworkPolicy', 'p', { preDNAT: true, applyOnForward: true, egress: [{ action: 'Allow' }] }, 'spec.egress'],
  ['GlobalNetworkPolicy', 'p', { preDNAT: true, doNotTrack: true, applyOnForward: true }, 'spec.preDNAT'],
  ['GlobalNetworkPolicy', 'p', rule({ destination: { ports: [80] } }), 'spec.ingress[0].destination.ports[0]'],
  ['GlobalNetworkPolicy', 'p', rule({ protocol: 'ICMP', ipVersion: 6 }), 'spec.ingress[0].ipVersion'],
  ['GlobalNetworkPolicy', 'p', rule({ protocol: 'ICMP', icmp: { code: 1 } }), 'spec.ingress[0].icmp.code'],
  ['GlobalNetworkPolicy', 'p', rule({ protocol: 'TCP', icmp: { type: 1 } }), 'spec.ingress[0].icmp'],
  [
    'GlobalNetworkPolicy',
    'p',
    rule({ protocol: 'ICMP', destination: { ports: ['http'] } }),
    'spec.ingress[0].destination.ports',
  ],
  ['GlobalNetworkPolicy', 'p', { ingress: [{ action: 'allow' }] }, 'spec.ingress[0].action'],
  ['GlobalNetworkPolicy', 'p', { ingress: [{}] }, 'spec.ingress[0].action'],
  ['GlobalNetworkPolicy', 'p', rule({ protocol: 'tcp' }), 'spec.ingress[0].protocol'],
  ['GlobalNetworkPolicy', 'p', rule({ protocol: 0 }), 'spec.ingress[0].protocol'],
  [
    'GlobalNetworkPolicy',
    'p',
    rule({ source: { nets: ['10.0.0.0/8', 'fd00::/8'] } }),
    'spec.ingress[0].source.nets[1]',
  ],
  [
    'GlobalNetworkPolicy',
    'p',
    rule({ ipVersion: 6, source: { nets: ['10.0.0.0/8'] } }),
    'spec.ingress[0].source.nets[0]',
  ],
  ['GlobalNetworkPolicy', 'p', rule({ source: { nets: ['10.0.0.1'] } }), 'spec.ingress[0].source.nets[0]'],
  ['GlobalNetworkPolicy', 'p', rule({ source: { nets: ['10.0.0.1/8'] } }), 'spec.ingress[0].source.nets[0]'],
  ['GlobalNetworkPolicy', 'p', rule({ source: { notNets: ['0.0.0.0/0'] } }), 'spec.ingress[0].source.notNets[0]'],
  [
    'GlobalNetworkPolicy',
    'p',
    rule({ protocol: 'TCP', destination: { ports: ['90:80'] } }),
    'spec.ingress[0].destination.ports[0]',
  ],
  [
    'GlobalNetworkPolicy',
    'p',
    rule({ source: { services: { name: 's' } } }),
    'spec.ingress[0].source.services.namespace',
  ],
  [
    'GlobalNetworkPolicy',
    'p',
    rule({ destination: { services: { name: 's', namespace: 'n' } } }),
    'spec.ingress[0].destination.services',
  ],
  [
    'GlobalNetworkPolicy',
    'p',
    rule({ source: { services: { name: 's', namespace: 'n' }, selector: 'all()' } }),
    'spec.ingress[0].source.selector',
  ],
  ['GlobalNetworkPolicy', 'p', { ingress: [{ action: 'Deny', http: { methods: ['GET'] } }] }, 'spec.ingress[0].http'],
  ['GlobalNetworkPolicy', 'p', rule({ http: { paths: [{ exact: 'x' }] } }), 'spec.ingress[0].http.paths[0]'],
  ['GlobalNetworkPolicy', 'p', { selector: 'global()' }, 'spec.selector'],
  ['GlobalNetworkPolicy', 'p', { selector: 'a = b' }, 'spec.selector'],
  ['GlobalNetworkPolicy', 'p', { selector: `a == '${'x'.repeat(1024)}'` }, 'spec.selector'],
  ['GlobalNetworkPolicy', 'p', { types: ['Ingress', 'Ingress'] }, 'spec.types'],
  ['GlobalNetworkPolicy', 'p', { order: 'first' }, 'spec.order'],
  ['GlobalNetworkPolicy', 'a.b.c', {}, 'metadata.name'],
  ['NetworkPolicy', 'a.b.c', {}, 'metadata.name'],
  ['StagedGlobalNetworkPolicy', 's', { stagedAction: 'Delete', ingress: [{ action: 'Deny' }] }, 'spec.ingress'],
  ['StagedNetworkPolicy', 's', { stagedAction: 'Replace' }, 'spec.stagedAction'],
  ['StagedKubernetesNetworkPolicy', 's', { stagedAction: 'Delete', podSelector: {} }, 'spec.podSelector'],
  ['Tier', 'net.sec', {}, 'metadata.name'],
  ['Tier', 'default', { order: 5 }, 'spec.order'],
  ['Tier', 'default', { order: 1000000, defaultAction: 'Pass' }, 'spec.defaultAction'],
  ['Tier', 't', { defaultAction: 'Allow' }, 'spec.defaultAction'],
  ['Profile', 'projectcalico-default-allow', {}, 'metadata.name'],
  ['Profile', 'p', { labelsToApply: { 'bad key!': 'x' } }, 'spec.labelsToApply'],
  ['Profile', 'p', { ingress: [{ action: 'Permit' }] }, 'spec.ingress[0].action'],
  ['GlobalNetworkSet', 's', { nets: ['198.51.100.0/33'] }, 'spec.nets[0]'],
  [
    'GlobalNetworkSet',
    's',
    {},
    'metadata.labels.projectcalico.org/namespace',
    { labels: { 'projectcalico.org/namespace': 'x' } },
  ],
  ['NetworkSet', 's', { nets: ['example.com'] }, 'spec.nets[0]'],
  ['NetworkSet', 's', { nets: ['10.0.0.0/8', '10.0.0.0/8'] }, 'spec.nets[1]'],
  ['IPPool', 'p', { cidr: '10.65.0.1/16' }, 'spec.cidr'],
  ['IPPool', 'p', { cidr: '10.65.0.0/28', blockSize: 26 }, 'spec.cidr'],
  ['IPPool', 'p', { cidr: '10.65.0.0/16', blockSize: 33 }, 'spec.blockSize'],
  ['IPPool', 'p', { cidr: '10.65.0.0/16', ipipMode: 'Always', vxlanMode: 'Always' }, 'spec.vxlanMode'],
  ['IPPool', 'p', { cidr: 'fd00::/64', ipipMode: 'Always' }, 'spec.ipipMode'],
  ['IPPool', 'p', { cidr: '169.254.0.0/20' }, 'spec.cidr'],
  ['IPPool', 'p', {}, 'spec.cidr'],
  ['IPPool', 'p', { cidr: '10.65.0.0/16', allowedUses: ['LoadBalancer', 'Workload'] }, 'spec.allowedUses'],
  ['IPPool', 'p', { cidr: '10.65.0.0/16', namespaceSelector: 'all()' }, 'spec.namespaceSelector'],
  ['IPReservation', 'r', { reservedCIDRs: ['10.65.0.0/40'] }, 'spec.reservedCIDRs[0]'],
  ['IPReservation', 'r', { reservedCIDRs: ['host1'] }, 'spec.reservedCIDRs[0]'],
  ['BGPConfiguration', 'node.n1', { asNumber: 1 }, 'spec.asNumber'],
  [
    'BGPConfiguration',
    'default',
    { nodeToNodeMeshEnabled: false, nodeMeshPassword: { secretKeyRef: { name: 'a', key: 'b' } } },
    'spec.nodeMeshPassword',
  ],
  [
    'BGPConfiguration',
    'default',
    { communities: [{ name: 'a', value: '70000:1' }], prefixAdvertisements: [{ cidr: '10.0.0.0/8' }] },
    'spec.communities[0].value',
  ],
  ['BGPConfiguration', 'default', { communities: [{ name: 'a', value: '1:1' }] }, 'spec.communities'],
  ['BGPConfiguration', 'default', { ignoredInterfaces: ['*'] }, 'spec.ignoredInterfaces[0]'],
  ['BGPConfiguration', 'other', {}, 'metadata.name'],
  ['BGPPeer', 'p', { node: 'n1', nodeSelector: 'all()' }, 'spec.nodeSelector'],
  ['BGPPeer', 'p', { peerIP: '10.0.0.1', peerSelector: 'all()' }, 'spec.peerSelector'],
  ['BGPPeer', 'p', { peerSelector: 'all()', asNumber: 65001 }, 'spec.asNumber'],
  ['BGPPeer', 'p', { peerIP: '10.0.0.1', reachableBy: 'fd00::1' }, 'spec.reachableBy'],
  ['BGPPeer', 'p', { peerIP: '10.0.0.1:0' }, 'spec.peerIP'],
  ['BGPPeer', 'p', { peerIP: 'fd00::1:179x' }, 'spec.peerIP'],
  ['BGPPeer', 'p', { peerIP: '10.0.0.1', maxRestartTime: 10 }, 'spec.maxRestartTime'],
  ['BGPPeer', 'p', { localWorkloadSelector: 'all()' }, 'spec.asNumber'],
  ['BGPFilter', 'f', { exportV4: [{ cidr: '10.0.0.0/8', action: 'Accept' }] }, 'spec.exportV4[0].matchOperator'],
  ['BGPFilter', 'f', { exportV4: [{ prefixLength: { min: 8 }, action: 'Accept' }] }, 'spec.exportV4[0].prefixLength'],
  ['BGPFilter', 'f', { exportV4: [{ matchOperator: 'In', action: 'Accept' }] }, 'spec.exportV4[0].cidr'],
  [
    'BGPFilter',
    'f',
    { exportV4: [{ action: 'Reject', operations: [{ setPriority: { value: 1 } }] }] },
    'spec.exportV4[0].operations',
  ],
  ['BGPFilter', 'f', { exportV4: [{ action: 'Accept', operations: [{}] }] }, 'spec.exportV4[0].operations[0]'],
  [
    'BGPFilter',
    'f',
    { exportV4: [{ cidr: 'fd00::/8', matchOperator: 'In', action: 'Accept' }] },
    'spec.exportV4[0].cidr',
  ],
  ['FelixConfiguration', 'default', { defaultEndpointToHostAction: 'Allow' }, 'spec.defaultEndpointToHostAction'],
  [
    'FelixConfiguration',
    'default',
    { routeTableRange: {}, routeTableRanges: [{ min: 1, max: 2 }] },
    'spec.routeTableRange',
  ],
  ['FelixConfiguration', 'default', { natOutgoingAddress: 'fd00::1' }, 'spec.natOutgoingAddress'],
  ['FelixConfiguration', 'default', { reportingInterval: 10 }, 'spec.reportingInterval'],
  ['FelixConfiguration', 'node.n1', { nodeSelector: 'all()' }, 'spec.nodeSelector'],
  // What no rule could say: the field's default holds instead.
  ['FelixConfiguration', 'default', { interfacePrefix: 'cali,abcdefghijklmno' }, 'spec.interfacePrefix'],
  ['FelixConfiguration', 'default', { natPortRange: '60000:70000' }, 'spec.natPortRange'],
  ['FelixConfiguration', 'default', { natPortRange: '500:100' }, 'spec.natPortRange'],
  [
    'FelixConfiguration',
    'default',
    { iptablesNATOutgoingInterfaceFilter: 'eth0 -j ACCEPT' },
    'spec.iptablesNATOutgoingInterfaceFilter',
  ],
  ['FelixConfiguration', 'default', { mtuIfacePattern: 'eth(' }, 'spec.mtuIfacePattern'],
  ['FelixConfiguration', 'default', { logActionRateLimit: '0/second' }, 'spec.logActionRateLimit'],
  ['FelixConfiguration', 'default', { logActionRateLimit: '99999/second' }, 'spec.logActionRateLimit'],
  ['FelixConfiguration', 'default', { logActionRateLimitBurst: 'ten' }, 'spec.logActionRateLimitBurst'],
  ['ClusterInformation', 'other', {}, 'metadata.name'],
  ['CalicoNodeStatus', 's', { node: 'n', classes: ['BGP'] }, 'spec.updatePeriodSeconds'],
  ['CalicoNodeStatus', 's', { node: 'n', classes: ['CPU'], updatePeriodSeconds: 1 }, 'spec.classes[0]'],
  ['CalicoNodeStatus', 's', { node: 'n', classes: ['BGP'], updatePeriodSeconds: 100000 }, 'spec.updatePeriodSeconds'],
  ['KubeControllersConfiguration', 'other', {}, 'metadata.name'],
  ['IPAMConfiguration', 'default', { maxBlocksPerHost: -1 }, 'spec.maxBlocksPerHost'],
  ['BlockAffinity', 'b', { state: 'maybe' }, 'spec.state'],
];

describe('each kind', () => {
  test.each(valid)('%s %s is accepted', (...[kind, name, spec, metadata]: Valid) => {
    const resource = make(kind, name, spec, metadata);
    const prepared = prepare(resource);
    expect(prepared.ok ? '' : describeErrors(prepared.error)).toBe('');
    expect(unknownFields(resource)).toEqual([]);
    // What was filled in is valid, too, and filling in again changes nothing.
    if (!prepared.ok) return;
    expect(validate(prepared.value, 'read')).toEqual([]);
    expect(prepare(prepared.value)).toEqual(prepared);
  });

  test.each(invalid)('%s %s %j is refused at %s', (...[kind, name, spec, field, metadata]: Invalid) => {
    const prepared = prepare(make(kind, name, spec, metadata));
    expect(prepared.ok).toBe(false);
    if (!prepared.ok) expect(prepared.error.map((e) => e.field)).toContain(field);
  });

  test('has a valid example here', () => {
    expect(new Set(valid.map(([kind]) => kind))).toEqual(new Set(KIND_NAMES));
  });

  test('has names of its own', () => {
    const words = KIND_NAMES.flatMap((kind) => [KINDS[kind].plural, KINDS[kind].singular, ...KINDS[kind].shortNames]);
    expect(new Set(words).size).toBe(words.length);
    expect(kindOfWord('GNP')).toBe('GlobalNetworkPolicy');
    expect(kindOfWord('endpoints')).toBe('WorkloadEndpoint');
    expect(kindOfWord('gadget')).toBeNull();
  });
});

/** kind, name, spec: refused on write, read nevertheless, because older releases let it pass. */
const tolerated: Valid[] = [
  ['Node', 'n', { addresses: [{ address: '10.0.0.11/24', type: 'InternalIP' }] }],
  ['Node', 'n', {}, { labels: { k: 'bad value' } }],
  ['GlobalNetworkPolicy', 'p', { selector: `a == '${'x'.repeat(1024)}'` }],
  ['GlobalNetworkPolicy', 'p', { types: ['Ingress', 'Ingress'] }],
  ['GlobalNetworkPolicy', 'a.b.c', {}],
  ['NetworkSet', 's', { nets: ['10.0.0.1/8'] }],
];
test.each(tolerated)('%s %s is refused on write and tolerated on read', (...[kind, name, spec, metadata]: Valid) => {
  const resource = make(kind, name, spec, metadata);
  expect(prepare(resource).ok).toBe(false);
  expect(validate(resource, 'read')).toEqual([]);
});

describe('defaults on write', () => {
  const filled = (kind: Kind, spec: object, name = 'x') => {
    const prepared = prepare(make(kind, name, spec));
    if (!prepared.ok) throw new Error(describeErrors(prepared.error));
    return prepared.value;
  };

  test('of pools, tiers, policies and endpoints are those of the client', () => {
    expect(filled('IPPool', { cidr: '10.65.0.0/16' }).spec).toEqual({
      cidr: '10.65.0.0/16',
      blockSize: 26,
      ipipMode: 'Never',
      vxlanMode: 'Never',
      nodeSelector: 'all()',
      allowedUses: ['Workload', 'Tunnel'],
      assignmentMode: 'Automatic',
    });
    expect(filled('IPPool', { cidr: 'FD00:65:0::/48' }).spec).toMatchObject({ cidr: 'fd00:65::/48', blockSize: 122 });
    expect(filled('Tier', {}).spec).toEqual({ order: 1_000_000, defaultAction: 'Deny' });
    expect(filled('Tier', {}, 'kube-baseline').spec).toEqual({ order: 10_000_000, defaultAction: 'Pass' });
    const egress = [{ action: 'Allow' }];
    expect(filled('NetworkPolicy', {}).spec).toEqual({ tier: 'default', types: ['Ingress'] });
    expect(filled('NetworkPolicy', { egress }).spec).toMatchObject({ types: ['Egress'] });
    expect(filled('NetworkPolicy', { egress, ingress: egress }).spec).toMatchObject({ types: ['Ingress', 'Egress'] });
    expect(filled('GlobalNetworkPolicy', { tier: 'sec' }).metadata.labels).toEqual({ 'projectcalico.org/tier': 'sec' });
    expect(filled('StagedNetworkPolicy', {}).spec).toMatchObject({ stagedAction: 'Set' });
    expect(filled('StagedNetworkPolicy', { stagedAction: 'Delete' }).spec).toEqual({
      stagedAction: 'Delete',
      tier: 'default',
    });
    const wep = filled('WorkloadEndpoint', endpoint, '');
    expect(wep.metadata).toEqual({
      name: WEP,
      namespace: 'default',
      labels: { 'projectcalico.org/namespace': 'default', 'projectcalico.org/orchestrator': 'cni' },
    });
  });

  test('the stored text has the envelope of the ecosystem', () => {
    const policy = filled('NetworkPolicy', {}, 'web');
    policy.metadata.resourceVersion = '7';
    expect(encodeResource(policy)).toBe(
      '{"kind":"NetworkPolicy","apiVersion":"projectcalico.org/v3","metadata":{"name":"web","namespace":"default","labels":{"projectcalico.org/tier":"default"},' +
        '"annotations":{"projectcalico.org/metadata":"{\\"name\\":\\"web\\"}"}},"spec":{"tier":"default","types":["Ingress"]}}',
    );
  });

  test('a misspelt field is found wherever it stands, with the word that is near', () => {
    const resource = make('NetworkPolicy', 'x', {
      selectr: 'all()',
      ingress: [{ action: 'Allow', source: { netz: [] } }],
    });
    expect(unknownFields(resource)).toEqual([
      { field: 'spec.selectr', message: `is not a field; is 'selector' meant?` },
      { field: 'spec.ingress[0].source.netz', message: `is not a field; is 'nets' meant?` },
    ]);
  });
});
