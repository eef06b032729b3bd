import type { Family } from '#core';
import { type Hook, type PrintedRule, printChain, printHook, type Table } from '#policy';
import type { Sliced } from '../slices.ts';
import { revised } from './revised-map.ts';
import type { HookState, TableChange, TableState } from './types.ts';

/** What a change writes, and the state that the table has after it. */
export interface RestoreText {
  /** Empty: nothing differs. */
  readonly text: string;
  /** Rules written or removed. */
  readonly rules: number;
  readonly after: TableState;
}

/**
 * The input of `iptables-restore --noflush` for a change. A rule whose hash stands in its place is not mentioned, so its counters
 * survive. Order inside: new chains are made, chains are filled, hooks are put right, chains that go are emptied and deleted;
 * the kernel sees all of it at once.
 */
export function* restoreText(family: Family, table: Table, change: TableChange): Sliced<RestoreText> {
  const { base } = change;
  const changes = new Map<string, readonly string[] | null>();
  const declare: string[] = [];
  const body: string[] = [];
  for (const chain of change.update) {
    yield;
    const rules = printChain(chain, family);
    const have = base.chains.get(chain.name);
    if (!have) declare.push(`:${chain.name} - [0:0]`);
    body.push(...chainDelta(chain.name, have ?? [], rules));
    changes.set(
      chain.name,
      rules.map((r) => r.hash),
    );
  }
  const hooks = new Map(base.hooks);
  const lengths = new Map(base.lengths);
  if (change.hooks) body.push(...hookDelta(table, family, change.hooks, { hooks, lengths }));
  const gone = change.remove.filter((name) => base.chains.has(name));
  // A colon line empties a chain that is there already.
  for (const name of gone) {
    declare.push(`:${name} - [0:0]`);
    changes.set(name, null);
  }
  const lines = [...declare, ...body, ...gone.map((name) => `-X ${name}`)];
  if (lines.length === 0) return { text: '', rules: 0, after: base };
  const after = { chains: revised(base.chains, changes), hooks, lengths };
  return { text: `*${table}\n${lines.join('\n')}\nCOMMIT\n`, rules: body.length, after };
}

/** Place by place: equal hashes stay, different ones are replaced, the rest is appended or deleted from the end. */
function chainDelta(name: string, have: readonly (string | null)[], want: readonly PrintedRule[]): string[] {
  const lines: string[] = [];
  for (let i = 0; i < want.length; i++) {
    if (i >= have.length) lines.push(`-A ${name} ${want[i].text}`);
    else if (have[i] !== want[i].hash) lines.push(`-R ${name} ${i + 1} ${want[i].text}`);
  }
  for (let i = have.length; i > want.length; i--) lines.push(`-D ${name} ${i}`);
  return lines;
}

interface Draft {
  hooks: Map<string, readonly HookState[]>;
  lengths: Map<string, number>;
}

/** Our rules in the kernel's chains: in their places, all of them, or all are taken out and put in again. */
function hookDelta(table: Table, family: Family, wanted: readonly Hook[], draft: Draft): string[] {
  const byChain = new Map(wanted.filter((h) => h.table === table).map((h) => [h.chain, h]));
  const lines: string[] = [];
  for (const chain of new Set([...byChain.keys(), ...draft.hooks.keys()])) {
    const hook = byChain.get(chain);
    const insert = printHook(chain, hook?.insert ?? [], family);
    const append = printHook(`${chain} end`, hook?.append ?? [], family);
    const have = draft.hooks.get(chain) ?? [];
    const others = (draft.lengths.get(chain) ?? 0) - have.length;
    const placed = [
      ...insert.map(({ hash, text }, i) => ({ hash, position: i + 1, spec: text })),
      ...append.map(({ hash, text }, i) => ({
        hash,
        position: insert.length + others + i + 1,
        spec: text,
      })),
    ];
    if (samePlaces(have, placed)) continue;
    for (const { spec } of have) lines.push(`-D ${chain} ${spec}`);
    for (const [i, { text }] of insert.entries()) lines.push(`-I ${chain} ${i + 1} ${text}`);
    for (const { text } of append) lines.push(`-A ${chain} ${text}`);
    draft.lengths.set(chain, others + placed.length);
    if (placed.length > 0) draft.hooks.set(chain, placed);
    else draft.hooks.delete(chain);
  }
  return lines;
}

const samePlaces = (have: readonly HookState[], want: readonly HookState[]): boolean =>
  have.length === want.length && have.every((h, i) => h.position === want[i].position && h.hash === want[i].hash);
