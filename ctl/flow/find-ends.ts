import { type Addr, nearest, OperationalError } from '#core';
import type { WorkloadEndpoint } from '#datastore';
import { type ClusterReader, holdsOneOf, translates } from './cluster-reader.ts';
import { type End, endsAt, endsNamed, hostEndpointsAt, isCalled, type Known, pairOf } from './end.ts';
import type { PacketKind } from './kind-of-packet.ts';
import { nearestEndKind, type Reading, type Wanted } from './wanted.ts';

/** The two ends of a flow, the addresses that it is between, and what was read to find them. */
export interface Ends {
  readonly from: End;
  readonly to: End;
  readonly source: Addr;
  readonly destination: Addr;
  /** Among the workloads are the ends and all others that have one of the addresses. */
  readonly known: Known;
  /** What a person should know of how the question was understood. */
  readonly notes: readonly string[];
}

/** Finds what is meant. Whatever is not there, or can be several things, is an error that names the flag and the remedy. */
export async function findEnds(
  reader: ClusterReader,
  wanted: readonly [Wanted, Wanted],
  kind: PacketKind,
): Promise<Ends> {
  const [nodes, hosts] = [await reader.all('Node'), await reader.all('HostEndpoint')];
  const { workloads, names } = await readNamed(reader, wanted);
  const known: Known = { nodes, hosts, workloads };
  const named: End[] = [];
  for (const one of wanted)
    named.push(
      addressOf(one) ? endsAt(one, addressOf(one) as Addr, known)[0] : await theOne(reader, one, known, names),
    );
  const pair = pairOf(named[0], named[1], kind.family);
  const addresses = [pair.source, pair.destination];
  const floating = new Map<string, WorkloadEndpoint>();
  const owners = await reader.endpoints(
    ({ spec }) => holdsOneOf(spec.ipNetworks, addresses) || translates(spec.ipNATs, pair.destination),
  );
  for (const [id, endpoint] of owners)
    if (holdsOneOf(endpoint.spec.ipNetworks, addresses)) workloads.set(id, endpoint);
    else floating.set(id, endpoint);
  const ends = wanted.map((one, i) => {
    const address = addressOf(one);
    const end = address ? onlyOne(one, endsAt(one, address, known)) : named[i];
    return onlyOne(one, hostEndpointsAt(end, addresses[i], known));
  });
  const notes = [...notesOn(ends, addresses, kind), ...floatingNotes(ends[1], floating)];
  return { from: ends[0], to: ends[1], ...pair, known, notes };
}

const addressOf = ({ readings }: Wanted): Addr | null => {
  const [reading] = readings;
  return reading?.kind === 'Address' ? reading.address : null;
};

type WorkloadReading = Extract<Reading, { kind: 'WorkloadEndpoint' }>;

/** The workloads that have one of the names, and, for suggestions, how those of the same namespaces are called. */
async function readNamed(
  reader: ClusterReader,
  wanted: readonly Wanted[],
): Promise<{ workloads: Map<string, WorkloadEndpoint>; names: ReadonlySet<string> }> {
  const readings = wanted
    .flatMap((one) => one.readings)
    .filter((r): r is WorkloadReading => r.kind === 'WorkloadEndpoint');
  const workloads = new Map<string, WorkloadEndpoint>();
  const names = new Set<string>();
  for (const namespace of new Set(readings.map((reading) => reading.namespace))) {
    const keep = (stored: { spec: Readonly<Record<string, unknown>> }, id: string): boolean => {
      const { pod, workload } = stored.spec;
      const name = pod || workload;
      names.add(typeof name === 'string' ? `${namespace}/${name}` : id);
      return readings.some((reading) => isCalled(id, stored.spec, reading));
    };
    for (const [id, endpoint] of await reader.all('WorkloadEndpoint', { namespace, keep })) workloads.set(id, endpoint);
  }
  return { workloads, names };
}

async function theOne(reader: ClusterReader, wanted: Wanted, known: Known, names: ReadonlySet<string>): Promise<End> {
  const found = endsNamed(wanted, known);
  if (found.length > 0) return onlyOne(wanted, found);
  throw new OperationalError('NOT_FOUND', await notThere(reader, wanted, known, names));
}

function onlyOne({ flag, text }: Wanted, found: readonly End[]): End {
  if (found.length === 1) return found[0];
  const names = found.map(({ name }) => asGiven(name));
  const shown =
    names.length > MOST_SHOWN ? [...names.slice(0, MOST_SHOWN), `${names.length - MOST_SHOWN} more`] : names;
  throw new OperationalError('CONFIG', `${flag} '${text}' can be several: ${shown.join(', ')}; give one of these`);
}

/** Candidates of an error at most. */
const MOST_SHOWN = 10;

/** `workloadendpoint/namespace/name`: how it is given so that nothing else can be meant. */
const asGiven = (name: string): string =>
  name.includes('/') ? name.replace(/^[^/]*/, (kind) => kind.toLowerCase()) : name;

/** What it was looked for as, and what might be meant. */
async function notThere(
  reader: ClusterReader,
  { flag, text, readings }: Wanted,
  known: Known,
  names: ReadonlySet<string>,
): Promise<string> {
  const looked = readings.map((reading) =>
    reading.kind === 'WorkloadEndpoint'
      ? `a workload '${reading.name}' in namespace ${reading.namespace}`
      : reading.kind === 'Address'
        ? reading.address
        : `a ${reading.kind === 'Node' ? 'node' : 'host endpoint'} '${reading.name}'`,
  );
  const said = `${flag} '${text}' is not there: looked for ${looked.join(', ')}`;
  const workload = readings.find((reading): reading is WorkloadReading => reading.kind === 'WorkloadEndpoint');
  if (workload) {
    const elsewhere = await otherNamespaces(reader, workload.name);
    if (elsewhere.length > 0) return `${said}; there is ${elsewhere.slice(0, MOST_SHOWN).join(', ')}`;
  }
  const name = text.slice(text.lastIndexOf('/') + 1);
  const near = nearest(
    name,
    readings.flatMap((reading) => namesOf(reading, known, names)),
  );
  if (near) return `${said}; did you mean '${text.slice(0, text.length - name.length)}${near}'?`;
  const word = text.includes('/') ? nearestEndKind(text.split('/')[0]) : null;
  if (word) return `${said}; did you mean '${word}/${name}'?`;
  return `${said}; 'tsnetctl get endpoints -A' and 'tsnetctl get nodes' list what is there, and an address outside the cluster is given as such`;
}

/** What there is of the kind that a reading means. */
function namesOf(reading: Reading, { nodes, hosts }: Known, workloads: ReadonlySet<string>): string[] {
  switch (reading.kind) {
    case 'Node':
      return [...nodes.keys()];
    case 'HostEndpoint':
      return [...hosts.keys()];
    case 'WorkloadEndpoint': {
      const before = `${reading.namespace}/`;
      return [...workloads].filter((name) => name.startsWith(before)).map((name) => name.slice(before.length));
    }
    case 'Address':
      return [];
  }
}

/** The same name in other namespaces, as one would give it. */
async function otherNamespaces(reader: ClusterReader, name: string): Promise<string[]> {
  const found = await reader.endpoints((stored, id) =>
    isCalled(id, stored.spec, { kind: 'WorkloadEndpoint', namespace: id.slice(0, id.indexOf('/')), name }),
  );
  return [...found.keys()].map((id) => `'workloadendpoint/${id}'`);
}

function notesOn(ends: readonly End[], addresses: readonly Addr[], kind: PacketKind): string[] {
  const notes = ends.flatMap((end, i) => {
    const others = end.addresses.filter(
      (one) => one.includes(':') === addresses[i].includes(':') && one !== addresses[i],
    );
    return others.length === 0
      ? []
      : [`${end.name} has other addresses: ${[...new Set(others)].join(', ')}; give one of them to ask about it`];
  });
  const both = ends.every(
    ({ addresses: all }) => all.some((one) => one.includes(':')) && all.some((one) => !one.includes(':')),
  );
  if (both && kind.family === null) notes.push('this is about IPv4; --ip-version 6 asks about IPv6');
  return notes;
}

/** Addresses that are translated before policy sees them. */
const floatingNotes = (to: End, floating: ReadonlyMap<string, WorkloadEndpoint>): string[] =>
  to.kind === 'Address'
    ? [...floating.keys()].map(
        (id) =>
          `${to.name} is a floating address (ipNATs) of WorkloadEndpoint/${id}: where floatingIPs is Enabled it is translated on the way, and ingress policy of that endpoint sees its own address; ask with --to workloadendpoint/${id}, too`,
      )
    : [];
