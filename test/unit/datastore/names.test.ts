import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { prefix } from '#core';
import {
  affinityKey,
  blockKey,
  decodeAffinity,
  decodeBlock,
  decodeHandle,
  decodeIpamConfig,
  encodeBlock,
  encodeHandle,
  encodeIpamConfig,
  handleKey,
  kindPrefix,
  parseAsNumber,
  parseDuration,
  parseKey,
  parseWorkloadEndpointName,
  resourceKey,
  workloadEndpointName,
  workloadEndpointPrefix,
} from '#datastore';

describe('keys', () => {
  test('are where Calico has them, and are read back', () => {
    expect(resourceKey('IPPool', 'default-ipv4-ippool')).toBe(
      '/calico/resources/v3/projectcalico.org/ippools/default-ipv4-ippool',
    );
    expect(resourceKey('NetworkPolicy', 'web', 'prod')).toBe(
      '/calico/resources/v3/projectcalico.org/networkpolicies/prod/web',
    );
    expect(kindPrefix('NetworkPolicy', 'prod')).toBe('/calico/resources/v3/projectcalico.org/networkpolicies/prod/');
    const cidr = prefix('10.65.3.64/26');
    const six = prefix('fd00:65::1c40/122');
    const owner = { type: 'host', name: 'node-1' } as const;
    expect(blockKey(cidr)).toBe('/calico/ipam/v2/assignment/ipv4/block/10.65.3.64-26');
    expect(blockKey(six)).toBe('/calico/ipam/v2/assignment/ipv6/block/fd00:65::1c40-122');
    expect(affinityKey(owner, cidr)).toBe('/calico/ipam/v2/host/node-1/ipv4/block/10.65.3.64-26');
    expect(parseKey(resourceKey('NetworkPolicy', 'web', 'prod'))).toEqual({
      type: 'resource',
      kind: 'NetworkPolicy',
      id: 'prod/web',
      name: 'web',
      namespace: 'prod',
    });
    expect(parseKey(blockKey(six))).toEqual({ type: 'block', id: six, cidr: six });
    expect(parseKey(affinityKey(owner, cidr))).toEqual({ type: 'affinity', id: `host:node-1/${cidr}`, owner, cidr });
    expect(parseKey(affinityKey({ type: 'virtual', name: 'load-balancer' }, six))).toMatchObject({
      id: `virtual:load-balancer/${six}`,
    });
    expect(parseKey(handleKey('net1.9f8e'))).toEqual({ type: 'handle', id: 'net1.9f8e' });
  });

  test.each([
    '/calico/resources/v3/projectcalico.org/ippools/a/b',
    '/calico/resources/v3/projectcalico.org/networkpolicies/web',
    '/calico/resources/v3/projectcalico.org/gadgets/g',
    '/calico/resources/v3/projectcalico.org/nodes/',
    '/calico/ipam/v2/assignment/ipv4/block/10.65.3.64',
    '/calico/ipam/v2/assignment/ipv4/block/10.65.3.65-26',
    '/calico/ipam/v2/host/n1',
    '/calico/v1/Ready',
    '/tsnet/v1/x',
    '',
  ])('%s is not one of the keys that mean something', (key) => {
    expect(parseKey(key)).toBeNull();
  });
});

describe('names of workload endpoints', () => {
  test.each([
    [{ node: 'node-1', orchestrator: 'k8s', pod: 'web-0', endpoint: 'eth0' }, 'node--1-k8s-web--0-eth0'],
    [{ node: 'n1', orchestrator: 'cni', containerID: '9f8e7d', endpoint: 'eth0' }, 'n1-cni-9f8e7d-eth0'],
    [{ node: 'n1', orchestrator: 'libnetwork', endpoint: 'ab12' }, 'n1-libnetwork-libnetwork-ab12'],
    [{ node: 'n1', orchestrator: 'openstack', workload: 'vm-7', endpoint: 'p0' }, 'n1-openstack-vm--7-p0'],
  ])('%j is %s', (identity, name) => {
    expect(workloadEndpointName(identity)).toEqual({ ok: true, value: name });
  });

  test('any segments come back', () => {
    const segment = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
    fc.assert(
      fc.property(segment, segment, segment, (node, workload, endpoint) => {
        const name = workloadEndpointName({ node, orchestrator: 'openstack', workload, endpoint });
        if (!name.ok) throw new Error(name.error.message);
        expect(parseWorkloadEndpointName(name.value)).toEqual({ node, orchestrator: 'openstack', workload, endpoint });
      }),
    );
  });

  test('a prefix ends where the identity does', () => {
    expect(workloadEndpointPrefix({ node: 'node-1' })).toBe('node--1-');
    expect(workloadEndpointPrefix({ node: 'node-1', orchestrator: 'k8s', pod: 'web-0' })).toBe('node--1-k8s-web--0-');
    expect(workloadEndpointPrefix({})).toBe('');
    expect(parseWorkloadEndpointName('a-b-c')).toBeNull();
  });
});

test.each([
  [65001, 65001],
  ['65001', 65001],
  ['1.10', 65546],
  [4294967295, 4294967295],
  [0, null],
  ['0', null],
  ['1.70000', null],
  [1.5, null],
  ['x', null],
  [4294967296, null],
])('AS number %s is %s', (text, number) => {
  const parsed = parseAsNumber(text);
  expect(parsed.ok ? parsed.value : null).toBe(number);
});

test.each([
  ['90s', 90_000],
  ['1m30s', 90_000],
  ['1.5h', 5_400_000],
  ['-2ms', -2],
  ['0', 0],
  ['.5s', 500],
  ['10', null],
  ['', null],
  ['s', null],
  ['1d', null],
  ['99999999h', null],
])('duration %s is %s ms', (text, ms) => {
  const parsed = parseDuration(text);
  expect(parsed.ok ? parsed.value : null).toBe(ms);
});

describe('values of IPAM', () => {
  const text =
    '{"cidr":"10.65.3.64/30","affinity":"host:node-1","allocations":[0,null,1,null],"unallocated":[3,1],' +
    '"attributes":[{"handle_id":"ipip-tunnel-addr-node-1","secondary":{"node":"node-1"}},{"handle_id":"net1.9f","secondary":null}],' +
    '"deleted":false,"future":{"x":9007199254740993},"affinity_claim_time":"2026-03-01T09:30:00Z",' +
    '"sequenceNumber":1772357400000000005,"sequenceNumberForAllocation":{"0":1772357400000000003,"2":1772357400000000004}}';

  test('a block comes back to the last digit, unknown fields included', () => {
    const block = decodeBlock(text);
    if (!block.ok) throw new Error(block.error);
    expect(block.value.sequenceNumber).toBe(1772357400000000005n);
    expect(encodeBlock(block.value)).toBe(text);
    block.value.affinity = null;
    block.value.sequenceNumber += 1n;
    expect(encodeBlock(block.value)).toContain('"affinity":null');
    expect(encodeBlock(block.value)).toContain('1772357400000000006');
  });

  test.each([
    ['{', 'not JSON'],
    [text.replace('[0,null,1,null]', '[0]'), 'allocations'],
    [text.replace('[0,null,1,null]', '[0,null,7,null]'), 'allocations'],
    [text.replace('[3,1]', '[4]'), 'unallocated'],
    [text.replace('10.65.3.64/30', '10.65.3.64/8'), 'cidr'],
    [text.replace('10.65.3.64/30', '10.0.0.0/8'), 'larger'],
    [text.replace('1772357400000000005', '1.5'), 'sequenceNumber'],
  ])('a block that breaks its own rules is refused: %#', (value, word) => {
    const block = decodeBlock(value);
    expect(block).toMatchObject({ ok: false, error: expect.stringContaining(word) });
  });

  test('affinities, handles and the configuration', () => {
    const owner = { type: 'host', name: 'n1' } as const;
    expect(decodeAffinity('', owner, '10.0.0.0/26')).toEqual({
      ok: true,
      value: { owner, cidr: '10.0.0.0/26', state: '' },
    });
    expect(decodeAffinity('{"state":"odd"}', owner, '10.0.0.0/26').ok).toBe(false);
    const handle = { block: { '10.65.3.64/26': 1 } };
    expect(encodeHandle(handle)).toBe('{"block":{"10.65.3.64/26":1},"deleted":false}');
    expect(decodeHandle(encodeHandle(handle))).toEqual({ ok: true, value: handle });
    expect(decodeIpamConfig(null)).toMatchObject({ value: { autoAllocateBlocks: true } });
    expect(decodeIpamConfig('{}')).toMatchObject({ value: { autoAllocateBlocks: false } });
    const config = { strictAffinity: true, autoAllocateBlocks: true, maxBlocksPerHost: 4, cooldownSeconds: 0 };
    expect(encodeIpamConfig(config)).toBe('{"strict_affinity":true,"auto_allocate_blocks":true,"maxBlocksPerHost":4}');
    expect(decodeIpamConfig(encodeIpamConfig(config))).toEqual({ ok: true, value: config });
  });
});
