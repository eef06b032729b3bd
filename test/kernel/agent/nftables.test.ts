import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Family } from '#core';
import {
  type Chain,
  type ChainRule,
  createPolicyEngine,
  DEFAULT_RENDER_CONFIG,
  type Match,
  nftChain,
  nftSet,
  type PolicyChanges,
  printNftRules,
  setName,
  TABLES,
  type Table,
  verdictMap,
} from '#policy';
import { createNftables, NftSocket, removeNftables } from '../../../agent/kernel/nftables/index.ts';
import { createNftSets } from '../../../agent/kernel/nftables/sets.ts';
import { EMPTY_TABLE } from '../../../agent/kernel/types.ts';
import { cases } from '../../golden/render/cases.ts';
import { updateOf } from '../../scenarios/scenario.ts';
import { enterNamespace, type Namespace } from '../namespace.ts';

/**
 * What we tell the kernel over a socket, and what nft makes of the text that golden files show a person: nft must print the two alike.
 */

let ns: Namespace;
let socket: NftSocket;
beforeAll(() => {
  ns = enterNamespace('nft');
  socket = new NftSocket().open();
});
afterEach(() => {
  ns.sh('nft flush ruleset');
});
afterAll(() => {
  socket?.close();
  ns?.leave();
});

interface Placed {
  readonly table: Table;
  readonly chain: Chain;
}
interface Content {
  readonly family: Family;
  readonly chains: readonly Placed[];
  readonly sets: PolicyChanges['sets'];
}
const ip = (family: Family): string => (family === 4 ? 'ip' : 'ip6');

/** The script that says the same to nft, in a table of another name. Hooks are left out: they would catch packets twice. */
function scriptOf({ family, chains, sets }: Content): string {
  const table = `${ip(family)} text`;
  const address = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  const lines = [`add table ${table}`];
  for (const { id, type, members } of sets) {
    const kind = {
      'hash:ip': `type ${address};`,
      'hash:net': `type ${address}; flags interval;`,
      'hash:ip,port': `type ${address} . inet_proto . inet_service;`,
    }[type];
    lines.push(`add set ${table} ${nftSet(family, id)} { ${kind} }`);
    for (const member of members?.added ?? [])
      lines.push(`add element ${table} ${nftSet(family, id)} { ${member.replace(/,(.*):/, ' . $1 . ')} }`);
  }
  for (const { table: of, chain } of chains) lines.push(`add chain ${table} ${nftChain(of, chain.name)}`);
  for (const { table: of, chain } of chains) {
    const name = nftChain(of, chain.name);
    const targets = verdictMap(chain);
    if (targets) lines.push(`add map ${table} ${name} { type ifname : verdict; }`);
    for (const [iface, to] of targets ?? [])
      lines.push(`add element ${table} ${name} { "${iface}" : goto ${nftChain(of, to)} }`);
    for (const { text } of printNftRules(of, chain.name, chain.rules, family))
      lines.push(`add rule ${table} ${name} ${text}`);
  }
  return `${lines.join('\n')}\n`;
}

async function write({ family, chains, sets }: Content): Promise<void> {
  const backend = createNftSets(socket);
  await backend.write(
    sets.map(({ id, type, members }) => {
      const made = { members: members?.added ?? new Set<string>(), maxElements: 1024, current: undefined };
      return { op: 'create', name: setName(family, id), type, family, ...made };
    }),
  );
  for (const table of TABLES) {
    const update = chains.filter((c) => c.table === table).map((c) => c.chain);
    await createNftables(socket).write(family, table, { update, remove: [], base: EMPTY_TABLE });
  }
}

/** Blocks of the table as nft prints them, sorted: the order in which they were made says nothing. */
function blocksOf(family: Family, table: string): string[] {
  const text = ns.sh(`nft list table ${ip(family)} ${table} 2>/dev/null || true`);
  return text
    .split('\n\t}\n')
    .map((block) => block.replace(/^table.*\{\n/, '').trim())
    .filter((block) => block !== '' && block !== '}')
    .sort();
}

async function compare(content: Content): Promise<void> {
  await write(content);
  ns.sh(`nft -f - <<'END'\n${scriptOf(content)}END`);
  const ours = blocksOf(content.family, 'tsnet');
  expect(ours.length).toBeGreaterThan(0);
  expect(ours).toEqual(blocksOf(content.family, 'text'));
}

test('what is read belongs to one moment, and all of ours can be taken away without a trace', async () => {
  const drop: Chain = { name: 'cali-x', rules: [{ match: [], action: { do: 'drop' } }] };
  await write({ family: 6, chains: [{ table: 'raw', chain: drop }], sets: [] });
  let reads = 0;
  const chains = await socket.reader(6).ofOneMoment(async (reader) => {
    const before = await reader.chains();
    // Somebody changes the ruleset between two questions.
    if (++reads < 3) ns.sh(`nft add chain ip6 tsnet raw-other${reads}`);
    await reader.rules();
    return before;
  });
  expect(chains).toEqual(['raw-cali-x', 'raw-other1', 'raw-other2']);
  ns.sh('nft add table ip his');
  expect(await removeNftables(socket)).toBe(1);
  expect(await removeNftables(socket)).toBe(0);
  expect(ns.sh('nft list tables').trim()).toBe('table ip his');
});

describe.each([4, 6] as const)('IPv%d', (family) => {
  test.each(cases.map((c) => [c.name, c] as const))('%s', async (_, golden) => {
    const config = { ...DEFAULT_RENDER_CONFIG, dispatch: 'map' as const, ...golden.config };
    const engine = createPolicyEngine({ node: 'node-1', config });
    for (const resource of golden.resources) engine.onUpdate(updateOf(resource));
    if (golden.facts) engine.setFacts(golden.facts);
    if (golden.interfaces) engine.setHostInterfaces(golden.interfaces);
    if (golden.closed) engine.setClosed(new Set(golden.closed));
    const changes = engine.flush();
    const chains = changes.chains.flatMap((c) =>
      c.family === family && c.chain ? [{ table: c.table, chain: c.chain }] : [],
    );
    const hooks = (changes.hooks?.[family] ?? []).map(({ table, chain, insert, append }) => ({
      table,
      chain: { name: `cali-hook-${chain}`, rules: [...insert, ...append] },
    }));
    await compare({ family, chains: [...chains, ...hooks], sets: changes.sets.filter((s) => s.family === family) });
  });

  test('every match, with and without negation, and every action', async () => {
    const rule = (match: readonly Match[], action: ChainRule['action'] = { do: 'none' }): ChainRule => ({
      match,
      action,
    });
    const chains: Placed[] = [
      { table: 'filter', chain: { name: 'cali-target', rules: [] } },
      { table: 'filter', chain: { name: 'cali-match', rules: matches(family).map((m) => rule([m])) } },
      {
        table: 'filter',
        chain: {
          name: 'cali-act',
          rules: [
            ...actions(family).map((action) => rule([], action)),
            rule([{ m: 'protocol', protocol: 6 }], { do: 'reject', with: 'tcp-reset' }),
          ],
        },
      },
      {
        table: 'nat',
        chain: { name: 'cali-nat', rules: translations(family).map((a) => rule([{ m: 'protocol', protocol: 17 }], a)) },
      },
    ];
    await compare({ family, chains, sets: setsOf(family) });
  });
});

function setsOf(family: Family): PolicyChanges['sets'] {
  const nets =
    family === 4 ? ['10.0.0.0/8', '11.0.0.1', '255.255.255.255', '128.0.0.0/9'] : ['fd00::/8', 'fe80::1', 'ff00::/8'];
  const [a] = family === 4 ? ['10.0.0.1'] : ['fd00::1'];
  const ports = [`${a},tcp:80`, `${a},udp:65535`, `${a},sctp:1`];
  const base = { family, owner: 'test' };
  return [
    { ...base, id: 's:nets', type: 'hash:net', members: { added: new Set(nets), removed: new Set() } },
    { ...base, id: 'n:ports', type: 'hash:ip,port', members: { added: new Set(ports), removed: new Set() } },
  ];
}

function matches(family: Family): Match[] {
  const nets =
    family === 4
      ? ['10.0.0.1', '10.0.0.1/32', '10.0.0.0/8', '10.128.0.0/9', '10.1.2.0/23', '0.0.0.0/0']
      : ['fd00::1', 'fd00::/8', 'fd00::/64', 'fd00:8000::/17', 'fd00::4/126', '::/0'];
  const both = (m: object): Match[] => [m as Match, { ...m, negate: true } as Match];
  return [
    ...['cali+', 'eth0', 'cali0123456789a'].flatMap((iface) => [
      ...both({ m: 'in', iface }),
      ...both({ m: 'out', iface }),
    ]),
    ...[6, 17, 132, 200].flatMap((protocol) => both({ m: 'protocol', protocol })),
    ...nets.flatMap((net) => [...both({ m: 'src', net }), ...both({ m: 'dst', net })]),
    ...both({ m: 'src-set', set: 's:nets' }),
    ...both({ m: 'dst-set', set: 's:nets' }),
    ...both({ m: 'src-port-set', set: 'n:ports' }),
    ...both({ m: 'dst-port-set', set: 'n:ports' }),
    ...[
      [[80, 80]],
      [[80, 90]],
      [
        [80, 80],
        [443, 443],
        [80, 80],
      ],
      [
        [0, 10],
        [5, 20],
        [65535, 65535],
      ],
      [
        [1, 5],
        [100, 200],
        [300, 300],
      ],
    ].flatMap((ports) => [...both({ m: 'sports', ports }), ...both({ m: 'dports', ports })]),
    ...both({ m: 'icmp', type: 8 }),
    ...both({ m: 'icmp', type: 3, code: 4 }),
    ...both({ m: 'mark', value: 0x10000, mask: 0x30000 }),
    ...both({ m: 'mark', value: 0, mask: 0x30000 }),
    ...both({ m: 'ctstate', states: ['INVALID'] }),
    ...both({ m: 'ctstate', states: ['ESTABLISHED', 'RELATED'] }),
    ...both({ m: 'ctstate', states: ['NEW', 'UNTRACKED'] }),
    ...both({ m: 'ctdir-original' }),
    ...both({ m: 'dnatted' }),
    { m: 'rpf-failed' },
    ...both({ m: 'addrtype', side: 'src', type: 'LOCAL' }),
    ...both({ m: 'addrtype', side: 'dst', type: 'UNICAST', limitIface: 'in' }),
    ...both({ m: 'addrtype', side: 'dst', type: 'LOCAL', limitIface: 'out' }),
    { m: 'limit', perSecond: 10, burst: 5 },
    { m: 'limit', perSecond: 0.05, burst: 7 },
    { m: 'connlimit-above', count: 5, side: 'src' },
  ];
}

function actions(family: Family): ChainRule['action'][] {
  return [
    ...(['accept', 'drop', 'return', 'notrack'] as const).map((verdict) => ({ do: verdict })),
    { do: 'reject', with: 'icmp-port-unreachable' },
    { do: 'reject', with: 'tcp-reset' },
    { do: 'jump', chain: 'cali-target' },
    { do: 'goto', chain: 'cali-target' },
    { do: 'mark', value: 0, mask: 0x30000 },
    { do: 'mark', value: 0x10000, mask: 0x10000 },
    { do: 'mark', value: 0x10000, mask: 0x30000 },
    { do: 'log', prefix: 'calico-packet: a "b"', rule: 3 },
    { do: 'log', prefix: 'grouped', rule: 0, group: 3 },
    ...[0, 10, 46, 63].map((value) => ({ do: 'dscp' as const, value })),
    {
      do: 'map',
      side: family === 4 ? 'in' : 'out',
      targets: new Map([
        ['cali1', 'cali-target'],
        ['cali0123456789a', 'cali-match'],
      ]),
    },
  ];
}

function translations(family: Family): ChainRule['action'][] {
  const to = family === 4 ? '192.0.2.1' : '2001:db8::1';
  return [
    { do: 'masquerade' },
    { do: 'masquerade', randomFully: true },
    { do: 'masquerade', ports: [1024, 2000], randomFully: true },
    { do: 'snat', to },
    { do: 'snat', to, ports: [1024, 2000], randomFully: true },
    { do: 'dnat', to },
  ];
}
