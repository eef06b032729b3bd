import { type Io, printable } from './io.ts';

/** A table with lines, as calicoctl prints the state of a node. Cells are made harmless before they are painted. */
export async function grid(
  io: Io,
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  paint?: (column: number, text: string) => string,
): Promise<void> {
  const { default: Table } = await import('cli-table3');
  const lines = {
    'top-mid': '+',
    'top-left': '+',
    'top-right': '+',
    'bottom-mid': '+',
    'bottom-left': '+',
    'bottom-right': '+',
    'left-mid': '+',
    'mid-mid': '+',
    'right-mid': '+',
  };
  const rules = { top: '-', bottom: '-', mid: '-', left: '|', right: '|', middle: '|' };
  const table = new Table({
    head: [...titles],
    chars: { ...lines, ...rules },
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows) table.push(row.map((cell, i) => (paint ?? plain)(i, printable(cell))));
  io.stdout.write(`${table.toString()}\n`);
}

const plain = (_: number, text: string): string => text;

/** A span of time for people: `3d4h`, `5m10s`. */
export function span(milliseconds: number): string {
  const units = [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
    ['s', 1],
  ] as const;
  let seconds = Math.max(0, Math.round(milliseconds / 1000));
  const parts: string[] = [];
  for (const [unit, size] of units) {
    if (seconds < size && !(unit === 's' && parts.length === 0)) continue;
    parts.push(`${Math.floor(seconds / size)}${unit}`);
    seconds %= size;
  }
  return parts.slice(0, 2).join('');
}

/** How long ago a stored time was, or what was stored when it is none. */
export function since(io: Io, time: string): string {
  const then = Date.parse(time);
  return Number.isNaN(then) ? time : span(io.clock.date().getTime() - then);
}
