import { type AnyResource, KINDS } from '#datastore';
import { type Change, changeText } from '../changes.ts';
import { type Io, painter, printable } from '../io.ts';
import { kindNamed, named } from '../kinds.ts';
import { parseFormat, printData } from '../output.ts';
import { type Complaint, complaintText } from '../targets.ts';

/** What became of one document. */
export interface Outcome extends Omit<Complaint, 'message'> {
  readonly namespace: string | null;
  readonly result: 'created' | 'updated' | 'unchanged' | 'deleted' | 'failed';
  readonly message: string | null;
  readonly changes: readonly Change[];
  readonly resource?: AnyResource;
}

interface ReportOptions {
  readonly output?: string;
  readonly dryRun?: boolean;
}

const FORMATS = ['table', 'yaml', 'json', 'name'];

/**
 * Tells what was done: a line each on stdout, mistakes on stderr, and a summary when there was more than one. `left`: documents
 * that were not come to. Gives the exit status.
 */
export async function report(
  io: Io,
  verb: string,
  options: ReportOptions,
  outcomes: readonly Outcome[],
  left: number,
): Promise<number> {
  const { type } = parseFormat(options.output, FORMATS);
  const failures = outcomes.filter((outcome) => outcome.result === 'failed');
  for (const failure of failures)
    io.stderr.write(`tsnetctl: ${printable(complaintText({ ...failure, message: failure.message ?? '' }))}\n`);
  const done = outcomes.filter((outcome) => outcome.result !== 'failed');
  if (type === 'json' || type === 'yaml')
    await printData(
      io,
      type,
      outcomes.map((o) => asData(o, options)),
    );
  else if (type === 'name') for (const { kind, name } of done) io.stdout.write(`${nameLine(kind, name)}\n`);
  else tell(io, done, options);
  if (type === 'table' && (outcomes.length > 1 || left > 0)) summarise(io, verb, options, outcomes, left);
  return failures.length > 0 ? 1 : 0;
}

const nameLine = (kind: string | null, name: string | null): string => {
  const known = kindNamed(kind);
  return printable(`${known ? KINDS[known].singular : kind}/${name}`);
};

function tell(io: Io, done: readonly Outcome[], { dryRun }: ReportOptions): void {
  const paint = painter(io.stdout, io.env);
  for (const { result, kind, name, namespace, changes } of done) {
    const colour = result === 'deleted' ? 'red' : result === 'unchanged' ? null : 'green';
    const word = dryRun && result !== 'unchanged' ? `would be ${result}` : result;
    io.stdout.write(`${printable(named(kind ?? '', name ?? '', namespace))} ${colour ? paint(colour, word) : word}\n`);
    if (dryRun) for (const change of changes) io.stdout.write(`  ${printable(changeText(change))}\n`);
  }
}

function summarise(io: Io, verb: string, { dryRun }: ReportOptions, outcomes: readonly Outcome[], left: number): void {
  const counts = new Map<string, number>();
  for (const { result } of outcomes) counts.set(result, (counts.get(result) ?? 0) + 1);
  const parts = [...counts].map(([result, count]) => `${count} ${result}`);
  if (left > 0) parts.push(`${left} not attempted`);
  const total = outcomes.length + left;
  io.stdout.write(
    `${verb}${dryRun ? ' (dry run)' : ''}: ${total} resource${total === 1 ? '' : 's'}: ${parts.join(', ')}\n`,
  );
}

/** For scripts: `result` says what was done, or with `dryRun` what would be. */
function asData(
  { kind, name, namespace, result, message, file, line, field, changes, resource }: Outcome,
  { dryRun }: ReportOptions,
) {
  return {
    kind,
    name,
    ...(namespace !== null && { namespace }),
    result,
    ...(dryRun && { dryRun: true }),
    ...(message !== null && { message, field }),
    file,
    line,
    fields: changes.map((change) => change.field),
    changes,
    ...(resource && { resource }),
  };
}
