import { type Addr, parseAddr } from '#core';
import {
  type InvalidObject,
  type Kind,
  type Kinds,
  type ScanOptions,
  type Store,
  scanKind,
  scanOne,
  type WorkloadEndpoint,
} from '#datastore';
import { holds } from '#policy';
import type { Io } from '../io.ts';
import { printable } from '../io.ts';
import { warn } from '../session.ts';

/** So many objects that cannot be used are named one by one. */
const MOST_NAMED = 20;
/** After so many workload endpoints a person at a terminal is told how far it is. */
const TELL_EVERY = 50_000;

/** Reads objects as an agent takes them: what cannot be used is absent, and is told in a warning. Of large kinds only what is asked for is kept. */
export class ClusterReader {
  readonly #store: Store;
  readonly #io: Io;
  /** Keys of what was found wrong, some of which are read twice. */
  readonly #wrong = new Set<string>();

  constructor(store: Store, io: Io) {
    this.#store = store;
    this.#io = io;
  }

  /** All of a kind, or what `options` leave of it, by id. */
  async all<K extends Kind>(kind: K, options: ScanOptions<K> = {}): Promise<Map<string, Kinds[K]>> {
    const found = new Map<string, Kinds[K]>();
    for await (const { id, resource, invalid } of scanKind(this.#store, kind, options)) {
      if (invalid) this.#tell(invalid);
      if (resource) found.set(id, resource);
    }
    return found;
  }

  /** Those of some namespaces. */
  async inNamespaces<K extends Kind>(kind: K, namespaces: Iterable<string>): Promise<Map<string, Kinds[K]>> {
    const found = new Map<string, Kinds[K]>();
    for (const namespace of namespaces)
      for (const [id, resource] of await this.all(kind, { namespace })) found.set(id, resource);
    return found;
  }

  /** Those of some names; one that is not there is left out. */
  async byName<K extends Kind>(kind: K, names: Iterable<string>): Promise<Map<string, Kinds[K]>> {
    const found = new Map<string, Kinds[K]>();
    for (const name of new Set(names)) {
      const scanned = await scanOne(this.#store, kind, name);
      if (scanned?.invalid) this.#tell(scanned.invalid);
      if (scanned?.resource) found.set(scanned.id, scanned.resource);
    }
    return found;
  }

  /** Of all workload endpoints those that `wanted` says; the way through a large cluster takes seconds. */
  async endpoints(
    wanted: NonNullable<ScanOptions<'WorkloadEndpoint'>['keep']>,
  ): Promise<Map<string, WorkloadEndpoint>> {
    let looked = 0;
    return this.all('WorkloadEndpoint', {
      keep: (stored, id) => {
        looked++;
        if (looked % TELL_EVERY === 0 && this.#io.stderr.isTTY)
          this.#io.stderr.write(`tsnetctl: ${looked} workload endpoints looked at so far\n`);
        return wanted(stored, id);
      },
    });
  }

  /** How many were left unnamed. */
  finish(): void {
    const more = this.#wrong.size - MOST_NAMED;
    if (more > 0) warn(this.#io, `${more} more objects cannot be used as they are; 'tsnetctl node status' names them`);
  }

  #tell({ where, kind, id, message, used }: InvalidObject): void {
    if (this.#wrong.has(where)) return;
    this.#wrong.add(where);
    if (this.#wrong.size > MOST_NAMED) return;
    const what = used ? '' : 'cannot be used and counts as absent: ';
    warn(this.#io, `${printable(`${kind}(${id})`)} ${what}${printable(message)}`);
  }
}

/** Whether a list of nets, as it is stored, holds one of the addresses. */
export function holdsOneOf(nets: unknown, addresses: readonly Addr[]): boolean {
  if (!Array.isArray(nets)) return false;
  const texts = nets.filter((net) => typeof net === 'string');
  return addresses.some((address) => holds(texts, address));
}

/** Whether a stored `ipNATs` translates the address. */
export function translates(nats: unknown, address: Addr): boolean {
  if (!Array.isArray(nats)) return false;
  return nats.some((nat: { externalIP?: unknown } | null) => {
    const parsed = typeof nat?.externalIP === 'string' ? parseAddr(nat.externalIP) : null;
    return parsed?.ok === true && parsed.value === address;
  });
}
