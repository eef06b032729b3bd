import { prepare } from '#datastore';
import { printable } from '../io.ts';
import { DATA_FORMATS, parseFormat, printData } from '../output.ts';
import type { Session } from '../session.ts';
import {
  type Complaint,
  complain,
  complaintText,
  type InputOptions,
  readInput,
  type Target,
  typingErrors,
} from '../targets.ts';

/** `validate -f`: everything that is wrong with the files, with its place; the datastore is not asked. */
export async function validateFiles(
  { io }: Session,
  options: InputOptions & { readonly output?: string },
): Promise<number> {
  const { type } = parseFormat(options.output, DATA_FORMATS);
  const { targets, complaints } = await readInput(io, options);
  const errors = [...complaints, ...targets.flatMap(judge), ...twins(targets)].sort(byPlace);
  const ok = errors.length === 0;
  if (type === 'json' || type === 'yaml') {
    await printData(io, type, { ok, errors });
    return ok ? 0 : 1;
  }
  for (const error of errors) io.stderr.write(`tsnetctl: ${printable(complaintText(error))}\n`);
  const wrong = new Set(errors.map(({ file, line, name }) => (name === null ? `${file}:${line}` : `${file} ${name}`)))
    .size;
  if (ok) io.stdout.write(`${targets.length} resource${targets.length === 1 ? ' is' : 's are'} valid\n`);
  else
    io.stdout.write(
      `${errors.length} error${errors.length === 1 ? '' : 's'} in ${wrong} document${wrong === 1 ? '' : 's'}\n`,
    );
  return ok ? 0 : 1;
}

function judge(target: Target): Complaint[] {
  const prepared = prepare(target.resource);
  const wrong = [...(prepared.ok ? [] : prepared.error), ...typingErrors(target)];
  return wrong.map((error) => complain(target.document, { kind: target.kind, name: target.name }, error));
}

/** The same object twice: the later document would silently win. */
function twins(targets: readonly Target[]): Complaint[] {
  const seen = new Map<string, Target>();
  return targets.flatMap((target) => {
    const id = `${target.kind}/${target.namespace ?? ''}/${target.name}`;
    const first = target.name === '' ? undefined : seen.get(id);
    if (!first) {
      seen.set(id, target);
      return [];
    }
    const { file, line } = first.document;
    return [
      complain(target.document, target, { field: 'metadata.name', message: `is already used by ${file}:${line}` }),
    ];
  });
}

const byPlace = (a: Complaint, b: Complaint): number =>
  a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1;
