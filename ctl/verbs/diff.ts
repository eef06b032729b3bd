import { hasCode } from '#core';
import type { AnyResource, Resources } from '#datastore';
import { type Change, changesBetween, changeText } from '../changes.ts';
import { painter, printable } from '../io.ts';
import { named } from '../kinds.ts';
import { DATA_FORMATS, parseFormat, printData } from '../output.ts';
import { type Session, withResources } from '../session.ts';
import { type InputOptions, readTargets, type Target } from '../targets.ts';

/** What applying the files would do to one object. */
interface ObjectChange {
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
  readonly change: 'add' | 'update' | 'delete';
  readonly fields: readonly string[];
  readonly changes: readonly Change[];
}

/** `diff -f`: the objects that `apply` of the same files would change (with `--delete`, that `delete` would remove), and their fields. */
export async function diff(
  session: Session,
  options: InputOptions & { readonly output?: string; readonly delete?: boolean },
): Promise<number> {
  const { type } = parseFormat(options.output, DATA_FORMATS);
  const targets = await readTargets(session.io, options);
  const objects = await withResources(session, async (resources) => {
    const found: ObjectChange[] = [];
    for (const target of targets) found.push(...(await differenceOf(resources, target, options.delete ?? false)));
    return found;
  });
  if (type === 'json' || type === 'yaml') await printData(session.io, type, { objects });
  else show(session, objects);
  return 0;
}

async function differenceOf(resources: Resources, target: Target, remove: boolean): Promise<ObjectChange[]> {
  const before = await stored(resources, target);
  if (remove) return before ? [describe('delete', before, null)] : [];
  const { change, resource } = await resources.apply(target.resource, { dryRun: true });
  if (change === 'unchanged') return [];
  return [describe(change === 'created' ? 'add' : 'update', change === 'created' ? null : before, resource)];
}

function describe(change: ObjectChange['change'], before: AnyResource | null, after: AnyResource | null): ObjectChange {
  const { kind, metadata } = (after ?? before) as AnyResource;
  const changes = changesBetween(before?.spec ? before : null, after);
  return {
    kind,
    name: metadata.name,
    ...(metadata.namespace && { namespace: metadata.namespace }),
    change,
    fields: changes.map(({ field }) => field),
    changes,
  };
}

async function stored(resources: Resources, { kind, name, namespace }: Target): Promise<AnyResource | null> {
  try {
    return name === '' ? null : await resources.get(kind, name, namespace);
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND') || hasCode(error, 'VALIDATION')) return null;
    throw error;
  }
}

const SIGN = { add: '+', update: '~', delete: '-' } as const;
const COLOUR = { add: 'green', update: 'yellow', delete: 'red' } as const;

function show({ io }: Session, objects: readonly ObjectChange[]): void {
  const paint = painter(io.stdout, io.env);
  for (const { kind, name, namespace, change, changes } of objects) {
    io.stdout.write(`${paint(COLOUR[change], `${SIGN[change]} ${printable(named(kind, name, namespace))}`)}\n`);
    if (change === 'update') for (const one of changes) io.stdout.write(`    ${printable(changeText(one))}\n`);
  }
  if (objects.length === 0) io.stdout.write('nothing would change\n');
}
