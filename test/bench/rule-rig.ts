import { createHash } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { createMetrics, type Metrics, realClock, silentLog } from '#core';
import type { Update } from '#datastore';
import { createPolicyEngine, DEFAULT_RENDER_CONFIG, type PolicyEngine } from '#policy';
import { createIpset } from '../../agent/kernel/ipset/index.ts';
import { IpsetSocket } from '../../agent/kernel/ipset/socket.ts';
import { createIptables } from '../../agent/kernel/iptables.ts';
import { createNftables, NftSocket } from '../../agent/kernel/nftables/index.ts';
import { createNftSets } from '../../agent/kernel/nftables/sets.ts';
import { createRunner } from '../../agent/kernel/runner.ts';
import { ChainReconciler } from '../../agent/reconcile/chains.ts';
import { SetReconciler } from '../../agent/reconcile/sets.ts';
import type { WatchOptions } from '../../agent/reconcile/watch.ts';

export type Kind = 'nft' | 'legacy' | 'nftables';

/** Policy and the reconcilers of rules and sets in this process, over the kernel of a network namespace that nobody uses. */
export class RuleRig {
  readonly engine: PolicyEngine;
  readonly chains: ChainReconciler;
  readonly sets: SetReconciler;
  readonly filter: WatchOptions['filter'];
  readonly #policies: number;
  readonly #both: boolean;
  readonly #close: () => void;

  constructor(kind: Kind, { policies, both = true }: { policies: number; both?: boolean }) {
    refuseUsedNamespace();
    this.#policies = policies;
    this.#both = both;
    const runner = createRunner({ log: silentLog });
    const socket = new NftSocket();
    const ipset = new IpsetSocket(realClock);
    const metrics = (): Metrics => createMetrics();
    const parts = { clock: realClock, log: silentLog };
    const isNftables = kind === 'nftables';
    this.engine = createPolicyEngine({
      node: 'n',
      config: { ...DEFAULT_RENDER_CONFIG, dispatch: isNftables ? 'map' : 'tree' },
    });
    const rules = isNftables
      ? createNftables(socket)
      : createIptables({ runner, variant: kind, stay: process.env.STAY !== '0' });
    this.chains = new ChainReconciler({ ...parts, metrics: metrics(), backend: rules, families: [4, 6] });
    const backend = isNftables ? createNftSets(socket) : createIpset(ipset);
    this.sets = new SetReconciler({ ...parts, metrics: metrics(), backend, maxElements: 1 << 20 });
    this.filter = {
      news: { rules: kind !== 'legacy', sets: isNftables },
      isOurs: (pid, port) => runner.isOurs(pid) || socket.isOurs(port),
    };
    this.#close = () => {
      runner.close();
      socket.close();
      ipset.close();
    };
  }

  update(kind: string, id: string, spec: object, labels?: Record<string, string>): void {
    const [namespace, name] = id.includes('/') ? id.split('/') : [undefined, id];
    const value = { apiVersion: 'projectcalico.org/v3', kind, metadata: { name, namespace, labels }, spec };
    this.engine.onUpdate({ kind, id, revision: 1n, value } as unknown as Update);
  }
  endpoint(i: number): void {
    const interfaceName = `cali${createHash('sha1').update(String(i)).digest('hex').slice(0, 11)}`;
    const ipNetworks = [`10.65.${i >> 8}.${i & 255}/32`, ...(this.#both ? [`fd00:65::${i.toString(16)}/128`] : [])];
    const spec = { node: 'n', orchestrator: 'k8s', endpoint: 'eth0', interfaceName, ipNetworks };
    this.update('WorkloadEndpoint', `space/w-${i}`, spec, { app: `app-${i % (this.#policies / 2)}` });
  }
  /** Five rules, which are of IPv4, or where `anyFamily` of both. */
  policy(i: number, edit = 0, anyFamily = false): void {
    const ingress = [0, 1, 2, 3, 4].map((r) => ({
      action: 'Allow',
      protocol: 'TCP',
      ...(!anyFamily && { source: { nets: [`10.${r}.${edit & 255}.0/24`] } }),
      destination: { ports: [8000 + r] },
    }));
    this.update('GlobalNetworkPolicy', `p-${i}`, {
      selector: `app == 'app-${i % (this.#policies / 2)}'`,
      types: ['Ingress'],
      ingress,
    });
  }
  async apply(): Promise<number> {
    const changes = this.engine.flush();
    this.sets.update(changes.sets);
    this.chains.update(changes);
    const before = await this.sets.applyUpdates();
    const { written, failures } = await this.chains.apply();
    const after = await this.sets.applyRemovals();
    const refused = [...before.failures, ...failures, ...after.failures];
    if (refused.length > 0) throw new Error(JSON.stringify(refused));
    return written;
  }
  close(): void {
    this.#close();
  }
}

function refuseUsedNamespace(): void {
  const inUse = Object.keys(networkInterfaces()).filter((name) => name !== 'lo');
  if (inUse.length === 0) return;
  process.stderr.write(`bench: ${inUse.join(', ')} would be under these rules, which stay in force; use unshare -n\n`);
  process.exit(2);
}
