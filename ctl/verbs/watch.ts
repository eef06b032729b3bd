import { labelsOf } from '#core';
import { type AnyResource, KINDS, type Resources } from '#datastore';
import { type Io, printable } from '../io.ts';
import { warn } from '../session.ts';
import { columnWidths, tableRow } from '../table.ts';
import { cellContext, columnsFor, type GetQuery } from './get.ts';

type EventName = 'ADDED' | 'MODIFIED' | 'DELETED';

/**
 * `get --watch`: what is there, then every change, until SIGINT. Tables have a column for what happened; data is one object a line in JSON
 * (`{type, object}`), one document each in YAML.
 */
export async function watchResources(io: Io, resources: Resources, query: GetQuery): Promise<number> {
  const print = await printer(io, resources, query);
  const judge = judgement(query);
  const initial: AnyResource[] = [];
  let synced = false;
  for await (const event of resources.watch(query.kind, { namespace: query.namespace, signal: io.signal })) {
    if (event.type === 'in-sync') {
      if (!synced) print.start(initial);
      synced = true;
    } else if (event.type === 'invalid') {
      warn(io, `${query.kind}(${event.invalid.id}) cannot be used and counts as absent: ${event.invalid.message}`);
    } else {
      const seen = judge(event.resource, event.type === 'deleted');
      if (seen && synced) print.event(seen, event.resource);
      else if (seen) initial.push(event.resource);
    }
  }
  return 0;
}

/** What a change means to who sees only a selection: a resource whose labels no longer match is gone. */
function judgement({ names, selector }: GetQuery): (resource: AnyResource, deleted: boolean) => EventName | null {
  const shown = new Set<string>();
  return ({ metadata }, deleted) => {
    if (names.length > 0 && !names.includes(metadata.name)) return null;
    const id = `${metadata.namespace ?? ''}/${metadata.name}`;
    const before = shown.has(id);
    const after = !deleted && selector.matches(labelsOf(metadata.labels));
    if (after) shown.add(id);
    else shown.delete(id);
    if (after) return before ? 'MODIFIED' : 'ADDED';
    return before ? 'DELETED' : null;
  };
}

interface Printer {
  start(initial: readonly AnyResource[]): void;
  event(name: EventName, resource: AnyResource): void;
}

async function printer(io: Io, resources: Resources, query: GetQuery): Promise<Printer> {
  const each = async (): Promise<((name: EventName, resource: AnyResource) => void) | null> => {
    switch (query.format.type) {
      case 'json':
        return (type, object) => io.stdout.write(`${JSON.stringify({ type, object })}\n`);
      case 'yaml': {
        const { stringify } = await import('yaml');
        return (type, object) => io.stdout.write(`---\n${stringify({ type, object }, { lineWidth: 0 })}`);
      }
      case 'name':
        return (_, { metadata }) => io.stdout.write(`${KINDS[query.kind].singular}/${printable(metadata.name)}\n`);
      default:
        return null;
    }
  };
  const event = await each();
  if (event)
    return {
      event,
      start: (initial) => {
        for (const resource of initial) event('ADDED', resource);
      },
    };
  return tablePrinter(io, resources, query);
}

async function tablePrinter(io: Io, resources: Resources, query: GetQuery): Promise<Printer> {
  const columns = columnsFor(query);
  const context = await cellContext(resources, query);
  const row = (name: EventName, resource: AnyResource) => [name, ...columns.map((c) => c.cell(resource, context))];
  let widths: number[] = [];
  return {
    start: (initial) => {
      const rows = [['EVENT', ...columns.map((c) => c.title)], ...initial.map((r) => row('ADDED', r))];
      widths = columnWidths([...rows, ['MODIFIED']]);
      for (const cells of rows) io.stdout.write(tableRow(cells, widths));
    },
    event: (name, resource) => io.stdout.write(tableRow(row(name, resource), widths)),
  };
}
