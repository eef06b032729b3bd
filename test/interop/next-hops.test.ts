import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { callControl, type RouteInfo } from '#bgp';
import { addr } from '#core';
import { Lab, until } from './lab.ts';

/** BIRD names next hops that are behind something else; what the kernel of tsnet-bgpd does with its routes then. */

let lab: Lab;
const OURS = { 4: addr('10.99.0.1'), 6: addr('fd99::1') };
const THEIRS = { 4: addr('10.99.1.1'), 6: addr('fd99:0:0:0:1::1') };

/** Prefix and next hop of what BIRD announces. */
const STATIC = [
  ['10.50.0.0/24', '192.0.2.9'],
  ['198.51.100.0/24', '10.99.1.1'],
  ['10.60.0.0/24', '198.51.100.7'],
  ['203.0.113.0/24', '203.0.113.5'],
] as const;

beforeAll(async () => {
  lab = new Lab('hops');
  lab.addresses('ours', [OURS[4], OURS[6]]);
  lab.addresses('theirs', [THEIRS[4], THEIRS[6], addr('10.99.1.77')]);
  const nextHops = STATIC.map(([to, hop]) => `if net = ${to} then bgp_next_hop = ${hop};`).join(' ');
  lab.start('theirs', 'bird', [
    'bird',
    '-f',
    ...['-c', lab.write('bird.conf', birdConfig(nextHops)), '-s', join(lab.dir, 'bird.ctl')],
  ]);
  const config = {
    asNumber: 65001,
    routerId: OURS[4],
    connectRetry: 1,
    kernel: true,
    peers: [{ address: THEIRS[4], localAddress: OURS[4], asNumber: 65002, families: ['ipv4', 'ipv6'] }],
  };
  lab.start('ours', 'tsnet-bgpd', [
    join(import.meta.dirname, '../../bin/tsnet-bgpd'),
    ...['--config', lab.write('tsnet.yaml', JSON.stringify(config)), '--socket', join(lab.dir, 'tsnet.sock')],
  ]);
}, 60_000);
afterAll(() => lab.down());

const birdConfig = (nextHops: string) => `
  router id 10.99.1.1;
  protocol device { scan time 1; }
  protocol direct { ipv4; ipv6; }
  protocol static { ipv4; ${STATIC.map(([to]) => `route ${to} blackhole;`).join(' ')} }
  protocol static { ipv6; route 2001:db8:50::/48 blackhole; }
  protocol bgp them {
    local 10.99.1.1 as 65002; neighbor 10.99.0.1 as 65001; multihop;
    connect delay time 1; connect retry time 1;
    ipv4 { import all; export filter { if source != RTS_STATIC then reject; ${nextHops} accept; }; };
    ipv6 { import all; next hop address ${THEIRS[6]};
      export filter { if source != RTS_STATIC then reject; bgp_next_hop = 2001:db8:9::9; accept; }; };
  }`;

/** Where the kernel sends packets for the prefix by a route of ours; null: nowhere. */
const kernel = (to: string): string | null =>
  /via (\S+)/.exec(lab.sh('ours', `ip ${to.includes(':') ? '-6' : ''} route show ${to} proto 80`))?.[1] ?? null;
const leads = (to: string, gateway: string | null) =>
  until(`${to} to lead to ${gateway}`, async () => {
    const now = kernel(to);
    return now === gateway ? null : `it leads to ${now}`;
  });
async function reasonOf(prefix: string): Promise<string | null> {
  const [route] = (await callControl(join(lab.dir, 'tsnet.sock'), 'bgp.routes', { prefix })) as RouteInfo[];
  return route.reason;
}

test('a next hop that a route of BGP leads to has the gateway of that route', async () => {
  await leads('198.51.100.0/24', THEIRS[4]);
  await leads('10.60.0.0/24', THEIRS[4]);
});

test('U43: a route that only itself leads to its next hop stays out, and says so', async () => {
  expect(await reasonOf('203.0.113.0/24')).toContain('only 203.0.113.0/24 leads there');
  expect(kernel('203.0.113.0/24')).toBeNull();
});

test('a next hop without a way waits for one, follows it, and goes with it', async () => {
  expect(await reasonOf('10.50.0.0/24')).toBe('next hop 192.0.2.9 is unreachable: no route leads there');
  lab.ip('ours', 'route add 192.0.2.0/24 via 10.99.1.77');
  await leads('10.50.0.0/24', '10.99.1.77');
  lab.ip('ours', `route replace 192.0.2.0/24 via ${THEIRS[4]}`);
  await leads('10.50.0.0/24', THEIRS[4]);
  lab.ip('ours', 'route del 192.0.2.0/24');
  await leads('10.50.0.0/24', null);
  lab.ip('ours', 'route add default via 10.99.1.77');
  await leads('10.50.0.0/24', '10.99.1.77');
  lab.ip('ours', 'route del default');
  await leads('10.50.0.0/24', null);
});

test('the same for IPv6', async () => {
  expect(await reasonOf('2001:db8:50::/48')).toContain('next hop 2001:db8:9::9 is unreachable');
  lab.ip('ours', `-6 route add 2001:db8:9::/64 via ${THEIRS[6]} dev wire`);
  await leads('2001:db8:50::/48', 'fd99::1:0:0:1');
  lab.ip('ours', '-6 route del 2001:db8:9::/64');
  await leads('2001:db8:50::/48', null);
});
