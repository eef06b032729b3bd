import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createMetrics, realClock, silentLog } from '#core';
import { createPolicyEngine, DEFAULT_RENDER_CONFIG } from '#policy';
import { createRunner, type Runner } from '../../../agent/kernel/runner.ts';
import { PacketFilter } from '../../../agent/packet-filter.ts';
import { ChainReconciler } from '../../../agent/reconcile/chains.ts';
import { SetReconciler } from '../../../agent/reconcile/sets.ts';
import { enterNamespace, type Namespace } from '../namespace.ts';

/** Which backend is used, and that nothing of the one used before stays. */

let ns: Namespace;
let runner: Runner;
beforeAll(() => {
  ns = enterNamespace('filter');
  runner = createRunner({ log: silentLog });
});
const clean = () =>
  ns.sh(`nft flush ruleset; for t in iptables ip6tables; do for n in filter nat raw; do
    $t-legacy -t $n -F; $t-legacy -t $n -X; done; done; ipset destroy`);
afterEach(() => void clean());
afterAll(() => {
  runner?.close();
  ns?.leave();
});

type Kind = 'nft' | 'legacy' | 'nftables';
const KINDS: readonly Kind[] = ['nft', 'legacy', 'nftables'];

/** An agent's run: it writes its rules and a set, then takes leftovers away. */
async function run(kind: Kind, found: 'nft' | 'legacy' = 'nft'): Promise<void> {
  const parts = { runner, clock: realClock, log: silentLog };
  const filter = new PacketFilter({ ...parts, variant: found, onOther: () => expect.unreachable() });
  const dispatch = filter.choose(kind === 'nftables' ? 'Enabled' : 'Auto', kind === 'nftables' ? undefined : kind);
  const chains = new ChainReconciler({ ...parts, metrics: createMetrics(), backend: filter.rules, families: [4, 6] });
  const sets = new SetReconciler({ ...parts, metrics: createMetrics(), backend: filter.sets, maxElements: 100 });
  const engine = createPolicyEngine({
    node: 'n',
    config: { ...DEFAULT_RENDER_CONFIG, dispatch: dispatch === 'nftables' ? 'map' : 'tree' },
  });
  engine.setFacts({
    pools: [{ cidr: '10.65.0.0/16', natOutgoing: true }],
    hosts: [],
    vxlanHosts: [],
    serviceCidrs: [],
  });
  const changes = engine.flush();
  sets.update(changes.sets);
  chains.update(changes);
  expect((await sets.applyUpdates()).failures).toEqual([]);
  expect((await chains.apply()).failures).toEqual([]);
  for (let pass = 0; pass < 3; pass++) expect((await filter.removeLeftovers()).failures).toEqual([]);
}

const held = (): Record<Kind | 'ipset', boolean> => ({
  nft: FAMILIES.every((t) => ns.sh(`${t}-nft-save`).includes('cali-')),
  legacy: FAMILIES.every((t) => ns.sh(`${t}-legacy-save`).includes('cali-')),
  nftables: ns.sh('nft list tables').includes('tsnet'),
  ipset: ns.sh('ipset list -n').includes('cali40'),
});
const FAMILIES = ['iptables', 'ip6tables'];
const only = (kind: Kind) => ({ nft: false, legacy: false, nftables: false, ipset: kind !== 'nftables', [kind]: true });

test.each(KINDS.flatMap((from) => KINDS.filter((to) => to !== from).map((to) => [from, to] as const)))(
  'from %s to %s: what stands is the new one, and rules of others stay',
  async (from, to) => {
    await run(from);
    expect(held()).toEqual(only(from));
    ns.sh('iptables-legacy -A FORWARD -s 203.0.113.7 -j DROP; iptables-nft -A FORWARD -s 203.0.113.8 -j DROP');
    await run(to);
    expect(held()).toEqual(only(to));
    expect(ns.sh('iptables-legacy -S FORWARD')).toContain('203.0.113.7');
    expect(ns.sh('iptables-nft -S FORWARD')).toContain('203.0.113.8');
    for (const kind of ['nft', 'legacy'] as const)
      for (const tool of FAMILIES) expect(ns.sh(`${tool}-${kind}-save`).includes('cali')).toBe(kind === to);
  },
);
