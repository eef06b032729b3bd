import { describe, expect, test } from 'vitest';
import {
  clusterManifests,
  endpointManifest,
  entryOf,
  expected,
  ipamEntries,
  planLab,
  planWorkload,
} from '../../../deploy/lab/index.ts';
import { matrixText } from '../../../deploy/lab/show.ts';

const NOW = new Date('2026-03-01T09:30:00Z');

describe('the plan of a lab', () => {
  test('two labs share no namespace', () => {
    const names = (name: string) => {
      const { fabric, etcd, tor, office, nodes, workloads } = planLab({ name });
      return [fabric, ...[etcd, tor, office, ...nodes, ...workloads].map((host) => host.netns)];
    };
    expect(names('a').filter((one) => names('b').includes(one))).toEqual([]);
    expect(new Set(names('a')).size).toBe(names('a').length);
  });
  test('interface names are those of the CNI plugin: cali and 11 characters', () => {
    for (const { interfaceName } of planLab().workloads) expect(interfaceName).toMatch(/^cali[0-9a-f]{11}$/);
  });
  test('no two workloads of a node have one name, whatever app and order they come in', () => {
    const { nodes } = planLab();
    for (const apps of [
      ['web', 'web', 'web'],
      ['client', 'client', 'web', 'client'],
      ['web', 'client', 'client', 'web'],
    ]) {
      const names = apps.map((app, at) => planWorkload('lab', nodes[0], app, at + 1).name);
      expect(new Set(names).size).toBe(names.length);
    }
    expect(planLab({ nodes: 1 }).workloads.map(({ name }) => name)).toEqual(['web-1', 'client-1']);
  });
  test('a name that would not fit a namespace is refused', () => {
    expect(() => planLab({ name: '../x' })).toThrow('lab name');
    expect(() => planWorkload('lab', planLab().nodes[0], 'web', 63)).toThrow('no address left');
  });
});

describe('what the lab writes to etcd', () => {
  const plan = planLab({ tor: { sessions: 'separate' } });
  const [node] = plan.nodes;
  const local = plan.workloads.filter((w) => w.node === node.name);

  test('keys are those of Calico', () => {
    const keys = clusterManifests(plan).map((manifest) => entryOf(manifest, 'u', NOW).key);
    const prefix = '/calico/resources/v3/projectcalico.org';
    expect(keys).toContain(`${prefix}/globalnetworkpolicies/web`);
    expect(keys).toContain(`${prefix}/bgppeers/tor-node-2`);
    expect(entryOf(endpointManifest(local[0], '00:11:22:33:44:55'), 'u', NOW).key).toBe(
      `${prefix}/workloadendpoints/default/node--1-cni-${local[0].containerId}-eth0`,
    );
  });
  test('a block lists each ordinal once, in use or free, and its sequence numbers keep their digits', () => {
    const entries = ipamEntries(node, local, NOW);
    expect(entries.map(({ key }) => key)).toContain(`/calico/ipam/v2/host/node-1/ipv6/block/fd00:65:0:1::-122`);
    const text = entries.find(({ key }) => key === '/calico/ipam/v2/assignment/ipv4/block/10.65.1.0-26')?.value ?? '';
    expect(text).toContain('"sequenceNumber":1772357400000000002');
    const block = JSON.parse(text);
    const used = block.allocations.flatMap((a: number | null, ordinal: number) => (a === null ? [] : [ordinal]));
    expect(used).toEqual([1, 2]);
    expect([...used, ...block.unallocated].sort((a, b) => a - b)).toEqual(Array.from({ length: 64 }, (_, i) => i));
  });
});

describe('who may reach whom', () => {
  test('as the sample policy says', () => {
    expect(expected({ app: 'client' }, { app: 'web' })).toBe(true);
    expect(expected({ app: 'web' }, { app: 'web' })).toBe(false);
    expect(expected({}, { app: 'web' })).toBe(true);
    expect(expected({}, { app: 'client' })).toBe(false);
    expect(expected({ app: 'web' }, {})).toBe(true);
  });
  test('what is not as expected stands out', () => {
    const cell = { from: 'a', to: 'b', why: '' };
    const text = matrixText([
      { ...cell, family: 4, expected: true, seen: true },
      { ...cell, family: 6, expected: false, seen: true },
      { ...cell, from: 'b', to: 'a', family: 4, expected: false, seen: false },
      { ...cell, from: 'b', to: 'a', family: 6, expected: true, seen: false },
    ]);
    expect(
      text
        .split('\n')
        .slice(1, 4)
        .map((line) => line.trim().replaceAll(/ +/g, ' ')),
    ).toEqual(['a b', 'a - 4!', 'b .! -']);
    expect(text).toContain('2 not as expected');
  });
});
