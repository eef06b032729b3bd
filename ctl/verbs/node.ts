import type { NodeStatus } from '#agent';
import { ask, published, type Where } from '../agent-client.ts';
import { grid, since } from '../grid.ts';
import { painter, printable } from '../io.ts';
import { DATA_FORMATS, parseFormat, printData } from '../output.ts';
import type { Session } from '../session.ts';

type Status = NodeStatus & { readonly updated?: string };

/** `node status`: how an agent is, from its socket or as it was last published. */
export async function status(session: Session, options: Where & { readonly output?: string }): Promise<number> {
  const { type } = parseFormat(options.output, DATA_FORMATS);
  const all = await statuses(session, options);
  if (type === 'json' || type === 'yaml') await printData(session.io, type, options.all ? all : all[0]);
  else if (options.all) await showMany(session, all);
  else showOne(session, all[0]);
  return 0;
}

async function statuses(session: Session, where: Where): Promise<Status[]> {
  if (!where.node && !where.all) return [await ask<NodeStatus>(session, 'node.status')];
  const found = await published(session, where);
  return [...found.values()].map(({ updated, status: known }) => ({ ...known, updated }));
}

const sessions = (bgp: NodeStatus['bgp']): string =>
  Object.entries(bgp)
    .map(([state, count]) => `${count} ${state}`)
    .join(', ') || 'no sessions';

function showOne({ io }: Session, known: Status): void {
  const paint = painter(io.stdout, io.env);
  const { datastore, endpoints, loopLagMs: lag } = known;
  const facts: [string, string, ('green' | 'red')?][] = [
    ['Node', known.node],
    [
      'Agent',
      `tsnet ${known.version}, up ${since(io, known.since)}${known.updated ? `, status ${since(io, known.updated)} old` : ''}`,
    ],
    ['Ready', known.ready ? 'yes' : `no: ${known.notReady.join('; ')}`, known.ready ? 'green' : 'red'],
    [
      'Datastore',
      `${datastore.type}, ${datastore.state}${datastore.revision ? ` at revision ${datastore.revision}` : ''}`,
    ],
    ['BGP', sessions(known.bgp)],
    ['Endpoints', `${endpoints.programmed} of ${endpoints.total} programmed`],
    ['Routes', String(known.routes)],
    ['Policies', String(known.policies)],
    ['Loop lag', `p50 ${lag.p50.toFixed(1)} ms, p99 ${lag.p99.toFixed(1)} ms`],
  ];
  for (const [name, text, colour] of facts) {
    const value = printable(text);
    io.stdout.write(`${`${name}:`.padEnd(12)}${colour ? paint(colour, value) : value}\n`);
  }
  const troubles = [
    ...(datastore.reason ? [`${datastore.reason} (what was read before stays in force)`] : []),
    ...endpoints.failed.map(({ key, reason }) => `endpoint ${key}: ${reason}`),
    ...known.quarantined.map((q) => `rule of ${q.owner} in chain ${q.chain}: ${q.error} (${q.rule})`),
    ...(known.invalid ?? []).map(
      ({ kind, id, message, used }) => `${kind}(${id})${used ? '' : ' cannot be used'}: ${message}`,
    ),
    ...(known.problems ?? []),
  ];
  for (const trouble of troubles) io.stdout.write(`  ${paint('red', '!')} ${printable(trouble)}\n`);
}

async function showMany({ io }: Session, all: readonly Status[]): Promise<void> {
  if (all.length === 0) {
    io.stdout.write('No agent has published its status.\n');
    return;
  }
  const paint = painter(io.stdout, io.env);
  const titles = ['NODE', 'READY', 'AGENT', 'DATASTORE', 'BGP', 'ENDPOINTS', 'ROUTES', 'POLICIES', 'STATUS AGE'];
  const rows = all.map((known) => [
    known.node,
    known.ready ? 'yes' : `no: ${known.notReady.join('; ')}`,
    known.version,
    known.datastore.state,
    sessions(known.bgp),
    `${known.endpoints.programmed}/${known.endpoints.total}`,
    String(known.routes),
    String(known.policies),
    since(io, known.updated ?? ''),
  ]);
  await grid(io, titles, rows, (column, text) => (column === 1 ? paint(text === 'yes' ? 'green' : 'red', text) : text));
}
