import { expect, test } from 'vitest';
import { settledMatrix, waitFor } from '../../deploy/lab/index.ts';
import { routeOf, useLab } from './use-lab.ts';

/** The other ways: the router in the cluster's own AS (iBGP), one session for each address family as towards a Calico node, legacy iptables. */

const lab = useLab('ib', {
  nodes: 1,
  tor: { asNumber: 64512, sessions: 'separate' },
  agentArgs: ['--iptables-backend', 'legacy'],
});

interface Peer {
  address: string;
  asNumber: number;
  type: string;
  state: string;
  families: string[];
}

test('both sessions are established, each with its family', async () => {
  const node = lab().node('node-1');
  await waitFor('BIRD to have both', async () => {
    const sessions = await lab().tor.sessions();
    const up = sessions.filter((s) => s.state === 'Established').map((s) => s.name);
    return `${up.sort()}` === 'node_1_ipv4,node_1_ipv6' || JSON.stringify(sessions);
  });
  const peers = (await node.ctl(['bgp', 'peers'])) as Peer[];
  const seen = peers.map(({ address, asNumber, type, state }) => [address, asNumber, type, state].join(' '));
  expect(seen.sort()).toEqual(['10.99.0.1 64512 GlobalPeer Established', 'fd00:99::1 64512 NodePeer Established']);
  expect(peers.flatMap((peer) => peer.families).sort()).toEqual(['ipv4', 'ipv6']);
});

test('blocks go out with the priority as local preference, and the office comes in', async () => {
  const [node] = lab().nodes;
  for (const block of node.plan.blocks) {
    const text = await lab().tor.birdc(`show route for ${block} all`);
    expect(text).toContain(block);
    // Calico's convention: 2^31-1 minus the priority, 1024.
    expect(text).toMatch(/BGP\.local_pref: 2147482623/);
  }
  expect(await routeOf(node, '10.200.0.0/24')).toMatch(/via 10\.99\.0\.1 .*proto 80/);
  expect(await routeOf(node, 'fd00:200::/64')).toMatch(/via (fd00:99::1|fe80::\S+) .*proto 80/);
  await settledMatrix(lab());
});

test('policy stands in the legacy tables, and only there', async () => {
  const node = lab().node('node-1');
  for (const command of ['iptables', 'ip6tables']) {
    expect(await node.run([`${command}-legacy-save`, '-t', 'filter'])).toMatch(/^-A FORWARD .*cali-FORWARD/m);
    expect(await node.run([`${command}-nft-save`])).not.toContain('cali-');
  }
});
