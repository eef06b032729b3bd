import { hasCode, labelsOf, nearest, OperationalError, parseSelector, type Selector } from '#core';
import { type AnyResource, API_VERSION, KINDS, type Kind, type Resources } from '#datastore';
import { type CellContext, type Column, columnsOf } from '../columns.ts';
import { kindOf, named } from '../kinds.ts';
import { type Format, parseFormat, printData } from '../output.ts';
import { type Session, warn, withResources } from '../session.ts';
import { formatTable } from '../table.ts';
import { readTargets } from '../targets.ts';
import { watchResources } from './watch.ts';

export interface GetOptions {
  readonly output?: string;
  readonly namespace?: string;
  readonly allNamespaces?: boolean;
  readonly selector?: string;
  readonly watch?: boolean;
  readonly export?: boolean;
  readonly filename?: readonly string[];
  readonly recursive?: boolean;
}

/** What is asked for, understood. */
export interface GetQuery {
  readonly kind: Kind;
  readonly names: readonly string[];
  /** null: of all namespaces. */
  readonly namespace: string | null;
  /** Whether tables say which namespace each is in. */
  readonly showNamespace: boolean;
  readonly selector: Selector;
  readonly format: Format;
}

/** `get KIND [NAME...]`: what is stored, as a table or as data. */
export async function get(
  session: Session,
  kindWord: string | undefined,
  names: readonly string[],
  options: GetOptions,
): Promise<number> {
  const format = parseFormat(options.output);
  if (options.filename) return getFiles(session, format, options);
  if (!kindWord) throw new OperationalError('CONFIG', "which kind? For example 'tsnetctl get nodes'");
  const query = understand(kindWord, names, format, options);
  return withResources(session, (resources) =>
    options.watch ? watchResources(session.io, resources, query) : getOnce(session, resources, query, options),
  );
}

function understand(word: string, names: readonly string[], format: Format, options: GetOptions): GetQuery {
  const slash = word.indexOf('/');
  const kind = kindOf(slash < 0 ? word : word.slice(0, slash));
  const all = slash < 0 ? names : [word.slice(slash + 1), ...names];
  const selector = parseSelector(options.selector ?? '');
  if (!selector.ok) throw new OperationalError('CONFIG', `-l '${options.selector}': ${selector.error}`);
  if (options.namespace && options.allNamespaces)
    throw new OperationalError('CONFIG', 'give one namespace with -n or all with -A, not both');
  const { namespaced } = KINDS[kind];
  return {
    kind,
    names: all,
    namespace: namespaced && !options.allNamespaces ? (options.namespace ?? 'default') : null,
    showNamespace: namespaced && Boolean(options.namespace || options.allNamespaces),
    selector: selector.value,
    format,
  };
}

async function getOnce(session: Session, resources: Resources, query: GetQuery, options: GetOptions): Promise<number> {
  const everywhere = KINDS[query.kind].namespaced && query.namespace === null;
  const direct = query.names.length > 0 && !everywhere;
  const found = direct ? await byName(session, resources, query) : await byList(session, resources, query);
  const items = found.items
    .filter((item) => query.selector.matches(labelsOf(item.metadata.labels)))
    .map((item) => (options.export ? exported(item) : item));
  // A single name is an object; several are an array, none a list with its revision, as calicoctl prints them.
  const data =
    found.revision === null ? (query.names.length === 1 ? items[0] : items) : listOf(query.kind, items, found.revision);
  if (data !== undefined) await show(session, resources, query, items, data);
  return found.missing ? 1 : 0;
}

interface Found {
  readonly items: AnyResource[];
  readonly revision: string | null;
  readonly missing: boolean;
}

async function byName(session: Session, resources: Resources, { kind, names, namespace }: GetQuery): Promise<Found> {
  const items: AnyResource[] = [];
  let missing = false;
  for (const name of names) {
    try {
      items.push(await resources.get(kind, name, namespace));
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
      missing = true;
      session.io.stderr.write(`tsnetctl: ${await explainMissing(resources, kind, name, namespace)}\n`);
    }
  }
  return { items, revision: null, missing };
}

/** Says that it is not there, and what might be meant. */
export async function explainMissing(
  resources: Resources,
  kind: Kind,
  name: string,
  namespace: string | null,
): Promise<string> {
  const { items } = await resources.list(kind);
  const subject = named(kind, name, namespace);
  const elsewhere = items.find((item) => item.metadata.name === name);
  if (elsewhere) return `resource does not exist: ${subject}; it is in namespace ${elsewhere.metadata.namespace}`;
  const near = nearest(
    name,
    items.filter((i) => !namespace || i.metadata.namespace === namespace).map((i) => i.metadata.name),
  );
  return `resource does not exist: ${subject}${near ? `; did you mean '${near}'?` : ''}`;
}

async function byList(session: Session, resources: Resources, { kind, names, namespace }: GetQuery): Promise<Found> {
  const { items, invalid, resourceVersion } = await resources.list(kind, { namespace });
  for (const { id, message, used } of invalid)
    warn(session.io, `${kind}(${id}) ${used ? '' : 'cannot be used and counts as absent: '}${message}`);
  const sorted = sortForPeople(kind, items);
  if (names.length === 0) return { items: sorted, revision: resourceVersion, missing: false };
  const wanted = sorted.filter((item) => names.includes(item.metadata.name));
  const absent = names.filter((name) => !wanted.some((item) => item.metadata.name === name));
  for (const name of absent) session.io.stderr.write(`tsnetctl: resource does not exist: ${named(kind, name, '*')}\n`);
  return {
    items: wanted,
    revision: wanted.length === 1 && names.length === 1 ? null : resourceVersion,
    missing: absent.length > 0,
  };
}

/** Tiers in the order they are evaluated; all else by name, as it comes. */
function sortForPeople(kind: Kind, items: readonly AnyResource[]): AnyResource[] {
  const order = (item: AnyResource) => (item.kind === 'Tier' ? (item.spec.order ?? Number.POSITIVE_INFINITY) : 0);
  return kind === 'Tier' ? [...items].sort((a, b) => order(a) - order(b)) : [...items];
}

const listOf = (kind: Kind, items: readonly AnyResource[], resourceVersion: string) => ({
  kind: `${kind}List`,
  apiVersion: API_VERSION,
  metadata: { resourceVersion },
  items,
});

/** Without what is only of this cluster: for use in another. */
function exported<R extends AnyResource>(resource: R): R {
  const {
    uid: _uid,
    resourceVersion: _version,
    creationTimestamp: _created,
    namespace: _namespace,
    ...metadata
  } = resource.metadata;
  return { ...resource, metadata };
}

async function show(
  { io }: Session,
  resources: Resources,
  query: GetQuery,
  items: readonly AnyResource[],
  data: unknown,
): Promise<void> {
  const { format } = query;
  if (format.type === 'yaml' || format.type === 'json') return printData(io, format.type, data);
  if (format.type === 'name') {
    for (const { metadata } of items) io.stdout.write(`${KINDS[query.kind].singular}/${metadata.name}\n`);
    return;
  }
  const columns = columnsFor(query);
  const context = await cellContext(resources, query);
  const rows = items.map((item) => columns.map((column) => column.cell(item, context)));
  io.stdout.write(
    `${formatTable(
      columns.map((c) => c.title),
      rows,
    )}\n`,
  );
}

/** The columns of a query's table. */
export function columnsFor({ kind, format, showNamespace }: GetQuery): readonly Column[] {
  if (format.type !== 'custom-columns')
    return columnsOf(kind, format.type === 'wide' ? 'wide' : 'table', showNamespace);
  const known = [...columnsOf(kind, 'wide', KINDS[kind].namespaced), ...columnsOf(kind, 'table', false)];
  return format.titles.map((title) => {
    const found = known.find((column) => column.title === title.toUpperCase());
    if (found) return found;
    const near = nearest(
      title,
      known.map((column) => column.title),
    );
    const names = [...new Set(known.map((column) => column.title))].join(', ');
    throw new OperationalError(
      'CONFIG',
      `${kind} has no column '${title}'${near ? `, did you mean '${near}'?` : ''}; columns are ${names}`,
    );
  });
}

/** What cells need to know of the cluster; read only for the columns that show it. */
export async function cellContext(resources: Resources, query: GetQuery): Promise<CellContext> {
  if (query.kind !== 'Node' || query.format.type === 'table') return { clusterAs: '64512' };
  const configuration = await resources.get('BGPConfiguration', 'default').catch((error: unknown) => {
    if (hasCode(error, 'NOT_FOUND')) return null;
    throw error;
  });
  return { clusterAs: String(configuration?.spec.asNumber ?? 64512) };
}

/** `get -f`: those that the files name, as they are stored. */
async function getFiles(session: Session, format: Format, options: GetOptions): Promise<number> {
  const targets = await readTargets(session.io, options);
  return withResources(session, async (resources) => {
    const items: AnyResource[] = [];
    for (const target of targets) items.push(await resources.get(target.kind, target.name, target.namespace));
    if (format.type === 'yaml' || format.type === 'json') {
      await printData(session.io, format.type, items.length === 1 ? items[0] : items);
      return 0;
    }
    for (const kind of new Set(items.map((item) => item.kind))) {
      const query: GetQuery = { ...understand(kind, [], format, {}), showNamespace: KINDS[kind].namespaced };
      await show(
        session,
        resources,
        query,
        items.filter((item) => item.kind === kind),
        null,
      );
    }
    return 0;
  });
}
