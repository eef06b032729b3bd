import { expect, test } from 'vitest';
import type { Update } from '#datastore';
import { createPolicyEngine, DEFAULT_RENDER_CONFIG } from '#policy';

const update = (kind: string, id: string, metadata: object, spec: object | null): Update =>
  ({
    kind,
    id,
    revision: 1n,
    value: spec && { apiVersion: 'projectcalico.org/v3', kind, metadata, spec },
  }) as unknown as Update;
const workload = update(
  'WorkloadEndpoint',
  'a/w',
  { name: 'w', namespace: 'a' },
  { node: 'here', orchestrator: 'k8s', endpoint: 'eth0', interfaceName: 'cali1', ipNetworks: ['10.0.0.1/32'] },
);
const policy = update(
  'GlobalNetworkPolicy',
  'p',
  { name: 'p' },
  { ingress: [{ action: 'Allow', source: { selector: 'has(lb)' } }] },
);

test('updates go in, sets and chains come out, and nothing twice', () => {
  const engine = createPolicyEngine({ node: 'here', config: DEFAULT_RENDER_CONFIG });
  const start = engine.flush();
  expect(start.hooks).toBeDefined();
  expect(engine.flush()).toEqual({ sets: [], chains: [] });

  engine.onUpdate(workload);
  engine.onUpdate(policy);
  const on = engine.flush();
  expect(on.chains.map(({ name }) => name)).toContain('cali-tw-cali1');
  expect(on.sets.map((set) => [set.family, set.owner])).toEqual([[4, 'has(lb)']]);
  expect(on.chains.some(({ chain }) => chain?.rules.some((rule) => rule.match.some((m) => m.m === 'src-set')))).toBe(
    true,
  );
  expect(engine.flush()).toEqual({ sets: [], chains: [] });

  engine.onUpdate(update('GlobalNetworkSet', 's', { name: 's', labels: { lb: '' } }, { nets: ['192.0.2.0/24'] }));
  expect(engine.flush()).toEqual({
    sets: [expect.objectContaining({ family: 4, members: { added: new Set(['192.0.2.0/24']), removed: new Set() } })],
    chains: [],
  });

  engine.onUpdate({ ...workload, value: null } as Update);
  const off = engine.flush();
  expect(off.chains).toContainEqual(expect.objectContaining({ name: 'cali-tw-cali1', chain: null }));
  expect(off.sets.every((set) => set.members === null)).toBe(true);
});

test('settings are rendered at the next flush, the last of each only', () => {
  const engine = createPolicyEngine({ node: 'here', config: DEFAULT_RENDER_CONFIG });
  engine.onUpdate(workload);
  engine.flush();
  engine.setConfig({ ...DEFAULT_RENDER_CONFIG, filterDenyAction: 'Reject' });
  engine.setConfig(DEFAULT_RENDER_CONFIG);
  expect(engine.flush().chains).toEqual([]);
  engine.setConfig({ ...DEFAULT_RENDER_CONFIG, filterDenyAction: 'Reject' });
  engine.setHostInterfaces([{ name: 'eth0', addresses: ['10.9.9.9'] }]);
  expect(engine.flush().chains.some(({ chain }) => chain?.rules.some((rule) => rule.action.do === 'reject'))).toBe(
    true,
  );
  engine.setClosed(new Set(['WorkloadEndpoint/a/w']));
  expect(engine.flush().chains.length).toBeGreaterThan(0);
});
