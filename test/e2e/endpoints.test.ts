import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  attachInterface,
  createWorkload,
  detachInterface,
  endpointManifest,
  HOST_MAC,
  type LabNode,
  macOf,
  planWorkload,
  run,
  runIn,
  settledMatrix,
  startProbe,
  WORKLOAD_GATEWAYS,
  type WorkloadPlan,
  waitFor,
} from '../../deploy/lab/index.ts';
import { kernelText, routeOf, useLab, waitReach } from './use-lab.ts';

/** Endpoints of a node and their routes: however the interface comes and goes, and without a mark on what is not ours. */

const lab = useLab('ep', { nodes: 2, noDefaultRoute: ['node-2'] });

const prefixes = ({ addresses: [v4, v6] }: WorkloadPlan) => [`${v4}/32`, `${v6}/128`];

/** Both routes of the workload lead to the interface (or, without one, there are none). */
async function waitRoutes(node: LabNode, workload: WorkloadPlan, dev: string | null): Promise<void> {
  for (const prefix of prefixes(workload))
    await waitFor(`${prefix} on ${node.name} to ${dev ? `lead to ${dev}` : 'be gone'}`, async () => {
      const route = await routeOf(node, prefix);
      if (dev === null) return route === null || `is ${route}`;
      return (route?.includes(` dev ${dev} `) && route.includes('proto 80')) || `is ${route}`;
    });
}

describe('a workload interface', () => {
  const local = () => lab().workloads.filter((w) => w.node === 'node-1');

  test('has the routes of its endpoint, of protocol 80 and metric 1024', async () => {
    for (const node of lab().nodes)
      for (const workload of lab().workloads.filter((w) => w.node === node.name)) {
        await waitRoutes(node, workload, workload.interfaceName);
        const [route] = await node.routes(4, workload.addresses[0]);
        expect(route).toMatchObject({ protocol: '80', metric: 1024, dev: workload.interfaceName });
      }
  });

  test('has the settings that make it answer and keep it safe', async () => {
    const node = lab().node('node-1');
    const [{ interfaceName: dev }] = local();
    const standard = (await node.run(['sysctl', '-n', 'net.ipv4.conf.default.rp_filter'])).trim();
    const wanted = {
      [`net.ipv4.conf.${dev}.proxy_arp`]: '1',
      [`net.ipv4.neigh.${dev}.proxy_delay`]: '0',
      [`net.ipv4.conf.${dev}.route_localnet`]: '1',
      [`net.ipv4.conf.${dev}.forwarding`]: '1',
      [`net.ipv4.conf.${dev}.rp_filter`]: standard,
      [`net.ipv6.conf.${dev}.proxy_ndp`]: '1',
      [`net.ipv6.conf.${dev}.forwarding`]: '1',
      [`net.ipv6.conf.${dev}.accept_ra`]: '0',
      'net.ipv4.ip_forward': '1',
      'net.ipv6.conf.all.forwarding': '1',
    };
    const found = (await node.run(['sysctl', ...Object.keys(wanted)])).trim().split('\n');
    expect(Object.fromEntries(found.map((line) => line.split(' = ')))).toEqual(wanted);
  });

  test('is limited as its endpoint says, for as long as it does', async () => {
    const node = lab().node('node-1');
    const [workload] = local();
    const dev = workload.interfaceName;
    const manifest = endpointManifest(workload, await macOf(workload));
    const qosControls = { ingressBandwidth: 20_000_000, egressBandwidth: 10_000_000 };
    const qdiscs = () => node.run(['tc', 'qdisc', 'show']);
    await lab().put({ ...manifest, spec: { ...manifest.spec, qosControls } });
    await waitFor('the limits', async () => {
      const text = await qdiscs();
      const limits = [
        `qdisc tbf ca11: dev ${dev} root`,
        'rate 20Mbit',
        `qdisc ingress ffff: dev ${dev}`,
        'rate 10Mbit',
      ];
      return limits.every((words) => text.includes(words)) || text;
    });
    await waitReach(lab(), 'client-2', workload.name, true);
    await lab().put(manifest);
    await waitFor('no limits', async () => {
      const text = `${await qdiscs()}${await node.run(['ip', '-o', 'link', 'show', 'type', 'ifb'])}`;
      return !/ca11:|ingress|bwcali/.test(text) || text;
    });
  });

  test('answers for the gateways, also on a node without a default route', async () => {
    for (const node of lab().nodes) {
      expect((await node.routes(4, 'default')).length).toBe(node.plan.defaultRoute ? 1 : 0);
      const workload = lab().workloads.find((w) => w.node === node.name)!;
      const arp = await runIn(workload.netns, ['arping', '-c', '1', '-w', '5', '-I', 'eth0', WORKLOAD_GATEWAYS[0]]);
      expect(arp.toLowerCase()).toContain(HOST_MAC);
      const ndp = await runIn(workload.netns, ['ndisc6', '-1', WORKLOAD_GATEWAYS[1], 'eth0']);
      expect(ndp.toLowerCase()).toContain(HOST_MAC);
    }
    await settledMatrix(lab());
  });

  test('may come after its endpoint', async () => {
    const node = lab().node('node-1');
    const workload = planWorkload(lab().plan.name, node.plan, 'web', 9);
    const manifest = endpointManifest(workload, '02:00:00:00:00:09');
    lab().state.saveWorkload(workload);
    await lab().put(manifest);
    await waitFor('the status to name the missing interface', async () => {
      const text = JSON.stringify(await node.ctl(['node', 'status']));
      return (text.includes(manifest.name) && text.includes(workload.interfaceName)) || text;
    });
    await createWorkload(workload, node.plan);
    await startProbe(lab().state, workload);
    await waitReach(lab(), 'client-2', workload.name, true);
    await waitReach(lab(), 'web-2', workload.name, false);
    await lab().removeWorkload(workload.name);
    await waitRoutes(node, workload, null);
  });

  test('may be deleted and made again', async () => {
    const node = lab().node('node-1');
    const [web] = local();
    await detachInterface(web);
    await waitRoutes(node, web, null);
    await attachInterface(web, node.plan);
    await waitRoutes(node, web, web.interfaceName);
    await waitReach(lab(), 'client-2', web.name, true);
    await waitReach(lab(), 'web-2', web.name, false);
  });

  test('may be renamed, away and back', async () => {
    const node = lab().node('node-1');
    const [web] = local();
    const rename = async (from: string, to: string) => {
      await node.run(['ip', 'link', 'set', from, 'down']);
      await node.run(['ip', 'link', 'set', from, 'name', to]);
      await node.run(['ip', 'link', 'set', to, 'up']);
    };
    await rename(web.interfaceName, 'other0');
    await waitRoutes(node, web, null);
    await rename('other0', web.interfaceName);
    await waitRoutes(node, web, web.interfaceName);
    await waitReach(lab(), 'client-2', web.name, true);
  });
});

describe('two endpoints with one address', () => {
  test('the one created last has it; when it leaves, the other', async () => {
    const node = lab().node('node-2');
    const [web, client] = lab().workloads.filter((w) => w.node === 'node-2');
    const second = endpointManifest(
      { ...client, containerId: 'later0000000', addresses: web.addresses },
      '02:00:00:00:00:01',
    );
    await lab().put(second);
    await waitRoutes(node, web, client.interfaceName);
    await lab().remove(second);
    await waitRoutes(node, web, web.interfaceName);
    await waitReach(lab(), 'client-1', web.name, true);
  });
});

describe('an endpoint that leaves', () => {
  test('for another node takes its address along', async () => {
    const [first, second] = lab().nodes;
    const here = await lab().addWorkload('node-1');
    await waitReach(lab(), 'client-2', here.name, true);
    await lab().removeWorkload(here.name);
    const there: WorkloadPlan = { ...here, node: 'node-2', ordinal: 40 };
    await lab().startWorkload(there);
    await waitRoutes(second, there, there.interfaceName);
    await waitFor(`${first.name} to lead to ${second.name}`, async () => {
      const route = await routeOf(first, prefixes(there)[0]);
      return route?.includes(`via ${second.plan.addresses[0]} `) || `is ${route}`;
    });
    await waitReach(lab(), 'client-1', there.name, true);
    await waitReach(lab(), 'client-2', there.name, true);
    await waitReach(lab(), 'office', there.name, true);
    await lab().removeWorkload(there.name);
    for (const node of lab().nodes) await waitRoutes(node, there, null);
  });

  test('leaves nothing behind, on any node', async () => {
    const files = () => lab().nodes.map((node) => readdirSync(node.runDirectory, { recursive: true }).sort());
    const before = await Promise.all(lab().nodes.map(kernelText));
    const filesBefore = files();
    const workload = await lab().addWorkload('node-1', 'client');
    await waitReach(lab(), workload.name, 'web-2', true);
    for (const [at, node] of lab().nodes.entries()) expect(await kernelText(node)).not.toBe(before[at]);
    await lab().removeWorkload(workload.name);
    for (const [at, node] of lab().nodes.entries())
      await waitFor(
        `${node.name} to be as it was`,
        async () => (await kernelText(node)) === before[at] || (await kernelText(node)),
      );
    await waitFor('the files to be as they were', () => `${files()}` === `${filesBefore}` || `${files()}`);
    const neighbours = await lab().node('node-1').run(['ip', 'neigh', 'show', 'nud', 'permanent']);
    expect(neighbours).not.toContain(workload.addresses[0]);
  });
});

describe('what belongs to others', () => {
  /** Routes, rules, chains and sets of a stranger. */
  const foreign = async (node: LabNode) => {
    const routes = await Promise.all(['-4', '-6'].map((f) => node.run(['ip', f, 'route', 'show', 'proto', 'static'])));
    const rules = await node.run(['iptables-save']);
    const strange = rules.split('\n').filter((line) => line.includes('STRANGER') || line.includes('stranger'));
    return [
      ...routes,
      ...strange.map((line) => line.replace(/ \[\d+:\d+\]/, '')),
      await node.run(['ipset', 'save', 'stranger']),
    ];
  };

  test('stays as it is, through changes, a resync and a restart', async () => {
    const node = lab().node('node-1');
    const [web] = lab().workloads.filter((w) => w.node === 'node-1');
    for (const command of [
      'ip route add 198.51.100.0/24 via 10.99.0.1 proto static metric 5',
      `ip route add 192.0.2.7/32 dev ${web.interfaceName} proto static`,
      'ip -6 route add fd00:bad::/64 via fd00:99::1 proto static',
      'ipset create stranger hash:ip',
      'ipset add stranger 192.0.2.1',
      'iptables -t filter -N STRANGER',
      'iptables -t filter -A STRANGER -m set --match-set stranger src -j DROP',
      'iptables -t filter -A FORWARD -j STRANGER',
      'iptables -t nat -A POSTROUTING -s 192.0.2.1 -m comment --comment stranger -j ACCEPT',
    ])
      await node.run(command.split(' '));
    const before = await foreign(node);
    expect(before.join('\n')).toContain('STRANGER');
    const workload = await lab().addWorkload('node-1', 'client');
    await waitReach(lab(), workload.name, 'web-2', true);
    await lab().removeWorkload(workload.name);
    await node.stop();
    await node.start();
    await node.ready();
    await waitRoutes(node, workload, null);
    await settledMatrix(lab());
    expect(await foreign(node)).toEqual(before);
  });
});

test('the machine itself carries nothing of the lab', async () => {
  expect(await run(['ip', 'route', 'show', 'proto', '80'])).toBe('');
});
