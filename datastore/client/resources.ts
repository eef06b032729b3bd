import { randomUUID } from 'node:crypto';
import { type Clock, hasCode, OperationalError } from '#core';
import { encodeResource, hasTieredName } from '../codec.ts';
import { kindPrefix, resourceKey } from '../keys.ts';
import { shown } from '../model/fields.ts';
import { ALLOW_ALL_PROFILE, type AnyResource, allowAllProfile, KINDS, type Kind, type Kinds } from '../model/index.ts';
import type { KeyValue, Store } from '../store.ts';
import { Twins, twinMessage } from '../twins.ts';
import type { InvalidObject } from '../update.ts';
import { prepare } from '../validate.ts';
import { removeBelongings, vacatePool } from './cascade.ts';
import { alreadyExists, conflict, named, nameOf, notFound, ValidationError } from './errors.ts';
import { initialiseCluster } from './initialise.ts';
import { changed, merge } from './merge.ts';
import { openEntry } from './read.ts';
import { checkImmutable, checkReferences, whyKept } from './references.ts';
import { type ResourceEvent, watchKind } from './watch.ts';

export interface ResourceList<K extends Kind> {
  readonly items: Kinds[K][];
  /** The revision of the list: where to watch from. */
  readonly resourceVersion: string;
  /** Objects that exist but cannot be used, which are not among the items; and those marked `used`, which are. */
  readonly invalid: readonly InvalidObject[];
}

export interface WriteOptions {
  /** Does everything but the write; the answer is what would have been stored. */
  readonly dryRun?: boolean;
}

/** A resource whose kind decides its type, so that the kind need not be written out. */
export type OfKind<K extends Kind> = Kinds[K] & { readonly kind: K };

/** What apply did. */
export interface Applied<K extends Kind> {
  readonly change: 'created' | 'updated' | 'unchanged';
  readonly resource: Kinds[K];
}

/** How often apply reads again after losing a race. */
const ATTEMPTS = 10;

/**
 * Programs' way to resources by kind: the operations of calico-datastore.md 1.5, on any store. Rejections are OperationalErrors that
 * name the object: NOT_FOUND, ALREADY_EXISTS, CONFLICT, VALIDATION (a `ValidationError` with each field), or what the store says.
 */
export class Resources {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Reads one. What is stored is given even if it is not valid, so that it can be repaired; only text that is no JSON is refused. */
  async get<K extends Kind>(kind: K, name: string, namespace?: string | null): Promise<Kinds[K]> {
    if (kind === 'Profile' && name === ALLOW_ALL_PROFILE) return allowAllProfile() as Kinds[K];
    const entry = await this.#find(kind, name, namespace);
    const subject = named(kind, name, this.#namespace(kind, namespace));
    if (!entry) throw notFound(subject);
    const opened = openEntry<K>(entry);
    if (!opened.resource)
      throw new OperationalError('VALIDATION', `${subject} cannot be read: ${opened.invalid?.message}`);
    return opened.resource;
  }

  /** Reads all of a kind, or those of one namespace. */
  async list<K extends Kind>(kind: K, options: { namespace?: string | null } = {}): Promise<ResourceList<K>> {
    const items: Kinds[K][] = [];
    const invalid: InvalidObject[] = [];
    const twins = new Map<string, InvalidObject>();
    const pairs = new Twins((key, name) => {
      if (name !== null) twins.set(key, olderTwin(key, kind, name));
    });
    const pages = this.#store.list(kindPrefix(kind, options.namespace));
    for await (const page of pages)
      for (const entry of page) {
        const opened = openEntry<K>(entry);
        if (opened.invalid) invalid.push(opened.invalid);
        else if (opened.resource) {
          items.push(opened.resource);
          if (hasTieredName(kind)) pairs.set(entry.key, opened.resource.metadata.name);
        }
      }
    invalid.push(...twins.values());
    if (kind === 'Profile') items.unshift(allowAllProfile() as Kinds[K]);
    return { items, resourceVersion: String(await pages.revision), invalid };
  }

  /** Stores a new one with Calico's defaults; its uid and creationTimestamp are made here. */
  async create<K extends Kind>(resource: OfKind<K>, options: WriteOptions = {}): Promise<Kinds[K]> {
    const next = await this.#prepared<K>(resource, null);
    const { metadata } = next;
    if (metadata.resourceVersion)
      throw new ValidationError(nameOf(next), [
        { field: 'metadata.resourceVersion', message: 'must be absent on create' },
      ]);
    metadata.uid ||= randomUUID();
    metadata.creationTimestamp ||= wholeSeconds(this.#clock.date());
    if (await this.#find(next.kind, metadata.name, metadata.namespace)) throw alreadyExists(nameOf(next));
    if (next.kind === 'Node' && !options.dryRun) await initialiseCluster(this.#store, this.#clock, {});
    return this.#put(next, this.#key(next), 0n, options, alreadyExists);
  }

  /**
   * Replaces one. With `resourceVersion`, only if nobody changed it since; without, whatever is there now, of which
   * fields unknown to this release are kept.
   */
  async update<K extends Kind>(resource: OfKind<K>, options: WriteOptions = {}): Promise<Kinds[K]> {
    const { metadata } = resource;
    this.#refuseBuiltIn(resource.kind, metadata.name ?? '');
    const name = prepare(resource);
    const entry = await this.#find(
      resource.kind,
      name.ok ? name.value.metadata.name : metadata.name,
      metadata.namespace,
    );
    if (!entry) throw notFound(nameOf(resource));
    if (metadata.resourceVersion && BigInt(metadata.resourceVersion) !== entry.modRevision)
      throw conflict(nameOf(resource));
    return this.#replace<K>(resource, entry, options);
  }

  /** Creates or replaces, whichever it takes; nothing is written when nothing would change. Lost races are run again. */
  async apply<K extends Kind>(resource: OfKind<K>, options: WriteOptions = {}): Promise<Applied<K>> {
    this.#refuseBuiltIn(resource.kind, resource.metadata.name ?? '');
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#applyOnce<K>(resource, options);
      } catch (error) {
        const lost = hasCode(error, 'CONFLICT') || hasCode(error, 'ALREADY_EXISTS') || hasCode(error, 'NOT_FOUND');
        if (!lost || resource.metadata.resourceVersion || attempt === ATTEMPTS) throw error;
      }
    }
  }

  async #applyOnce<K extends Kind>(resource: OfKind<K>, options: WriteOptions): Promise<Applied<K>> {
    const prepared = prepare(resource);
    if (!prepared.ok) throw new ValidationError(nameOf(resource), prepared.error);
    const { kind, metadata } = prepared.value;
    const entry = await this.#find(kind, metadata.name, metadata.namespace);
    if (!entry) return { change: 'created', resource: await this.create<K>(resource, options) };
    if (metadata.resourceVersion && BigInt(metadata.resourceVersion) !== entry.modRevision)
      throw conflict(nameOf(resource));
    const before = openEntry<K>(entry).resource;
    const next = await this.#prepared<K>(resource, before);
    if (before && !changed(before, next)) return { change: 'unchanged', resource: before };
    return { change: 'updated', resource: await this.#replace<K>(resource, entry, options) };
  }

  async #replace<K extends Kind>(resource: Kinds[K], entry: KeyValue, options: WriteOptions): Promise<Kinds[K]> {
    const next = await this.#prepared<K>(resource, openEntry<K>(entry).resource);
    next.metadata.uid ||= randomUUID();
    next.metadata.creationTimestamp ||= wholeSeconds(this.#clock.date());
    return this.#put(next, entry.key, entry.modRevision, options, conflict);
  }

  /**
   * Deletes one and gives what was stored; with `resourceVersion`, only if nobody changed it since. What belongs to a Node goes with it,
   * and a pool's blocks are given back, as Calico's clients do.
   */
  async delete<K extends Kind>(
    kind: K,
    name: string,
    options: { namespace?: string | null; resourceVersion?: string } & WriteOptions = {},
  ): Promise<Kinds[K] | null> {
    this.#refuseBuiltIn(kind, name);
    const subject = named(kind, name, this.#namespace(kind, options.namespace));
    const kept = await whyKept(this.#store, kind, name);
    if (kept) throw new OperationalError('CONFLICT', `${subject} cannot be deleted: ${kept}`);
    let expected = options.resourceVersion;
    let asked: Kinds[K] | null = null;
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const entry = await this.#find(kind, name, options.namespace);
      if (!entry) throw notFound(subject);
      if (expected && BigInt(expected) !== entry.modRevision) throw conflict(subject);
      const gone = openEntry<K>(entry).resource;
      if (options.dryRun) return gone;
      if (attempt === 1 && (await this.#cascade(kind, entry))) {
        // The cascade itself may have changed the resource.
        expected = undefined;
        asked = gone;
        continue;
      }
      const done = await this.#store.txn(
        [{ key: entry.key, mod: entry.modRevision }],
        [{ op: 'delete', key: entry.key }],
      );
      if (done.ok) return asked ?? gone;
    }
    throw conflict(subject);
  }

  /** Removes first what cannot be without the resource; false: nothing can belong to this kind. */
  async #cascade(kind: Kind, entry: KeyValue): Promise<boolean> {
    const context = { store: this.#store, resources: this, clock: this.#clock };
    if (kind === 'Node') await removeBelongings(context, entry.key.slice(kindPrefix('Node').length));
    else if (kind === 'IPPool') await vacatePool(context, entry);
    else return false;
    return true;
  }

  /** What is there now, as `added`, then every change; ends with the signal. Survives compaction and lost connections. */
  watch<K extends Kind>(
    kind: K,
    options: { namespace?: string | null; signal: AbortSignal },
  ): AsyncIterable<ResourceEvent<K>> {
    return watchKind(this.#store, kind, options.namespace ?? null, options.signal);
  }

  /** A checked copy with defaults, joined with what is stored. */
  async #prepared<K extends Kind>(resource: Kinds[K], before: Kinds[K] | null): Promise<Kinds[K]> {
    const prepared = prepare(before ? merge(before, resource) : resource);
    const subject = nameOf(resource);
    if (!prepared.ok) throw new ValidationError(subject, prepared.error);
    const wrong = before ? checkImmutable(before, prepared.value) : [];
    wrong.push(...(await checkReferences(this.#store, prepared.value, before === null)));
    if (wrong.length > 0) throw new ValidationError(subject, wrong);
    return prepared.value;
  }

  async #put<K extends Kind>(
    next: Kinds[K],
    key: string,
    mod: bigint,
    options: WriteOptions,
    lost: (subject: string) => OperationalError,
  ): Promise<Kinds[K]> {
    if (options.dryRun) return next;
    const done = await this.#store.txn(
      [{ key, mod }],
      [{ op: 'put', key, value: encodeResource(next, key.slice(key.lastIndexOf('/') + 1)) }],
    );
    if (done.ok) {
      next.metadata.resourceVersion = String(done.revision);
      return next;
    }
    throw done.now[0] === null ? notFound(nameOf(next)) : lost(nameOf(next));
  }

  #key(resource: AnyResource): string {
    return resourceKey(resource.kind, resource.metadata.name, resource.metadata.namespace);
  }

  #namespace(kind: Kind, namespace?: string | null): string | null {
    return KINDS[kind].namespaced ? namespace || 'default' : null;
  }

  /** By name; a policy of an older cluster may be under `default.<name>`, and a newer key wins over that. */
  async #find(kind: Kind, name: string, namespace?: string | null): Promise<KeyValue | null> {
    const found = await this.#store.get(resourceKey(kind, name, namespace));
    if (found || !hasTieredName(kind)) return found;
    const older = await this.#store.get(resourceKey(kind, `default.${name}`, namespace));
    // The older key of another name, such as a policy that is really called `default.x`, is not meant.
    return older && openEntry(older).resource?.metadata.name === name ? older : null;
  }

  #refuseBuiltIn(kind: Kind, name: string): void {
    if (kind === 'Profile' && name === ALLOW_ALL_PROFILE)
      throw new OperationalError('VALIDATION', `Profile(${ALLOW_ALL_PROFILE}) is built in and cannot be changed`);
  }
}

export const createResources = (store: Store, clock: Clock): Resources => new Resources(store, clock);

/** RFC 3339 in UTC without fractions, as Calico stores it. */
export const wholeSeconds = (date: Date): string => `${date.toISOString().slice(0, 19)}Z`;

const olderTwin = (key: string, kind: Kind, name: string): InvalidObject => ({
  where: shown(key, 300),
  kind,
  id: shown(key.slice(kindPrefix(kind).length), 300),
  message: twinMessage(name),
  used: true,
});
