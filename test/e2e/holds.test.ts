import { existsSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import {
  createWorkload,
  Daemon,
  endpointManifest,
  type Lab,
  type LabNode,
  planWorkload,
  runIn,
  settledMatrix,
  startProbe,
  waitFor,
} from '../../deploy/lab/index.ts';
import { expectNoLoss, FAMILIES, kernelText, startFlows, useLab, waitReach } from './use-lab.ts';

/** What must not go wrong: crashes, a datastore that is away or wrong, strangers in the kernel, workloads that lie. */

const lab = useLab('ho', { nodes: 2 });

const PAIRS = [
  ['client-1', 'web-2'],
  ['client-2', 'web-1'],
] as const;

interface Status {
  ready: boolean;
  datastore: { state: string };
}
const status = async (node: LabNode) => (await node.ctl(['node', 'status'])) as Status;
const inSync = (node: LabNode) =>
  waitFor(`${node.name} to be in sync`, async () => {
    const { datastore } = await status(node);
    return datastore.state === 'in-sync' || datastore.state;
  });

/** A policy that shuts `web-1`'s clients out: its effect shows that the datastore is followed. */
const SHUT = {
  kind: 'GlobalNetworkPolicy',
  name: 'shut',
  spec: { order: 1, selector: "app == 'web'", types: ['Ingress'], ingress: [{ action: 'Deny', protocol: 'TCP' }] },
};
async function datastoreIsFollowed(lab: Lab): Promise<void> {
  await lab.put(SHUT);
  for (const [from, to] of PAIRS) await waitReach(lab, from, to, false);
  await lab.remove(SHUT);
  for (const [from, to] of PAIRS) await waitReach(lab, from, to, true);
}

/** RTNLGRP_IPV4_ROUTE and RTNLGRP_IPV6_ROUTE as the bits of /proc/net/netlink. */
const ROUTE_GROUPS = 0x440;

/**
 * Watches the main tables of a machine until stopped; gives what changed, one line each. It is there when the kernel has it in the groups, and it is stopped
 * when it has said what is waited for.
 */
async function watchRoutes(lab: Lab, host: string): Promise<(said?: readonly string[]) => Promise<string>> {
  const name = `monitor-${host}`;
  const daemon = await Daemon.start(lab.state, {
    name,
    netns: lab.host(host).netns,
    command: ['ip', 'monitor', 'route'],
  });
  const { pid } = daemon.record;
  const isListening = () =>
    readFileSync(`/proc/${pid}/net/netlink`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/ +/))
      .some(
        ([, , port, groups]) => Number(port) === pid && (Number.parseInt(groups, 16) & ROUTE_GROUPS) === ROUTE_GROUPS,
      );
  await daemon.waitFor('the watcher of routes to be told of them', () => isListening() || 'not yet');
  const before = lab.state.logText(name).length;
  const text = () => lab.state.logText(name).slice(before);
  return async (said = []) => {
    await daemon.waitFor('what has happened to routes', () => said.every((one) => text().includes(one)) || text());
    await daemon.stop('SIGKILL');
    return text();
  };
}

/** Packets counted by the agent's rules, the one that accepts established flows included: a rule that is written anew counts from zero. */
const packets = async (node: LabNode): Promise<number> => {
  const ours = /^\[(\d+):\d+\] -A .*(?:"cali:|--ctstatus NONE)/gm;
  const rules = (await node.run(['iptables-save', '-c', '-t', 'filter'])).matchAll(ours);
  return [...rules].reduce((sum, [, count]) => sum + Number(count), 0);
};

interface Session {
  state: string;
}
interface Learned {
  prefix: string;
  stale: boolean;
}
/** All sessions of node-1 are up, and its routes are confirmed: one more restart before that would be one too many for those who keep them (RFC 4724 §4.2). */
const isHeardAgain = () =>
  waitFor('node-1 to be heard again by node-2 and BIRD', async () => {
    const other = lab().node('node-2');
    const sessions = [...((await other.ctl(['bgp', 'peers'])) as Session[]), ...(await lab().tor.sessions())];
    const stale = ((await other.ctl(['bgp', 'routes'])) as Learned[]).filter((route) => route.stale);
    const down = sessions.filter(({ state }) => state !== 'Established');
    return down.length + stale.length === 0 || JSON.stringify([down, stale.map(({ prefix }) => prefix)]);
  });

describe('an agent that is killed', () => {
  test('and started again under running flows loses no packet and changes no route, here or there; the router loses none', async () => {
    await settledMatrix(lab());
    const node = lab().node('node-1');
    const before = await kernelText(node);
    const flows = await startFlows(lab(), [...PAIRS, ['office', 'web-1'], ['client-1', 'office']]);
    const monitors = await Promise.all(['node-1', 'node-2', 'tor'].map((host) => watchRoutes(lab(), host)));
    const counted = await packets(node);
    await node.kill();
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    await node.start();
    await node.ready();
    await waitFor('BIRD to have its session again', async () => {
      const down = (await lab().tor.sessions()).filter((s) => s.state !== 'Established');
      return down.length === 0 || JSON.stringify(down);
    });
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const changes = await Promise.all(monitors.map((stop) => stop()));
    expectNoLoss(await flows.stop(), 500);
    expect(changes.slice(0, 2)).toEqual(['', '']);
    // The router may spread over fewer paths while one is stale; no prefix leaves it.
    expect(changes[2]).not.toContain('Deleted');
    expect(await kernelText(node)).toBe(before);
    expect(await packets(node)).toBeGreaterThan(counted);
    await datastoreIsFollowed(lab());
  });

  test('or told to write another packet filter loses no packet either, and takes no route from anybody', async () => {
    const node = lab().node('node-1');
    const flows = await startFlows(lab(), [...PAIRS, ['office', 'web-1'], ['client-1', 'office']]);
    const monitors = await Promise.all(['node-1', 'node-2', 'tor'].map((host) => watchRoutes(lab(), host)));
    const configuration = { kind: 'FelixConfiguration', name: 'node.node-1' } as const;
    const ours = async () => {
      if ((await node.run(['iptables-save'])).includes('cali-')) return 'iptables';
      await node.ready();
      return 'nftables';
    };
    const until = (wanted: string) =>
      waitFor(`rules of node-1 in ${wanted}`, async () => {
        const now = await ours();
        return now === wanted || now;
      });
    await until('iptables');
    await lab().put({ ...configuration, spec: { nftablesMode: 'Enabled' } });
    await until('nftables');
    await datastoreIsFollowed(lab());
    await isHeardAgain();
    await lab().remove(configuration);
    await until('iptables');
    await node.ready();
    await isHeardAgain();
    const changes = await Promise.all(monitors.map((stop) => stop()));
    expectNoLoss(await flows.stop(), 100);
    for (const text of changes) expect(text).not.toContain('Deleted');
  });

  test('leaves its workloads closed to what they were closed to', async () => {
    const node = lab().node('node-1');
    await node.kill();
    await waitReach(lab(), 'web-2', 'web-1', false);
    await waitReach(lab(), 'client-2', 'web-1', true);
    await node.start();
    await node.ready();
  });
});

describe('etcd', () => {
  afterEach(async () => {
    await lab().etcd.recover();
    for (const [a, b] of await lab().cuts()) await lab().heal(a, b);
    for (const node of lab().nodes) await inSync(node);
  });
  const notFollowed = (node: LabNode) =>
    waitFor(`${node.name} to say that it does not follow the datastore`, async () => {
      const { datastore } = await status(node);
      return datastore.state !== 'in-sync' || datastore.state;
    });

  test('stopped for 20 s and back: nothing is lost meanwhile, and it is followed again', async () => {
    const flows = await startFlows(lab(), PAIRS);
    const before = await Promise.all(lab().nodes.map(kernelText));
    await lab().etcd.stop();
    for (const node of lab().nodes) await notFollowed(node);
    await new Promise((resolve) => setTimeout(resolve, 20_000));
    expect(await Promise.all(lab().nodes.map(kernelText))).toEqual(before);
    await lab().etcd.start();
    await datastoreIsFollowed(lab());
    expectNoLoss(await flows.stop(), 3_000);
  });

  test('frozen and back: noticed, nothing is lost meanwhile, and it is followed again', async () => {
    const flows = await startFlows(lab(), PAIRS);
    const before = await Promise.all(lab().nodes.map(kernelText));
    lab().etcd.freeze();
    try {
      for (const node of lab().nodes) await notFollowed(node);
      expect(await Promise.all(lab().nodes.map(kernelText))).toEqual(before);
    } finally {
      lab().etcd.thaw();
    }
    await datastoreIsFollowed(lab());
    expectNoLoss(await flows.stop(), 1_000);
  });

  test('compacted while a node is cut off: it takes a fresh snapshot and forgets what is gone', async () => {
    const node = lab().node('node-1');
    const leaving = await lab().addWorkload('node-1');
    await waitReach(lab(), 'client-2', leaving.name, true);
    await lab().cut('node-1', 'etcd');
    await notFollowed(node);
    await lab().removeWorkload(leaving.name);
    await lab().put(SHUT);
    await lab().etcd.compact();
    await lab().heal('node-1', 'etcd');
    await waitFor('the endpoint that left to be forgotten', async () => {
      const text = await kernelText(node);
      return !text.includes(leaving.interfaceName) || 'its interface is still named';
    });
    await waitReach(lab(), 'client-2', 'web-1', false);
    await lab().remove(SHUT);
    await waitReach(lab(), 'client-2', 'web-1', true);
  });
});

describe('a wrong object', () => {
  const RESOURCES = '/calico/resources/v3/projectcalico.org';
  const pwned = `/tmp/tsnet-e2e-${process.pid}`;
  const policy = (name: string, spec: object) =>
    JSON.stringify({ kind: 'GlobalNetworkPolicy', apiVersion: 'projectcalico.org/v3', metadata: { name }, spec });
  const evil = `evil$(touch ${pwned});\n-A FORWARD -j ACCEPT`;
  /** What it is called in the report, and what is wrong. */
  const WRONG = [
    {
      named: 'torn',
      key: `${RESOURCES}/globalnetworkpolicies/torn`,
      value: '{"kind":"GlobalNetworkPolicy","spec":{"sel',
    },
    {
      named: 'bad-selector',
      key: `${RESOURCES}/globalnetworkpolicies/bad-selector`,
      value: policy('bad-selector', {
        selector: 'app ==',
        order: 1,
        types: ['Ingress'],
        ingress: [{ action: 'Deny' }],
      }),
    },
    {
      named: 'frobnicators',
      key: `${RESOURCES}/frobnicators/one`,
      value: '{"kind":"Frobnicator","metadata":{"name":"one"}}',
    },
    {
      named: 'evil$(touch',
      key: `${RESOURCES}/globalnetworkpolicies/${evil}`,
      value: policy(evil, { selector: 'all()', order: 1, types: ['Ingress'], ingress: [{ action: 'Allow' }] }),
    },
    {
      named: 'bad-interface',
      key: `${RESOURCES}/workloadendpoints/default/node--1-cni-bad-interface`,
      value: JSON.stringify({
        kind: 'WorkloadEndpoint',
        apiVersion: 'projectcalico.org/v3',
        metadata: { name: 'node--1-cni-bad-interface', namespace: 'default' },
        spec: {
          orchestrator: 'cni',
          node: 'node-1',
          containerID: 'bad',
          endpoint: 'interface',
          interfaceName: `x;touch ${pwned}`,
          ipNetworks: ['10.65.1.50/32'],
        },
      }),
    },
  ];

  test('is reported by name, in the log and by tsnetctl, and everything else goes on', async () => {
    const node = lab().node('node-1');
    const logged = node.logText().length;
    await lab().putEntries(WRONG.map(({ key, value }) => ({ key, value })));
    for (const { named } of WRONG) {
      await waitFor(`the log to name ${named}`, () => node.logText().slice(logged).includes(named) || 'not yet');
      await waitFor(`tsnetctl to name ${named}`, async () => {
        const text = (await node.tsnetctl(['node', 'status', '-o', 'json'])).stdout;
        return text.includes(named) || text;
      });
    }
    await datastoreIsFollowed(lab());
    await settledMatrix(lab());
    const rules = await kernelText(node);
    expect(rules).not.toContain('touch');
    expect(rules).not.toMatch(/^-A FORWARD -j ACCEPT$/m);
    expect(existsSync(pwned)).toBe(false);
    for (const { key } of WRONG) await lab().etcd.delete(key);
    await waitFor('tsnetctl to name none of them', async () => {
      const text = (await node.tsnetctl(['node', 'status', '-o', 'json'])).stdout;
      return !WRONG.some(({ named }) => text.includes(named)) || text;
    });
  });
});

describe('a stranger', () => {
  const damaged = async (node: LabNode, what: string, commands: readonly string[]) => {
    const before = await kernelText(node);
    for (const command of commands) await node.run(command.split(' '));
    const after = await kernelText(node);
    expect(after, `${what} has an effect`).not.toBe(before);
    await waitFor(`${what} to be repaired`, async () => (await kernelText(node)) === before || 'not yet', {
      timeout: 60_000,
    });
  };
  const chainsOf = async (node: LabNode, pattern: RegExp) =>
    [...(await node.run(['iptables-save', '-t', 'filter'])).matchAll(/^:(\S+)/gm)]
      .map(([, name]) => name)
      .filter((n) => pattern.test(n));

  test('who deletes our routes sees them come back', async () => {
    const node = lab().node('node-1');
    const [web] = lab().workloads;
    const before = await kernelText(node);
    const stop = await watchRoutes(lab(), 'node-1');
    for (const command of [
      `ip route del ${web.addresses[0]}`,
      `ip -6 route del ${web.addresses[1]}`,
      'ip route del blackhole 10.65.1.0/26 proto 80',
      'ip route del 10.65.2.0/26',
      'ip -6 route del fd00:65:0:2::/122',
    ])
      await node.run(command.split(' '));
    await waitFor('the routes to be as before', async () => (await kernelText(node)) === before || 'not yet');
    // They may be back before anybody looks: that they were gone is in the kernel's own account.
    const gone = [...web.addresses, 'blackhole 10.65.1.0/26', '10.65.2.0/26', 'fd00:65:0:2::/122'];
    const seen = await stop(gone.map((route) => `Deleted ${route}`));
    for (const route of gone) expect(seen).toContain(`Deleted ${route}`);
  });

  test('who flushes our chains, removes our hooks or opens our chains is undone', async () => {
    const node = lab().node('node-1');
    await lab().put({
      kind: 'FelixConfiguration',
      name: 'default',
      spec: { iptablesRefreshInterval: '2s', ipsetsRefreshInterval: '2s', routeRefreshInterval: '2s' },
    });
    const [chain] = await chainsOf(node, /^cali-tw-/);
    await damaged(node, 'a flushed chain', [`iptables -F ${chain}`]);
    await damaged(node, 'an opened chain', [`iptables -I ${chain} -j ACCEPT`, `ip6tables -I ${chain} -j ACCEPT`]);
    await damaged(node, 'a flushed FORWARD chain', ['iptables -F FORWARD', 'ip6tables -F FORWARD']);
    const [set] = (await node.run(['ipset', 'list', '-n'])).split('\n').filter((name) => name.startsWith('cali4'));
    await damaged(node, 'a flushed set', [`ipset flush ${set}`]);
    await settledMatrix(lab());
  });
});

describe('a workload', () => {
  test('cannot send from an address that is not its own', async () => {
    const client = lab().host('client-1');
    const fake = ['10.65.99.99', 'fd00:65:0:99::99'];
    await runIn(client.netns, ['ip', 'addr', 'add', `${fake[0]}/32`, 'dev', 'eth0']);
    await runIn(client.netns, ['ip', 'addr', 'add', `${fake[1]}/128`, 'dev', 'eth0', 'nodad']);
    for (const [, at] of FAMILIES) {
      const send = (from: string) =>
        lab()
          .probe('client-1')
          .ask('udp', { to: lab().plan.office.addresses[at], port: 8081, from, count: 10, timeout: 1_000 });
      expect(await send(client.addresses[at])).toEqual({ answered: 10, why: '' });
      expect(await send(fake[at])).toEqual({ answered: 0, why: 'timeout' });
      const heard = await lab().probe('office').ask('heard', {});
      expect(heard[client.addresses[at]]).toBeGreaterThanOrEqual(10);
      expect(heard[fake[at]]).toBeUndefined();
    }
  });

  test('whose interface no endpoint names passes nothing, in either direction', async () => {
    const node = lab().node('node-1');
    const unknown = planWorkload(lab().plan.name, node.plan, 'web', 20);
    lab().state.saveWorkload(unknown);
    await createWorkload(unknown, node.plan);
    await startProbe(lab().state, unknown);
    const settings = ['net.ipv4.conf', 'net.ipv6.conf'].map((tree) => `${tree}.${unknown.interfaceName}.forwarding=1`);
    await node.run(['sysctl', '-qw', ...settings, `net.ipv4.conf.${unknown.interfaceName}.proxy_arp=1`]);
    for (const address of unknown.addresses)
      await node.run(['ip', 'route', 'add', address, 'dev', unknown.interfaceName]);
    await waitReach(lab(), unknown.name, 'office', false);
    await waitReach(lab(), 'client-1', unknown.name, false);
    // The same with an endpoint passes: it was the endpoint that was missing, and nothing else.
    await lab().put(endpointManifest(unknown, '02:00:00:00:00:20'));
    await waitReach(lab(), unknown.name, 'office', true);
    await waitReach(lab(), 'client-1', unknown.name, true);
    await lab().removeWorkload(unknown.name);
  });
});
