import { assertNever, nearest, OperationalError } from '#core';
import type { Io } from './io.ts';

/** How data is printed. */
export type Format =
  | { readonly type: 'table' | 'wide' | 'yaml' | 'json' | 'name' }
  | { readonly type: 'custom-columns'; readonly titles: readonly string[] };

const WORDS = ['table', 'wide', 'yaml', 'json', 'name'] as const;

/** The value of `-o`; `ps` is calicoctl's word for the default. */
export function parseFormat(text = 'table', allowed: readonly string[] = [...WORDS, 'custom-columns=']): Format {
  const word = text === 'ps' ? 'table' : text;
  if (word.startsWith('custom-columns=') && allowed.includes('custom-columns='))
    return { type: 'custom-columns', titles: word.slice('custom-columns='.length).split(',').filter(Boolean) };
  const type = WORDS.find((known) => known === word);
  if (type && allowed.includes(type)) return { type };
  if (word.startsWith('go-template'))
    throw new OperationalError('CONFIG', `-o ${text} is not there; use -o json with jq, or -o custom-columns=A,B`);
  const near = nearest(word, allowed);
  throw new OperationalError(
    'CONFIG',
    `unknown output format '${text}'${near ? `, did you mean '${near}'?` : ''}; formats are ${allowed.join(', ')}`,
  );
}

/** Formats of verbs whose table has one width. */
export const DATA_FORMATS = ['table', 'yaml', 'json'] as const;

/** Data for scripts. YAML is the same data as JSON. */
export async function printData(io: Io, type: 'yaml' | 'json', data: unknown): Promise<void> {
  if (type === 'json') {
    io.stdout.write(`${JSON.stringify(data, null, 2)}\n`);
    return;
  }
  const { stringify } = await import('yaml');
  io.stdout.write(stringify(JSON.parse(JSON.stringify(data ?? null)), { aliasDuplicateObjects: false, lineWidth: 0 }));
}

/** Data, or else what `table` makes of it. */
export async function printAs(
  io: Io,
  format: Format,
  data: unknown,
  table: () => string | Promise<string>,
): Promise<void> {
  switch (format.type) {
    case 'yaml':
    case 'json':
      return printData(io, format.type, data);
    case 'table':
    case 'wide':
    case 'name':
    case 'custom-columns':
      io.stdout.write(await table());
      return;
    default:
      return assertNever(format);
  }
}
