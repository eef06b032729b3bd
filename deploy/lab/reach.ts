import type { Lab } from './lab.ts';
import { expected } from './objects.ts';
import { PORT } from './plan.ts';
import { waitFor } from './wait.ts';

export type Family = 4 | 6;

/** One direction between two hosts in one family. */
export interface Cell {
  readonly from: string;
  readonly to: string;
  readonly family: Family;
  readonly expected: boolean;
  readonly seen: boolean;
  /** Why not, as the asker saw it. */
  readonly why: string;
}

/** What is lost stays lost within this time on one machine; a connection that a policy drops costs it in full. */
const PATIENCE = 700;

/** Does a TCP connection from one host to the other come about? */
export async function reach(
  lab: Lab,
  from: string,
  to: string,
  family: Family,
  timeout = PATIENCE,
): Promise<{ ok: boolean; why: string }> {
  return lab.probe(from).ask('tcp', { to: lab.host(to).addresses[family === 4 ? 0 : 1], port: PORT.http, timeout });
}

/** Everybody to everybody else, both families, all at once. */
export async function matrix(lab: Lab): Promise<Cell[]> {
  const hosts: { name: string; app?: string }[] = [...lab.workloads, { name: lab.plan.office.name }];
  const pairs = hosts.flatMap((from) => hosts.filter((to) => to !== from).map((to) => ({ from, to })));
  return Promise.all(
    pairs.flatMap(({ from, to }) =>
      ([4, 6] as const).map(async (family): Promise<Cell> => {
        const { ok, why } = await reach(lab, from.name, to.name, family);
        return { from: from.name, to: to.name, family, expected: expected(from, to), seen: ok, why };
      }),
    ),
  );
}

const wrong = (cells: readonly Cell[]): string[] =>
  cells
    .filter((cell) => cell.seen !== cell.expected)
    .map((c) => `${c.from} to ${c.to} IPv${c.family}: ${c.seen ? 'reached, must not' : `not reached (${c.why})`}`);

/** Waits until the matrix is as expected and gives it; else fails with what is wrong. */
export async function settledMatrix(lab: Lab, timeout = 40_000): Promise<Cell[]> {
  let cells: Cell[] = [];
  await waitFor(
    'everybody to reach whom they may',
    async () => {
      cells = await matrix(lab);
      const bad = wrong(cells);
      return bad.length === 0 || `${bad.length} of ${cells.length} wrong: ${bad.slice(0, 6).join('; ')}`;
    },
    { timeout, interval: 300, evidence: () => lab.nodes.flatMap((node) => node.tail(6)) },
  );
  return cells;
}
