import type { HookState, TableState } from './types.ts';

const HASH = /--comment "?cali:([A-Za-z0-9_-]{16})(?=[" ]|$)/;

/**
 * Reads what `iptables-save -t TABLE` prints. Only three things matter: which of our chains there are, which hash each of their rules
 * carries, and where our rules stand in the kernel's own chains. What the rules say is never parsed: iptables prints it differently in every version.
 */
export function parseSave(text: string): TableState {
  const chains = new Map<string, (string | null)[]>();
  const hooks = new Map<string, HookState[]>();
  const lengths = new Map<string, number>();
  for (const line of lines(text)) {
    if (line.startsWith(':')) {
      const name = line.slice(1, line.indexOf(' '));
      if (name.startsWith('cali-')) chains.set(name, []);
      else lengths.set(name, 0);
    } else if (line.startsWith('-A ')) {
      const space = line.indexOf(' ', 3);
      const chain = space < 0 ? line.slice(3) : line.slice(3, space);
      const hash = HASH.exec(line)?.[1] ?? null;
      const ours = chains.get(chain);
      if (ours) ours.push(hash);
      else {
        const position = (lengths.get(chain) ?? 0) + 1;
        lengths.set(chain, position);
        if (hash === null) continue;
        hooks.set(chain, [...(hooks.get(chain) ?? []), { position, hash, spec: line.slice(space + 1) }]);
      }
    }
  }
  return { chains, hooks, lengths };
}

function* lines(text: string): Iterable<string> {
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at);
    yield end < 0 ? text.slice(at) : text.slice(at, end);
    if (end < 0) return;
    at = end + 1;
  }
}
