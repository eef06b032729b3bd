import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Addr, addr } from '#core';
import type { AnyResource } from '#datastore';
import { allocateMarks, NO_FACTS, type Packet, type RenderConfig } from '#policy';
import {
  ACTORS,
  actorHere,
  HOST_ACTOR,
  HOST_LINKS,
  LINK_ADDRESSES,
  resource,
  resourcesOnOneNode,
} from '../../scenarios/index.ts';
import { addressBytes } from './datagram.ts';
import { listenToLog } from './nflog.ts';
import { makeRouter, type Plugged, type Router, type Shot, VARIANTS } from './router.ts';

/** What rules do besides policy: translate, refuse forged and encapsulated packets, count. */

const PLUGGED: Plugged[] = [...ACTORS.values()].map((one) => ({
  actor: one,
  link: HOST_LINKS[one.name] ?? `cali${one.name}`,
}));
const FLOATING = { 4: '172.16.0.5', 6: 'fd99::5' } as const;
const SERVICE = { 4: '10.96.0.9', 6: 'fd96::9' } as const;
const FORGED = { 4: '10.65.0.9', 6: 'fd00:65::99' } as const;
const POOLS = ['10.65.0.0/24', 'fd00:65::/64'];

/** The web workload with more said of it, in the place of the cast's. */
function web(spec: object): AnyResource {
  const { workload = '' } = actorHere('web');
  const found = resourcesOnOneNode({ name: '', resources: [], probes: [] }).find(
    ({ metadata }) => `${metadata.namespace}/${metadata.name}` === workload,
  );
  if (found?.kind !== 'WorkloadEndpoint') throw new TypeError('web is not in the cast');
  return resource('WorkloadEndpoint', workload, { ...found.spec, ...spec }, found.metadata.labels);
}

const sameAddress = (a: string | undefined, b: string): boolean =>
  a !== undefined && addressBytes(a).equals(addressBytes(b));

describe.each(VARIANTS)('%s', (variant) => {
  let router: Router;
  beforeAll(async () => {
    router = await makeRouter(variant, PLUGGED, HOST_ACTOR.addresses);
    router.engine.setHostInterfaces(Object.entries(LINK_ADDRESSES).map(([name, addresses]) => ({ name, addresses })));
    for (const net of ['10.96.0.0/16', 'fd96::/64'])
      router.namespace.sh(
        `ip route add ${net} via ${net.includes(':') ? '2001:db8:bad::10' : '192.0.2.10'} dev eth0 onlink`,
      );
  });
  afterAll(() => router?.close());
  beforeEach(() => router.engine.setFacts(NO_FACTS));

  const become = (config: Partial<RenderConfig> = {}, ...resources: AnyResource[]) =>
    router.become(resourcesOnOneNode({ name: '', resources, probes: [] }), config);

  const shot = (from: string, to: string, family: 4 | 6, packet: Partial<Packet> = {}): Shot => ({
    from,
    to,
    packet: {
      source: actorHere(from).addresses[family],
      destination: actorHere(to).addresses[family],
      protocol: 17,
      sourcePort: 40_000,
      destinationPort: 80,
      ...packet,
    },
  });
  const one = async (what: Shot, expected = true) => (await router.fire([what], [expected]))[0];

  describe.each([4, 6] as const)('IPv%i', (family) => {
    const facts = { ...NO_FACTS, pools: POOLS.map((cidr) => ({ cidr, natOutgoing: true })) };
    const own = (name: string): Addr => actorHere(name).addresses[family];

    test('what leaves all pools has the address of the host; what stays keeps its own', async () => {
      await become();
      expect(sameAddress((await one(shot('web', 'out', family)))?.source, own('web'))).toBe(true);
      router.engine.setFacts(facts);
      await become();
      for (const protocol of [6, 17])
        expect(sameAddress((await one(shot('web', 'out', family, { protocol })))?.source, own('host'))).toBe(true);
      expect(sameAddress((await one(shot('web', 'db', family)))?.source, own('web'))).toBe(true);
      expect(sameAddress((await one(shot('out', 'office', family)))?.source, own('out'))).toBe(true);
    });

    test.runIf(family === 4)('translation to an address of choice', async () => {
      router.engine.setFacts(facts);
      await become({
        nat: { excludeHosts: false, randomFully: true, outgoingAddress: '192.0.2.99', portRange: [1000, 1999] },
      });
      for (const protocol of [6, 17, 1])
        expect((await one(shot('web', 'out', family, { protocol, icmpType: 8, icmpCode: 0 })))?.source).toBe(
          '192.0.2.99',
        );
    });

    test('source ports of choice, and only what leaves by interfaces of choice', async () => {
      router.engine.setFacts(facts);
      await become({ nat: { excludeHosts: false, randomFully: true, portRange: [1000, 1099] } });
      for (const protocol of [6, 17]) {
        const came = await one(shot('web', 'out', family, { protocol }));
        expect(sameAddress(came?.source, own('host'))).toBe(true);
        expect(came?.sourcePort).toBeGreaterThanOrEqual(1000);
        expect(came?.sourcePort).toBeLessThan(1100);
      }
      await become({ nat: { excludeHosts: false, randomFully: true, outInterface: HOST_LINKS.office } });
      expect(sameAddress((await one(shot('web', 'out', family)))?.source, own('web'))).toBe(true);
      expect(sameAddress((await one(shot('web', 'office', family)))?.source, own('host'))).toBe(true);
    });

    test('hosts of the cluster may be excluded from translation', async () => {
      router.engine.setFacts({ ...facts, hosts: [own('office')] });
      await become({ nat: { excludeHosts: true, randomFully: true } });
      expect(sameAddress((await one(shot('web', 'office', family)))?.source, own('web'))).toBe(true);
      expect(sameAddress((await one(shot('web', 'out', family)))?.source, own('host'))).toBe(true);
    });

    test('a floating address leads to its workload, from outside and from that workload itself', async () => {
      const ipNATs = [{ internalIP: own('web'), externalIP: FLOATING[family] }];
      const to = { destination: addr(FLOATING[family]) };
      await become({ floatingIps: true }, web({ ipNATs }));
      expect(sameAddress((await one(shot('out', 'web', family, to)))?.source, own('out'))).toBe(true);
      expect(sameAddress((await one(shot('db', 'web', family, to)))?.source, own('db'))).toBe(true);
      expect(sameAddress((await one(shot('web', 'web', family, to)))?.source, FLOATING[family])).toBe(true);
      await become({ floatingIps: false }, web({ ipNATs }));
      expect(await one(shot('out', 'web', family, to), false)).toBeUndefined();
    });

    test('a packet to a service that nobody serves does not go back to the router it came from', async () => {
      const to = { destination: addr(SERVICE[family]) };
      await become();
      expect(await one(shot('office', 'out', family, to))).toBeDefined();
      router.engine.setFacts({ ...NO_FACTS, serviceCidrs: ['10.96.0.0/16', 'fd96::/64'] });
      for (const serviceLoopPrevention of ['Drop', 'Reject'] as const) {
        await become({ serviceLoopPrevention });
        expect(await one(shot('office', 'out', family, to), false)).toBeUndefined();
        expect(await one(shot('office', 'web', family))).toBeDefined();
      }
      await become({ serviceLoopPrevention: 'Disabled' });
      expect(await one(shot('office', 'out', family, to))).toBeDefined();
    });

    test('a workload sends from its own addresses, and from those that it may forge where that counts', async () => {
      const from = { source: addr(FORGED[family]) };
      const allowed = web({ allowSpoofedSourcePrefixes: ['10.65.0.8/30', 'fd00:65::98/126'] });
      await become();
      expect(await one(shot('web', 'out', family, from), false)).toBeUndefined();
      expect(await one(shot('web', 'out', family, { source: own('db') }), false)).toBeUndefined();
      await become({}, allowed);
      expect(await one(shot('web', 'out', family, from), false)).toBeUndefined();
      await become({ workloadSourceSpoofing: 'Any' }, allowed);
      expect(await one(shot('web', 'out', family, from))).toBeDefined();
      expect(await one(shot('web', 'out', family, { source: own('db') }), false)).toBeUndefined();
      expect(await one(shot('db', 'out', family, from), false)).toBeUndefined();
    });

    test('workloads send no tunnel packets, unless they may', async () => {
      const vxlan = shot('web', 'out', family, { destinationPort: 4789 });
      const ipip = shot('web', 'out', family, { protocol: 4, sourcePort: undefined, destinationPort: undefined });
      await become();
      expect(await one(vxlan, false)).toBeUndefined();
      expect(await one(ipip, false)).toBeUndefined();
      await become({ allowVxlanFromWorkloads: true });
      expect(await one(vxlan)).toBeDefined();
      expect(await one(ipip, false)).toBeUndefined();
      await become({ allowIpipFromWorkloads: true });
      expect(await one(vxlan, false)).toBeUndefined();
      expect(await one(ipip)).toBeDefined();
    });

    test.each(['ingress', 'egress'] as const)('packets per second, %s', async (direction) => {
      const [from, to] = direction === 'ingress' ? ['out', 'web'] : ['web', 'out'];
      const limited = web({ qosControls: { [`${direction}PacketRate`]: 1, [`${direction}PacketBurst`]: 10 } });
      await become({}, limited);
      const shots = Array.from({ length: 50 }, () => shot(from, to, family));
      const came = (
        await router.fire(
          shots,
          shots.map((_, i) => i < 10),
        )
      ).filter(Boolean).length;
      expect(came).toBeGreaterThanOrEqual(10);
      // One more for each second that this has taken.
      expect(came).toBeLessThan(20);
      await become();
      expect(
        (
          await router.fire(
            shots,
            shots.map(() => true),
          )
        ).filter(Boolean).length,
      ).toBe(50);
    });

    test.each(['ingress', 'egress'] as const)('connections at a time, %s', async (direction) => {
      const far = direction === 'ingress' ? 'out' : 'db';
      const [from, to] = direction === 'ingress' ? [far, 'web'] : ['web', far];
      await become({}, web({ qosControls: { [`${direction}MaxConnections`]: 3 } }));
      const shots = Array.from({ length: 8 }, (_, i) =>
        shot(from, to, family, { protocol: 6, sourcePort: 41_000 + i }),
      );
      const came = await router.fire(
        shots,
        shots.map((_, i) => i < 3),
      );
      expect(came.map((arrival) => arrival !== undefined)).toEqual(shots.map((_, i) => i < 3));
    });

    test('packets of a workload that leave the cluster get its code point', async () => {
      router.engine.setFacts({ ...facts, hosts: [own('office')] });
      for (const [dscp, value] of [
        ['EF', 46],
        ['af21', 18],
        ['CS5', 40],
        [7, 7],
      ] as const) {
        await become({}, web({ qosControls: { dscp } }));
        expect((await one(shot('web', 'out', family)))?.dscp).toBe(value);
      }
      expect((await one(shot('web', 'office', family)))?.dscp).toBe(0);
      expect((await one(shot('web', 'db', family)))?.dscp).toBe(0);
      expect((await one(shot('db', 'out', family)))?.dscp).toBe(0);
      expect((await one(shot('out', 'web', family)))?.dscp).toBe(0);
      await become();
      expect((await one(shot('web', 'out', family)))?.dscp).toBe(0);
    });

    test('a Log rule tells tier, policy and rule of as many packets as its rate allows, and the packets go on', async () => {
      const group = 100 + family;
      const policy = resource('NetworkPolicy', 'prod/watched', {
        selector: 'all()',
        types: ['Ingress'],
        ingress: [{ action: 'Deny', protocol: 'TCP' }, { action: 'Log', protocol: 'UDP' }, { action: 'Allow' }],
      });
      const log = listenToLog(group);
      await become({ log: { prefix: 'calico-packet', group, rate: { perSecond: 1 / 3600, burst: 3 } } }, policy);
      const shots = Array.from({ length: 10 }, () => shot('out', 'web', family));
      const came = await router.fire(
        shots,
        shots.map(() => true),
      );
      expect(came.filter(Boolean)).toHaveLength(10);
      const told = log.prefixes();
      log.close();
      expect(told).toEqual(Array(3).fill('calico-packet default/prod/watched 1: '));
    });

    test('what the host sends through the tunnel has the address of the tunnel', async () => {
      const [device, tunnel] = family === 4 ? ['vxlan.calico', '10.65.9.0'] : ['vxlan-v6.calico', 'fd00:65:9::'];
      router.namespace.sh(`ip link set ${HOST_LINKS.office} name ${device}
        ip addr add ${tunnel}/${family === 4 ? 32 : 128} dev ${device} ${family === 6 ? 'nodad' : ''}`);
      const sent = (from: 'host' | 'web', source = own(from)) => one(shot(from, 'office', family, { source }));
      await become();
      expect(sameAddress((await sent('host'))?.source, own('host'))).toBe(true);
      await become({ vxlan: true });
      expect(sameAddress((await sent('host'))?.source, tunnel)).toBe(true);
      expect(sameAddress((await sent('host', addr(tunnel)))?.source, tunnel)).toBe(true);
      expect(sameAddress((await sent('web'))?.source, own('web'))).toBe(true);
      // The address stays: with its last one an interface would lose its routes.
      router.namespace.sh(`ip link set ${device} name ${HOST_LINKS.office}`);
    });

    test('the node takes VXLAN from nodes it knows, and no other', async () => {
      const vxlan = { destinationPort: 4789 };
      router.engine.setFacts({ ...NO_FACTS, vxlanHosts: [own('office')] });
      await become({ vxlan: true });
      expect(await one(shot('office', 'host', family, vxlan))).toBeDefined();
      expect(await one(shot('out', 'host', family, vxlan), false)).toBeUndefined();
      expect(await one(shot('out', 'host', family, { destinationPort: 4790 }))).toBeDefined();
      await become({ vxlan: false });
      expect(await one(shot('out', 'host', family, vxlan))).toBeDefined();
    });

    test('policy of a host endpoint does not come between the node and the VXLAN of nodes it knows', async () => {
      const [overlay, other] = [{ destinationPort: 4789 }, { destinationPort: 4790 }];
      router.engine.setFacts({ ...NO_FACTS, vxlanHosts: [own('out')] });
      const closed = resource('HostEndpoint', 'h0', { node: 'node-a', interfaceName: 'eth0' });
      for (const vxlan of [true, false]) {
        await become({ vxlan }, closed);
        for (const [from, to] of [
          ['host', 'out'],
          ['out', 'host'],
        ] as const) {
          expect((await one(shot(from, to, family, overlay), vxlan)) !== undefined).toBe(vxlan);
          expect(await one(shot(from, to, family, other), false)).toBeUndefined();
        }
      }
    });

    test.each(['Drop', 'Accept', 'Return', 'Reject'] as const)(
      'what workloads send to their node: %s',
      async (endpointToHostAction) => {
        const passes = endpointToHostAction === 'Accept' || endpointToHostAction === 'Return';
        await become({ endpointToHostAction });
        expect((await one(shot('web', 'host', family), passes)) !== undefined).toBe(passes);
        // Without these IPv6 does not work at all, so no policy is asked for them.
        await become({ endpointToHostAction }, resource('GlobalNetworkPolicy', 'p', { types: ['Ingress', 'Egress'] }));
        expect(await one(shot('web', 'host', family), false)).toBeUndefined();
        const icmp = (icmpType: number) =>
          shot('web', 'host', family, { protocol: family === 6 ? 58 : 1, icmpType, icmpCode: 0 });
        for (const type of [130, 131, 132, 133, 136])
          expect([type, (await one(icmp(type), family === 6)) !== undefined]).toEqual([type, family === 6]);
        expect(await one(icmp(family === 6 ? 128 : 8), false)).toBeUndefined();
      },
    );

    test('where nobody has an address of the family nothing of a workload passes but neighbour discovery; with the first address policy decides', async () => {
      const isOther = (net: string) => net.includes(':') !== (family === 6);
      /** Everybody here, with addresses of the other family alone. */
      const without = resourcesOnOneNode({ name: '', resources: [], probes: [] }).map((one) =>
        one.kind === 'WorkloadEndpoint'
          ? { ...one, spec: { ...one.spec, ipNetworks: one.spec.ipNetworks?.filter(isOther) } }
          : one,
      );
      const linkLocal = { source: addr(family === 6 ? 'fe80::77' : '169.254.77.77') };
      router.namespace.sh(`ip route replace ${linkLocal.source} dev caliweb`);
      const shots = [shot('web', 'out', family), shot('out', 'web', family), shot('web', 'db', family)];
      const toHost = [shot('web', 'host', family), shot('web', 'host', family, linkLocal)];
      const other = family === 6 ? 4 : 6;
      const passes = async (what: readonly Shot[], expected: boolean) => {
        const came = await router.fire(
          what,
          what.map(() => expected),
        );
        expect(came.map((arrival) => arrival !== undefined)).toEqual(what.map(() => expected));
      };
      await router.become(without);
      await passes([...shots, ...toHost], false);
      await passes([shot('web', 'out', other), shot('out', 'web', other)], true);
      const solicitation = shot('web', 'host', family, { protocol: 58, icmpType: 135, icmpCode: 0, ...linkLocal });
      if (family === 6) await passes([solicitation, shot('host', 'web', family)], true);
      await router.become(without, { endpointToHostAction: 'Accept' });
      await passes(toHost, true);
      // The first address is somebody else's; the rules of everybody stand with it.
      const db = resourcesOnOneNode({ name: '', resources: [], probes: [] }).find(({ metadata }) =>
        metadata.name.includes('-db-'),
      );
      await router.become(without.map((one) => (one.metadata.name === db?.metadata.name ? db : one)));
      await passes(shots, true);
      await passes(toHost, false);
      await router.become(without);
      await passes([...shots, ...toHost], false);
    });

    test('other bits of the mark do as well, and the bits of somebody else stay', async () => {
      const marks = allocateMarks(0x1f0);
      if (!marks.ok) throw new Error(marks.error);
      const nets = [own('out'), own('office'), own('db')].map((a) => `${a}/${family === 4 ? 32 : 128}`);
      const many = resource('NetworkPolicy', 'prod/p', {
        selector: "app == 'web'",
        types: ['Ingress'],
        ingress: [
          {
            action: 'Allow',
            protocol: 'UDP',
            source: { nets, notNets: [nets[1]], ports: [...Array(20).keys()].map((i) => 40_000 + 2 * i) },
            destination: { ports: [80, 81] },
          },
        ],
      });
      await become({ marks: marks.value }, many);
      for (const [from, packet, passes] of [
        ['out', {}, true],
        ['db', {}, true],
        ['office', {}, false],
        ['out', { destinationPort: 82 }, false],
        ['out', { sourcePort: 40_001 }, false],
        ['out', { sourcePort: 40_038, destinationPort: 81 }, true],
      ] as const)
        expect([from, packet, (await one(shot(from, 'web', family, packet), passes)) !== undefined]).toEqual([
          from,
          packet,
          passes,
        ]);
    });

    describe.runIf(variant !== 'nftables')('beside the rules of somebody else', () => {
      const tool = `${family === 4 ? 'iptables' : 'ip6tables'}-${variant === 'iptables-legacy' ? 'legacy' : 'nft'} -w`;
      const closed = resource('NetworkPolicy', 'prod/p', { selector: "app == 'web'", types: ['Ingress'] });
      const his = (rule: string) => {
        router.namespace.sh(`${tool} -A FORWARD ${rule}`);
        return () => void router.namespace.sh(`${tool} -D FORWARD ${rule}`);
      };

      test('ours come first, or last where chainInsertMode says so', async () => {
        for (const [chainInsertMode, passes] of [
          ['insert', false],
          ['append', true],
        ] as const) {
          await become();
          const undo = his('-j ACCEPT');
          // The jump is put where it belongs whatever came in between.
          await become({ chainInsertMode }, closed);
          expect((await one(shot('out', 'web', family), passes)) !== undefined).toBe(passes);
          undo();
          await become();
        }
      });

      test('what policy allows is allowed, or goes on to them where iptablesFilterAllowAction says so', async () => {
        for (const [filterAllowAction, passes] of [
          ['Accept', true],
          ['Return', false],
        ] as const) {
          await become({ filterAllowAction });
          const undo = his('-j DROP');
          expect((await one(shot('out', 'web', family), passes)) !== undefined).toBe(passes);
          undo();
        }
      });
    });

    test('packets of a host whose endpoint says a code point get it', async () => {
      const host = resource('HostEndpoint', 'h0', {
        node: 'node-a',
        interfaceName: 'eth0',
        expectedIPs: [own('host')],
      });
      host.metadata.annotations = { 'qos.projectcalico.org/dscp': 'AF41' };
      const open = resource('GlobalNetworkPolicy', 'p', { types: ['Egress'], egress: [{ action: 'Allow' }] });
      await become({}, host, open);
      expect((await one(shot('host', 'out', family)))?.dscp).toBe(34);
      expect((await one(shot('web', 'out', family)))?.dscp).toBe(0);
    });

    describe('a service that somebody else translates', () => {
      const iptables = `${family === 4 ? 'iptables' : 'ip6tables'}-${variant === 'iptables-legacy' ? 'legacy' : 'nft'} -w -t nat`;
      const port = (number: number) => ({ protocol: 6, destination: addr(SERVICE[family]), destinationPort: number });
      const at = (name: string, number: number) =>
        family === 4 ? `${own(name)}:${number}` : `[${own(name)}]:${number}`;
      const link = (name: string) =>
        resource('HostEndpoint', name, { node: 'node-a', interfaceName: name }, { host: name });
      const deny = (direction: 'Ingress' | 'Egress', ports: number[], spec: object = {}) =>
        resource('GlobalNetworkPolicy', 'p', {
          selector: 'has(host)',
          types: [direction],
          [direction.toLowerCase()]: [{ action: 'Deny', protocol: 'TCP', destination: { ports } }, { action: 'Allow' }],
          ...spec,
        });
      const preDNAT = { applyOnForward: true, preDNAT: true };
      const serve = (op: 'A' | 'D') =>
        router.namespace.sh(`set -e
          ${iptables} -${op} PREROUTING -d ${SERVICE[family]} -p tcp --dport 80 -j DNAT --to ${at('web', 8080)}
          ${iptables} -${op} OUTPUT -d ${SERVICE[family]} -p tcp --dport 80 -j DNAT --to ${at('office', 81)}`);
      beforeEach(() => {
        serve('A');
        return () => serve('D');
      });

      test('preDNAT policy sees the address before, forward policy the one after', async () => {
        const sent = shot('out', 'web', family, port(80));
        await become();
        expect(await one(sent)).toBeDefined();
        for (const [ports, spec, passes] of [
          [[80], preDNAT, false],
          [[8080], preDNAT, true],
          [[80], { applyOnForward: true }, true],
          [[8080], { applyOnForward: true }, false],
        ] as const) {
          await become({}, link('eth0'), deny('Ingress', [...ports], spec));
          expect([ports, spec, (await one(sent, passes)) !== undefined]).toEqual([ports, spec, passes]);
        }
      });

      test('what the host sends is judged by the interface and the port that it ends up with', async () => {
        const sent = shot('host', 'office', family, port(80));
        for (const [name, ports, passes] of [
          ['eth1', [81], false],
          ['eth1', [80], true],
          ['eth0', [80, 81], true],
        ] as const) {
          await become({}, link(name), deny('Egress', [...ports]));
          expect([name, ports, (await one(sent, passes)) !== undefined]).toEqual([name, ports, passes]);
        }
      });
    });

    test('what untracked policy accepts has no conntrack entry', async () => {
      const host = resource('HostEndpoint', 'h0', { node: 'node-a', interfaceName: 'eth0' }, { host: '' });
      const open = { selector: 'has(host)', applyOnForward: true, types: ['Ingress'], ingress: [{ action: 'Allow' }] };
      const entries = () =>
        Number(router.namespace.sh(`conntrack -L -f ipv${family} -p udp --dport 777 2>/dev/null | wc -l`));
      for (const doNotTrack of [false, true]) {
        await become({}, host, resource('GlobalNetworkPolicy', 'p', { ...open, doNotTrack }));
        expect(await one(shot('out', 'host', family, { destinationPort: 777 }))).toBeDefined();
        expect(entries()).toBe(doNotTrack ? 0 : 1);
      }
    });
  });
});
