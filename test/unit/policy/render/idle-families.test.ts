import { expect, test } from 'vitest';
import {
  type Chain,
  createPolicyEngine,
  DEFAULT_RENDER_CONFIG,
  NO_FACTS,
  type PolicyChanges,
  type PolicyEngine,
} from '#policy';
import { resource, updateOf } from '../../../scenarios/scenario.ts';

/** What stands after all answers: sets and rules of one family that ask a set. */
class Standing {
  readonly engine: PolicyEngine = createPolicyEngine({ node: 'here', config: DEFAULT_RENDER_CONFIG });
  readonly #sets = new Set<string>();
  readonly #chains = new Map<string, Chain>();

  flush(): PolicyChanges {
    const changes = this.engine.flush();
    for (const { family, owner, members } of changes.sets) this.#sets[members ? 'add' : 'delete'](`${family} ${owner}`);
    for (const { family, name, chain } of changes.chains)
      if (chain) this.#chains.set(`${family} ${name}`, chain);
      else this.#chains.delete(`${family} ${name}`);
    return changes;
  }
  sets(family: 4 | 6): string[] {
    return [...this.#sets].filter((set) => set.startsWith(`${family} `)).map((set) => set.slice(2));
  }
  chains(family: 4 | 6): Chain[] {
    const found = [...this.#chains].filter(([key]) => key.startsWith(`${family} `)).map(([, chain]) => chain);
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  }
  /** Names of chains of policies, profiles and workloads. */
  owned(family: 4 | 6): string[] {
    return this.chains(family).flatMap(({ name }) => (/^cali-(p[io]|pr[io]|g[io]|[tf]w)-/.test(name) ? [name] : []));
  }
  asking(family: 4 | 6): number {
    return this.chains(family)
      .flatMap(({ rules }) => rules)
      .filter(({ match }) => match.some((m) => 'set' in m)).length;
  }
}

const workload = (id: string, ...ipNetworks: string[]) =>
  resource(
    'WorkloadEndpoint',
    `a/${id}`,
    { node: 'here', orchestrator: 'k8s', endpoint: 'eth0', interfaceName: `cali${id}`, ipNetworks },
    { app: id },
  );
const netset = (...nets: string[]) => resource('GlobalNetworkSet', 'lb', { nets }, { lb: '' });
const host = resource('HostEndpoint', 'eth0', { node: 'here', interfaceName: 'eth0', expectedIPs: ['192.0.2.1'] });
const policy = resource('GlobalNetworkPolicy', 'p', {
  selector: 'all()',
  ingress: [
    { action: 'Allow', source: { selector: 'has(lb)' } },
    { action: 'Deny', source: { selector: "app == 'w'", notSelector: 'has(lb)' } },
  ],
});

test('a family that the node has no use of gets only sets with members, and rules that ask those', () => {
  const standing = new Standing();
  const { engine } = standing;
  for (const r of [workload('w', '10.0.0.1/32'), netset('192.0.2.0/24'), policy]) engine.onUpdate(updateOf(r));
  standing.flush();
  expect(standing.sets(4)).toHaveLength(2);
  expect(standing.asking(4)).toBe(2);
  expect(standing.sets(6)).toEqual([]);
  expect(standing.asking(6)).toBe(0);

  // Policy of a host endpoint is asked in every family, because its interface may have addresses that nobody wrote down.
  engine.onUpdate(updateOf(host));
  standing.flush();
  engine.onUpdate(updateOf(netset('192.0.2.0/24', '2001:db8::/32')));
  const first = standing.flush();
  expect(first.sets).toMatchObject([{ family: 6, members: { added: new Set(['2001:db8::/32']) } }]);
  expect(standing.sets(6)).toEqual(['has(lb)']);
  // The rule that denies asks another set too, which is still empty.
  expect(standing.asking(6)).toBe(1);

  engine.onUpdate(updateOf(netset('192.0.2.0/24')));
  standing.flush();
  expect(standing.sets(6)).toEqual([]);
  expect(standing.asking(6)).toBe(0);
});

test('where nothing of a workload passes no chain of one stands, and all of them with the first address of the family', () => {
  const standing = new Standing();
  const { engine } = standing;
  for (const r of [workload('w', '10.0.0.1/32'), workload('x', '10.0.0.2/32'), policy]) engine.onUpdate(updateOf(r));
  standing.flush();
  expect(standing.owned(4)).toEqual([
    'cali-fw-caliw',
    'cali-fw-calix',
    'cali-pi-gnp/p',
    'cali-tw-caliw',
    'cali-tw-calix',
  ]);
  expect(standing.owned(6)).toEqual([]);
  for (const root of ['cali-from-wl-dispatch', 'cali-to-wl-dispatch']) {
    const rules = standing.chains(6).find(({ name }) => name === root)?.rules ?? [];
    expect(rules.at(-1)).toMatchObject({ match: [], action: { do: 'drop' } });
    expect(rules.flatMap(({ action }) => (action.do === 'jump' || action.do === 'goto' ? [action.chain] : []))).toEqual(
      [],
    );
  }
  // An address more of an endpoint that is known, which leaves interface and everything else as it is.
  engine.onUpdate(updateOf(workload('w', '10.0.0.1/32', 'fd00::1/128')));
  standing.flush();
  expect(standing.owned(6)).toEqual(standing.owned(4));
  const fresh = new Standing();
  for (const r of [workload('w', '10.0.0.1/32', 'fd00::1/128'), workload('x', '10.0.0.2/32'), policy])
    fresh.engine.onUpdate(updateOf(r));
  fresh.flush();
  expect(standing.chains(6)).toEqual(fresh.chains(6));
  engine.onUpdate(updateOf(workload('w', '10.0.0.1/32')));
  standing.flush();
  expect(standing.owned(6)).toEqual([]);
});

test('chains of workloads stand where policy decides although nobody has an address of the family', () => {
  const standing = new Standing();
  const { engine } = standing;
  for (const r of [workload('w', '10.0.0.1/32'), policy]) engine.onUpdate(updateOf(r));
  for (const endpointToHostAction of ['Accept', 'Return', 'Reject'] as const) {
    engine.setConfig({ ...DEFAULT_RENDER_CONFIG, endpointToHostAction });
    standing.flush();
    expect(standing.owned(6)).toEqual(standing.owned(4));
    engine.setConfig(DEFAULT_RENDER_CONFIG);
    standing.flush();
    expect(standing.owned(6)).toEqual([]);
  }
  const { spec } = workload('w', '10.0.0.1/32');
  const spoofing = resource('WorkloadEndpoint', 'a/w', { ...spec, allowSpoofedSourcePrefixes: ['2001:db8::/64'] });
  engine.onUpdate(updateOf(spoofing));
  standing.flush();
  expect(standing.owned(6)).toEqual(standing.owned(4));
});

test.each([
  [
    'a pool',
    (engine: PolicyEngine, on: boolean) =>
      engine.setFacts({ ...NO_FACTS, pools: on ? [{ cidr: 'fd00::/48', natOutgoing: false }] : [] }),
  ],
  [
    'a local endpoint',
    (engine: PolicyEngine, on: boolean) => engine.onUpdate(updateOf(workload('six', 'fd00::1/128'), on)),
  ],
] as const)('%s of the family makes all sets and rules, and takes them away when it goes', (_, use) => {
  const standing = new Standing();
  const { engine } = standing;
  for (const r of [workload('w', '10.0.0.1/32'), policy]) engine.onUpdate(updateOf(r));
  standing.flush();
  expect([standing.sets(6).length, standing.asking(6)]).toEqual([0, 0]);
  use(engine, true);
  standing.flush();
  expect([standing.sets(6).length, standing.asking(6)]).toEqual([2, 2]);
  use(engine, false);
  standing.flush();
  expect([standing.sets(6).length, standing.asking(6)]).toEqual([0, 0]);
  expect([standing.sets(4).length, standing.asking(4)]).toEqual([2, 2]);
});
