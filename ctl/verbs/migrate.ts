import { KIND_NAMES, parseKey, RESOURCES_PREFIX, type Resources, type Store } from '#datastore';
import { painter, printable } from '../io.ts';
import { named } from '../kinds.ts';
import { type Judgement, judge, judgement, refused, type Verdict } from '../migration.ts';
import { DATA_FORMATS, parseFormat, printData } from '../output.ts';
import { type Session, withStore } from '../session.ts';
import { formatTable } from '../table.ts';

/**
 * `migrate check`: what a tsnet node would honour, ignore or refuse of a running Calico cluster, object by object. Reads only. Exit status 1
 * when anything is refused.
 */
export async function migrateCheck(
  session: Session,
  options: { readonly allObjects?: boolean; readonly output?: string },
): Promise<number> {
  const { io } = session;
  const { type } = parseFormat(options.output, DATA_FORMATS);
  const { createResources } = await import('#datastore');
  const objects = await withStore(session, (store) => judgeAll(store, createResources(store, io.clock)));
  const ok = !objects.some(({ verdict }) => verdict === 'refuse');
  if (type === 'json' || type === 'yaml') await printData(io, type, { ok, summary: summaryOf(objects), objects });
  else show(session, objects, options.allObjects ?? false);
  return ok ? 0 : 1;
}

async function judgeAll(store: Store, resources: Resources): Promise<Judgement[]> {
  const objects: Judgement[] = [];
  for (const kind of KIND_NAMES) {
    const { items, invalid } = await resources.list(kind);
    objects.push(...items.map((item) => judge(item)));
    for (const { id, message, used } of invalid) {
      // It is among the items too.
      if (used) continue;
      const slash = id.indexOf('/');
      objects.push(refused(kind, id.slice(slash + 1), slash < 0 ? null : id.slice(0, slash), message));
    }
  }
  return [...objects, ...(await strangers(store))];
}

/** Keys among the resources that are of no kind that tsnet knows. */
async function strangers(store: Store): Promise<Judgement[]> {
  const found: Judgement[] = [];
  for await (const page of store.list(RESOURCES_PREFIX))
    for (const { key } of page) {
      if (parseKey(key)) continue;
      const [plural, ...rest] = key.slice(RESOURCES_PREFIX.length).split('/');
      found.push(
        judgement(plural, rest.join('/'), null, [
          { verdict: 'ignore', field: null, message: 'is of a kind that tsnet does not know' },
        ]),
      );
    }
  return found;
}

type Counts = Record<Verdict, number>;

function summaryOf(objects: readonly Judgement[]): Record<string, Counts> {
  const summary: Record<string, Counts> = {};
  for (const { kind, verdict } of objects) {
    summary[kind] ??= { honour: 0, ignore: 0, refuse: 0 };
    summary[kind][verdict] += 1;
  }
  return summary;
}

const COLOURS = { honour: 'green', ignore: 'yellow', refuse: 'red' } as const;

function show({ io }: Session, objects: readonly Judgement[], all: boolean): void {
  const paint = painter(io.stdout, io.env);
  for (const { kind, name, namespace, verdict, notes } of objects) {
    if (notes.length === 0 && !all) continue;
    io.stdout.write(`${paint(COLOURS[verdict], verdict.padEnd(6))}   ${printable(named(kind, name, namespace))}\n`);
    for (const note of notes) {
      const text = printable(note.field ? `${note.field} ${note.message}` : note.message);
      io.stdout.write(
        `           ${note.verdict === verdict || note.field === null ? '' : `${note.verdict}: `}${text}\n`,
      );
    }
  }
  const rows = Object.entries(summaryOf(objects)).map(([kind, counts]) => [kind, ...Object.values(counts).map(String)]);
  io.stdout.write(`\n${formatTable(['KIND', 'HONOURED', 'IGNORED', 'REFUSED'], rows)}\n`);
  const bad = objects.filter(({ verdict }) => verdict === 'refuse').length;
  io.stdout.write(
    bad === 0
      ? 'Nothing stands against switching a node.\n'
      : `${bad} object${bad === 1 ? '' : 's'} to change before a node is switched.\n`,
  );
}
