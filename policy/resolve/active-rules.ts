import type { Profile, Rule } from '#datastore';
import type { Budget } from '../budget.ts';
import type { ActivePolicy, ActiveProfile, PolicyId, ResolvedRule } from '../resolved.ts';
import type { SetId } from '../types.ts';
import type { Policy } from './policies.ts';
import { scanRules } from './rules.ts';
import type { SetRegistry } from './set-registry.ts';
import type { SetDefinition } from './sets.ts';

/** A policy or profile with its rules resolved, and the sets that these need. */
export interface Read<V> {
  readonly value: V;
  readonly sets: readonly SetDefinition[];
  /** Why its rules could not be read. */
  readonly problem?: string | undefined;
}

/** One policy or profile: what it is now, who uses it, and what was last worked out and told. */
interface Slot<V> {
  users: number;
  value: V | undefined;
  /** Sets that it holds, one entry for each time that it names one. */
  sets: readonly SetId[];
  /** What was told, to tell only real changes. */
  told: V | undefined;
}

/** Rules of policies or profiles that local endpoints use, resolved, with the sets they need held for as long. */
export class ActiveRules<V> {
  readonly #slots = new Map<string, Slot<V>>();
  readonly #dirty = new Set<string>();
  readonly #untold = new Set<string>();
  readonly #sets: SetRegistry;
  readonly #read: (key: string) => Read<V> | undefined;
  /** By key: why something in use has no rules. */
  readonly problems = new Map<string, string>();

  /** @param read resolves what is stored under the key now; undefined: there is nothing. */
  constructor(sets: SetRegistry, read: (key: string) => Read<V> | undefined) {
    this.#sets = sets;
    this.#read = read;
  }

  /** How many are active. */
  get size(): number {
    return this.#slots.size;
  }

  use(key: string): void {
    const slot = this.#slots.get(key) ?? { users: 0, value: undefined, sets: [], told: undefined };
    this.#slots.set(key, slot);
    if (slot.users++ === 0) this.#dirty.add(key);
  }

  unuse(key: string): void {
    const slot = this.#slots.get(key);
    if (slot && --slot.users === 0) this.#dirty.add(key);
  }

  /** What is stored under the key has changed. */
  touch(key: string): void {
    if (this.#slots.has(key)) this.#dirty.add(key);
  }

  /** Works off at most `limit` keys; true if none is left. */
  settle(limit: number): boolean {
    let left = limit;
    for (const key of this.#dirty) {
      if (left-- <= 0) return false;
      this.#dirty.delete(key);
      this.#resolve(key);
    }
    return true;
  }

  /** Whether there is something to drain. */
  get hasNews(): boolean {
    return this.#untold.size > 0;
  }
  /** What has changed since it was last drained, as far as the budget goes; everything must be settled. */
  drain(budget: Budget): Map<string, V | null> {
    const changes = new Map<string, V | null>();
    for (const key of this.#untold) {
      if (budget.left <= 0) break;
      budget.left--;
      this.#untold.delete(key);
      const slot = this.#slots.get(key);
      if (!slot) continue;
      if (same(slot.value, slot.told)) slot.value = slot.told;
      else changes.set(key, slot.value ?? null);
      slot.told = slot.value;
      if (slot.users === 0) this.#slots.delete(key);
    }
    return changes;
  }

  #resolve(key: string): void {
    const slot = this.#slots.get(key);
    if (!slot) return;
    const before = slot.sets;
    const read = slot.users > 0 ? this.#read(key) : undefined;
    slot.value = read?.value;
    for (const set of read?.sets ?? []) this.#sets.acquire(set);
    slot.sets = (read?.sets ?? []).map(({ id }) => id);
    for (const id of before) this.#sets.release(id);
    if (read?.problem === undefined) this.problems.delete(key);
    else this.problems.set(key, read.problem);
    this.#untold.add(key);
  }
}

const same = (a: unknown, b: unknown): boolean =>
  a === b || (a !== undefined && b !== undefined && JSON.stringify(a) === JSON.stringify(b));

/**
 * Both directions of a policy or profile. One with a rule that cannot be read keeps its place but has no rules: it allows nothing, and what it
 * concerns is left closed rather than to the next policy.
 */
function scanBoth(
  { ingress, egress }: { ingress?: readonly Rule[]; egress?: readonly Rule[] },
  namespace: string,
): { ingress: readonly ResolvedRule[]; egress: readonly ResolvedRule[] } & Omit<Read<never>, 'value'> {
  const inward = scanRules(ingress, namespace);
  const outward = scanRules(egress, namespace);
  if (inward.ok && outward.ok)
    return {
      ingress: inward.value.rules,
      egress: outward.value.rules,
      sets: [...inward.value.sets, ...outward.value.sets],
    };
  const problem = !inward.ok ? `ingress ${inward.error}` : !outward.ok ? `egress ${outward.error}` : undefined;
  return { ingress: [], egress: [], sets: [], problem };
}

export function scanPolicy(id: PolicyId, policy: Policy): Read<ActivePolicy> {
  const { ingress, egress, sets, problem } = scanBoth(policy, policy.namespace);
  const { tier } = policy.place;
  return { value: { id, tier, selector: policy.selector.text, ingress, egress }, sets, problem };
}

export function scanProfile(name: string, spec: Profile['spec']): Read<ActiveProfile> {
  const { ingress, egress, sets, problem } = scanBoth(spec, '');
  return { value: { name, ingress, egress }, sets, problem };
}
