import { isOursByText, type Table } from '#policy';
import type { Sliced } from '../slices.ts';
import { EMPTY_TABLE, type HookState, type TableState } from './types.ts';

/** Lines read between two places where it may be interrupted. */
const PORTION = 64;
const HASH = /--comment "?cali:([A-Za-z0-9_-]{16})(?=[" ]|$)/;

/**
 * Reads what `iptables-save` prints, all tables of one family. Only three things matter: which of our chains there are, which hash each of their rules
 * carries, and where our rules stand in the kernel's own chains. What the rules say is never parsed: iptables prints it differently in every version. A
 * rule without a hash stands for itself: what we write so is so simple that every version prints it alike.
 */
export function* parseSave(text: string): Sliced<Record<Table, TableState>> {
  const tables = { raw: EMPTY_TABLE, mangle: EMPTY_TABLE, nat: EMPTY_TABLE, filter: EMPTY_TABLE };
  let draft = emptyDraft();
  let count = 0;
  for (const line of lines(text)) {
    if (++count % PORTION === 0) yield;
    if (line.startsWith('*')) {
      draft = emptyDraft();
      const table = line.slice(1);
      if (Object.hasOwn(tables, table)) tables[table as Table] = draft;
    } else if (line.startsWith(':')) {
      const name = line.slice(1, line.indexOf(' '));
      if (name.startsWith('cali-')) draft.chains.set(name, []);
      else draft.lengths.set(name, 0);
    } else if (line.startsWith('-A ')) readRule(draft, line);
  }
  return tables;
}

interface Draft {
  readonly chains: Map<string, string[]>;
  readonly hooks: Map<string, HookState[]>;
  readonly lengths: Map<string, number>;
}
const emptyDraft = (): Draft => ({ chains: new Map(), hooks: new Map(), lengths: new Map() });

function readRule({ chains, hooks, lengths }: Draft, line: string): void {
  const space = line.indexOf(' ', 3);
  const chain = space < 0 ? line.slice(3) : line.slice(3, space);
  const text = space < 0 ? '' : line.slice(space + 1);
  const hash = HASH.exec(line)?.[1];
  const ours = chains.get(chain);
  if (ours) {
    ours.push(hash ?? text);
    return;
  }
  const position = (lengths.get(chain) ?? 0) + 1;
  lengths.set(chain, position);
  if (hash === undefined && !isOursByText(text)) return;
  hooks.set(chain, [...(hooks.get(chain) ?? []), { position, hash: hash ?? text, spec: text }]);
}

function* lines(text: string): Iterable<string> {
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at);
    yield end < 0 ? text.slice(at) : text.slice(at, end);
    if (end < 0) return;
    at = end + 1;
  }
}
