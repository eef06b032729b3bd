import { hasCode } from '#core';
import { type AnyResource, createResources, type Resources } from '#datastore';
import { type Change, changesBetween, changeText } from '../changes.ts';
import { ClusterReader } from '../flow/cluster-reader.ts';
import type { ChangedObject } from '../impact/changed.ts';
import { impactOf } from '../impact/impact.ts';
import { showImpact } from '../impact/show-impact.ts';
import { painter, printable } from '../io.ts';
import { named } from '../kinds.ts';
import { DATA_FORMATS, parseFormat, printData } from '../output.ts';
import { type Session, withStore } from '../session.ts';
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

/** `diff -f`: the objects that `apply` of the same files would change (with `--delete`, that `delete` would remove), their fields, and whose traffic that would allow or deny. */
export async function diff(
  session: Session,
  options: InputOptions & { readonly output?: string; readonly delete?: boolean; readonly flows?: boolean },
): Promise<number> {
  const { type } = parseFormat(options.output, DATA_FORMATS);
  const targets = await readTargets(session.io, options);
  const { changed, impact } = await withStore(session, async (store) => {
    const resources = createResources(store, session.io.clock);
    const found: ChangedObject[] = [];
    for (const target of targets) found.push(...(await differenceOf(resources, target, options.delete ?? false)));
    if (options.flows === false) return { changed: found, impact: null };
    const reader = new ClusterReader(store, session.io);
    const difference = await impactOf(reader, found);
    reader.finish();
    return { changed: found, impact: difference };
  });
  const objects = changed.map(describe);
  if (type === 'json' || type === 'yaml') {
    const { flows = [], asked = null, limits = [] } = impact ?? {};
    await printData(session.io, type, {
      objects,
      ...(options.flows !== false && { flows, flowsAsked: asked, limits }),
    });
    return 0;
  }
  show(session, objects);
  if (impact) showImpact(session.io, impact);
  return 0;
}

async function differenceOf(resources: Resources, target: Target, remove: boolean): Promise<ChangedObject[]> {
  const before = await stored(resources, target);
  const { kind } = target;
  if (remove) return before ? [{ kind, before, after: null }] : [];
  const { change, resource } = await resources.apply(target.resource, { dryRun: true });
  if (change === 'unchanged') return [];
  return [{ kind, before: change === 'created' ? null : before, after: resource }];
}

function describe({ before, after }: ChangedObject): ObjectChange {
  const change = after === null ? 'delete' : before === null ? 'add' : 'update';
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
