import type { Lab } from './lab.ts';
import type { Cell } from './reach.ts';

/** Pure, except for what it asks the lab: the texts of `npm run lab`. */

/** Rows ask, columns answer. `4` and `6`: reached, as expected; a dot: kept out, as expected; `!`: not as expected. */
export function matrixText(cells: readonly Cell[]): string {
  const names = [...new Set(cells.map((cell) => cell.from))];
  const width = Math.max(2, ...names.map((name) => name.length)) + 1;
  const mark = (from: string, to: string, family: number): string => {
    const cell = cells.find((c) => c.from === from && c.to === to && c.family === family);
    if (!cell) return ' ';
    if (cell.seen !== cell.expected) return '!';
    return cell.seen ? `${family}` : '.';
  };
  const row = (head: string, columns: readonly string[]) =>
    `  ${head.padEnd(width)}${columns.map((column) => column.padEnd(width)).join('')}`.trimEnd();
  const wrong = cells.filter((cell) => cell.seen !== cell.expected).length;
  return [
    'Who reaches whom on TCP 8080 (rows ask; 4 and 6: reached over IPv4 and IPv6; dot: kept out; !: not as expected)',
    row('', names),
    ...names.map((from) =>
      row(
        from,
        names.map((to) => (from === to ? '-' : mark(from, to, 4) + mark(from, to, 6))),
      ),
    ),
    `  ${cells.length} connections tried, ${wrong === 0 ? 'all as expected' : `${wrong} not as expected`}`,
  ].join('\n');
}

/** Rows with columns as wide as they need to be. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)));
  return [head, ...rows]
    .map((row) => `  ${row.map((cell, at) => cell.padEnd(widths[at] + 2)).join('')}`.trimEnd())
    .join('\n');
}

export async function sessionsText(lab: Lab): Promise<string> {
  const rows = (await lab.tor.sessions()).map((s) => [s.name, s.node, s.state, s.since, s.info]);
  return `BGP sessions of the top-of-rack router (BIRD)\n${table(['SESSION', 'NODE', 'STATE', 'SINCE', 'INFO'], rows)}`;
}

export async function routesText(lab: Lab): Promise<string> {
  const rows = (await lab.tor.routes()).map(({ prefix, nextHops }) => [prefix, nextHops.join(' ')]);
  return `Routes that it learned\n${table(['PREFIX', 'NEXT HOPS'], rows)}`;
}

export async function processesText(lab: Lab): Promise<string> {
  const rows = lab.state
    .daemons()
    .map(({ name, pid }) => [name, `${pid}`, lab.daemon(name).alive ? 'running' : 'ended', lab.state.log(name)]);
  return `Processes\n${table(['NAME', 'PID', 'STATE', 'LOG'], rows)}`;
}

/** What is worth trying on this lab. */
export function commandsText(lab: Lab): string {
  const [first, second] = lab.nodes;
  const clients = lab.workloads.filter((w) => w.app === 'client');
  const [client, peer] = [clients[0], clients.at(-1)];
  const far = second?.name ?? lab.plan.tor.name;
  const name = lab.plan.name === 'lab' ? '' : ` --name ${lab.plan.name}`;
  const commands = [
    'tsnetctl get endpoints -o wide',
    'tsnetctl bgp peers',
    'tsnetctl bgp routes',
    'tsnetctl node status',
    `exec ${first.name} ip route show proto 80`,
    `exec ${first.name} iptables-save -t filter`,
    ...(client && peer ? [`exec ${client.name} ping -c 3 ${peer.addresses[1]}`] : []),
    'exec tor birdc -s bird.ctl show route',
    `add-workload ${first.name}`,
    `cut ${first.name} ${far}`,
    `heal ${first.name} ${far}`,
    'status',
  ];
  return ['Try, from another terminal:', ...commands.map((command) => `  npm run lab --${name} ${command}`)].join('\n');
}
