import { describe, expect, test } from 'vitest';
import type { AnyResource } from '#datastore';
import { type Chain, createPolicyEngine, DEFAULT_RENDER_CONFIG, type Table } from '#policy';
import { resource, updateOf } from '../../../scenarios/scenario.ts';

/** A node whose chains are kept by table and name, as the kernel would have them in IPv4. */
function node(config = {}) {
  const engine = createPolicyEngine({ node: 'here', config: { ...DEFAULT_RENDER_CONFIG, ...config } });
  const chains = new Map<string, Chain>();
  const flush = () => {
    for (const { family, table, name, chain } of engine.flush().chains) {
      if (family !== 4) continue;
      if (chain) chains.set(`${table} ${name}`, chain);
      else chains.delete(`${table} ${name}`);
    }
  };
  const change = (isThere: boolean) => (value: AnyResource) => {
    engine.onUpdate(updateOf(value, isThere));
    flush();
  };
  return {
    add: change(true),
    remove: change(false),
    actions: (name: string, table: Table = 'filter') =>
      chains.get(`${table} ${name}`)?.rules.map(({ action }) => action),
    names: (prefix: string) => [...chains.keys()].filter((key) => key.startsWith(`filter ${prefix}`)),
  };
}

const policy = (name: string, spec: object = {}) =>
  resource('GlobalNetworkPolicy', name, {
    ...{ tier: 'default', selector: 'all()', types: ['Ingress'], ingress: [{ action: 'Allow' }] },
    ...spec,
  });
const workload = resource('WorkloadEndpoint', 'a/w', {
  ...{ node: 'here', orchestrator: 'k8s', endpoint: 'eth0' },
  ...{ interfaceName: 'cali1', ipNetworks: ['10.0.0.1/32'] },
});
const host = resource('HostEndpoint', 'h', { node: 'here', interfaceName: 'eth0', expectedIPs: ['192.0.2.1'] });

describe('policies that a workload and a host endpoint share', () => {
  test.each([
    ['host endpoint', host, 'cali-tw-cali1'],
    ['workload', workload, 'cali-fh-eth0'],
  ] as const)('stand for the other when the %s goes', (_what, gone, left) => {
    const { add, remove, actions, names } = node();
    for (const value of [policy('p1'), policy('p2'), workload, host]) add(value);
    const [group] = names('cali-gi-').map((key) => key.split(' ')[1]);
    const both = ['p1', 'p2'].map((name) => ({ do: 'jump', chain: `cali-pi-gnp/${name}` }));
    expect(actions(group)).toEqual(both);
    remove(gone);
    expect(actions(left)).toContainEqual({ do: 'jump', chain: group });
    expect(actions(group)).toEqual(both);
  });
});

describe('a run of very many policies', () => {
  const jumpsOf = (actions: ReturnType<ReturnType<typeof node>['actions']>, prefix: string) =>
    (actions ?? []).flatMap((action) =>
      action.do === 'jump' && action.chain.startsWith(prefix) ? [action.chain] : [],
    );

  test('stands in several groups that no command takes long to write, each policy once and in order, and for two endpoints once', () => {
    const { add, remove, actions, names } = node();
    const numbers = Array.from({ length: 1200 }, (_, n) => String(n).padStart(4, '0'));
    const other = { ...workload, metadata: { ...workload.metadata, name: 'v' } } as typeof workload;
    for (const value of [workload, ...numbers.map((n) => policy(`p${n}`))]) add(value);
    add({ ...other, spec: { ...other.spec, interfaceName: 'cali2' } } as AnyResource);
    const groups = jumpsOf(actions('cali-tw-cali1'), 'cali-gi-');
    expect(groups).toHaveLength(3);
    expect(jumpsOf(actions('cali-tw-cali2'), 'cali-gi-')).toEqual(groups);
    const policies = groups.map((group) => jumpsOf(actions(group), 'cali-pi-'));
    expect(policies.flat()).toEqual(numbers.map((n) => `cali-pi-gnp/p${n}`));
    expect(Math.max(...policies.map(({ length }) => length))).toBeLessThanOrEqual(500);

    // By another selector it selects the same: the list of policies is as it was, its groups are not.
    add(policy('p0001', { selector: 'all() || has(x)' }));
    const now = jumpsOf(actions('cali-tw-cali1'), 'cali-');
    expect(now.slice(0, 2)).toEqual(['cali-pi-gnp/p0000', 'cali-pi-gnp/p0001']);
    expect(now.slice(2).flatMap((group) => jumpsOf(actions(group), 'cali-pi-'))).toHaveLength(1198);
    remove(workload);
    expect(names('cali-pi-')).toHaveLength(1200);
    remove(other);
    expect(names('cali-pi-')).toEqual([]);
    expect(names('cali-gi-')).toEqual([]);
  });
});

describe('the end of a tier', () => {
  const tier = (name: string) => resource('Tier', name, { order: 1 });

  test('stands once for all endpoints that have a policy of it, and goes with the last', () => {
    const { add, remove, actions, names } = node();
    for (const value of [tier('first'), workload, policy('first.p', { tier: 'first' }), policy('p')]) add(value);
    expect(names('cali-end-').sort()).toEqual(['filter cali-end-default', 'filter cali-end-first']);
    expect(actions('cali-tw-cali1')).toEqual([
      { do: 'jump', chain: 'cali-pi-gnp/first.p' },
      { do: 'return' },
      { do: 'goto', chain: 'cali-end-first' },
      { do: 'jump', chain: 'cali-next-tier' },
      { do: 'jump', chain: 'cali-pi-gnp/p' },
      { do: 'return' },
      { do: 'goto', chain: 'cali-end-default' },
      { do: 'goto', chain: 'cali-no-verdict' },
    ]);
    add(policy('first.q', { tier: 'first' }));
    remove(policy('first.p', { tier: 'first' }));
    expect(actions('cali-end-first')).toEqual([{ do: 'drop' }]);
    remove(policy('first.q', { tier: 'first' }));
    expect(names('cali-end-')).toEqual(['filter cali-end-default']);
    expect(names('cali-next-tier')).toEqual([]);
    add(policy('first.q', { tier: 'first' }));
    expect(actions('cali-end-first')).toEqual([{ do: 'drop' }]);
  });

  test('rejects where packets are rejected, and drops in tables that have no REJECT', () => {
    const { add, actions } = node({ filterDenyAction: 'Reject' });
    for (const value of [workload, host, policy('p')]) add(value);
    expect(actions('cali-end-default')).toEqual([{ do: 'reject', with: 'icmp-port-unreachable' }]);
    expect(actions('cali-no-verdict')).toEqual([{ do: 'reject', with: 'icmp-port-unreachable' }]);
    add(policy('out', { types: ['Egress'], ingress: undefined, egress: [{ action: 'Allow' }] }));
    // Egress of a host endpoint for packets that were forwarded stands in mangle.
    expect(actions('cali-end-default', 'mangle')).toEqual([{ do: 'drop' }]);
  });
});
