import { ip, runIn, sysctl } from './netns.ts';
import { FABRIC_LENGTH, type Host } from './plan.ts';
import { LabError } from './wait.ts';

/**
 * The wire between the machines: one bridge in a namespace of its own, with a port named after each machine.
 * A cut is a rule on that bridge, so neither machine's own firewall knows of it.
 */

const TABLE = 'lab';

export async function createFabric(fabric: string): Promise<void> {
  await sysctl(fabric, { 'net.ipv6.conf.default.disable_ipv6': 1 });
  await ip(fabric, ['link add fabric type bridge forward_delay 0 mcast_snooping 0', 'link set fabric up']);
  const table = `add table bridge ${TABLE}
add chain bridge ${TABLE} forward { type filter hook forward priority 0; policy accept; }
`;
  await runIn(fabric, ['nft', '-f', '-'], table);
}

/** Plugs the machine in: its `eth0`, with its addresses. */
export async function plug(fabric: string, host: Host): Promise<void> {
  await ip(fabric, [
    `link add ${host.name} type veth peer name eth0 netns ${host.netns}`,
    `link set ${host.name} master fabric up`,
  ]);
  await ip(host.netns, [
    ...host.addresses.map((address, at) => `addr add ${address}/${FABRIC_LENGTH[at]} dev eth0 nodad`),
    'link set eth0 up',
  ]);
}

/** No frame passes between the two any more, in either direction. Doing it twice changes nothing. */
export async function cut(fabric: string, a: string, b: string): Promise<void> {
  await heal(fabric, a, b);
  const rules = bothWays(a, b).map(
    ([from, to]) => `add rule bridge ${TABLE} forward iifname "${from}" oifname "${to}" drop comment "${mark(a, b)}"`,
  );
  await runIn(fabric, ['nft', '-f', '-'], `${rules.join('\n')}\n`);
}

/** Takes a cut back; without one it does nothing. */
export async function heal(fabric: string, a: string, b: string): Promise<void> {
  const handles = (await rulesOf(fabric)).filter((rule) => rule.comment === mark(a, b)).map((rule) => rule.handle);
  const deletes = handles.map((handle) => `delete rule bridge ${TABLE} forward handle ${handle}`);
  if (deletes.length > 0) await runIn(fabric, ['nft', '-f', '-'], `${deletes.join('\n')}\n`);
}

/** The cuts in force, as pairs of names. */
export async function cuts(fabric: string): Promise<string[][]> {
  const marks = new Set((await rulesOf(fabric)).map((rule) => rule.comment));
  return [...marks].map((comment) => comment.split('|'));
}

const mark = (a: string, b: string): string => [a, b].sort().join('|');
const bothWays = (a: string, b: string): [string, string][] => [
  [a, b],
  [b, a],
];

async function rulesOf(fabric: string): Promise<{ handle: number; comment: string }[]> {
  const text = await runIn(fabric, ['nft', '-j', 'list', 'chain', 'bridge', TABLE, 'forward']);
  const answer: unknown = JSON.parse(text);
  if (!isRuleset(answer)) throw new LabError(`nft answered ${text}`);
  return answer.nftables.flatMap((item) => (item.rule ? [item.rule] : []));
}

function isRuleset(value: unknown): value is { nftables: { rule?: { handle: number; comment: string } }[] } {
  return typeof value === 'object' && value !== null && 'nftables' in value && Array.isArray(value.nftables);
}
