import { printable } from './io.ts';

const LEAST = 5;
const GAP = 3;

/** Widths of columns as calicoctl pads them: at least 5, and 3 blanks after the longest cell, in the last column too. */
export function columnWidths(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? LEAST, printable(cell).length + GAP);
  return widths;
}

/** One line of a table. */
export const tableRow = (row: readonly string[], widths: readonly number[]): string =>
  `${row.map((cell, i) => printable(cell).padEnd(widths[i])).join('')}\n`;

/** A table in calicoctl's form: left-aligned, padded, no lines. */
export function formatTable(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [titles, ...rows];
  const widths = columnWidths(all);
  return all.map((row) => tableRow(row, widths)).join('');
}
