import type { Command } from 'commander';
import { nearest, OperationalError } from '#core';
import type { Session } from '../session.ts';

/** Each calls `tsnetctl __complete` with the words up to the cursor, the last of which may be empty. */
const SCRIPTS = {
  bash: `# bash completion of tsnetctl; use: source <(tsnetctl completion bash)
_tsnetctl() {
  local line=\${COMP_LINE:0:COMP_POINT} words candidates
  # Split at blanks only: '=' and ':' belong to words here.
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=('')
  candidates=$("\${words[0]}" __complete -- "\${words[@]:1}" 2>/dev/null) || return
  local current=\${words[-1]} word
  COMPREPLY=()
  # What bash has already split off the word must not be given again.
  local before=\${current%"\${COMP_WORDS[COMP_CWORD]}"}
  [[ $current == *[=:] ]] && before=$current
  while IFS= read -r word; do
    if [[ -n $word && $word == "$current"* ]]; then COMPREPLY+=("\${word#"$before"}"); fi
  done <<< "$candidates"
  if [[ -z $candidates ]]; then compopt -o default 2>/dev/null; fi
  if [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == *= ]]; then compopt -o nospace 2>/dev/null; fi
}
complete -F _tsnetctl tsnetctl
`,
  zsh: `#compdef tsnetctl
# zsh completion of tsnetctl; use: source <(tsnetctl completion zsh)
_tsnetctl() {
  local -a candidates
  candidates=("\${(@f)$(\${words[1]} __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  candidates=(\${candidates:#})
  if (( \${#candidates} )); then
    compadd -a candidates
  else
    _files
  fi
}
if (( $+functions[compdef] )); then
  compdef _tsnetctl tsnetctl
fi
`,
  fish: `# fish completion of tsnetctl; use: tsnetctl completion fish | source
function __tsnetctl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    $words[1] __complete -- $words[2..-1] "$current" 2>/dev/null
end
complete -c tsnetctl -f -a '(__tsnetctl_complete)'
complete -c tsnetctl -n '__fish_seen_argument -s f -l filename' -F
`,
} as const;

/** `completion SHELL`: the script to source. */
export async function completion({ io }: Session, shell: string): Promise<number> {
  if (Object.hasOwn(SCRIPTS, shell)) {
    io.stdout.write(SCRIPTS[shell as keyof typeof SCRIPTS]);
    return 0;
  }
  const near = nearest(shell, Object.keys(SCRIPTS));
  throw new OperationalError(
    'CONFIG',
    `unknown shell '${shell}'${near ? `, did you mean '${near}'?` : ''}; shells are bash, zsh, fish`,
  );
}

/** Words that make sense where the cursor is, one a line; none where a file name does. */
export async function complete(session: Session, program: Command, words: readonly string[]): Promise<number> {
  const current = words.at(-1) ?? '';
  const { command, rest, namespace, pending } = walk(program, words.slice(0, -1));
  const candidates = pending
    ? await valuesOf(session, pending, current, namespace)
    : current.startsWith('-')
      ? flagsOf(command, program)
      : await wordsAt(session, command, rest, namespace);
  for (const candidate of candidates) if (candidate.startsWith(current)) session.io.stdout.write(`${candidate}\n`);
  return 0;
}

interface Place {
  readonly command: Command;
  /** Arguments that are already there. */
  readonly rest: readonly string[];
  readonly namespace: string | undefined;
  /** The flag whose value is at the cursor. */
  readonly pending: string | null;
}

function walk(program: Command, words: readonly string[]): Place {
  let command = program;
  const rest: string[] = [];
  let namespace: string | undefined;
  let pending: string | null = null;
  for (const word of words) {
    if (pending) {
      if (pending === '--namespace') namespace = word;
      pending = null;
    } else if (word.startsWith('-')) {
      const option = [...command.options, ...program.options].find((o) => o.short === word || o.long === word);
      if (option?.required) pending = option.long ?? null;
    } else {
      const next = rest.length === 0 ? command.commands.find((c) => c.name() === word) : undefined;
      if (next) command = next;
      else rest.push(word);
    }
  }
  return { command, rest, namespace, pending };
}

const flagsOf = (command: Command, program: Command): string[] =>
  [...command.options, ...(command === program ? [] : program.options)]
    .filter((option) => !option.hidden)
    .flatMap((option) => option.long ?? []);

const OF_KIND = ['get', 'delete', 'patch', 'label'];

async function wordsAt(
  session: Session,
  command: Command,
  rest: readonly string[],
  namespace: string | undefined,
): Promise<string[]> {
  const commands = command.commands.map((c) => c.name()).filter((name) => name !== '__complete');
  if (commands.length > 0) return commands;
  if (command.name() === 'completion') return Object.keys(SCRIPTS);
  if (!OF_KIND.includes(command.name())) return [];
  if (rest.length === 0) {
    const { kindWords } = await import('../kinds.ts');
    return kindWords();
  }
  const several = ['get', 'delete'].includes(command.name());
  return several || rest.length === 1 ? namesOf(session, rest[0], namespace, rest.slice(1)) : [];
}

async function namesOf(
  session: Session,
  word: string,
  namespace: string | undefined,
  already: readonly string[],
): Promise<string[]> {
  const [{ KINDS, kindPrefix, parseKey }, { kindOf }, { withStore }] = await Promise.all([
    import('#datastore'),
    import('../kinds.ts'),
    import('../session.ts'),
  ]);
  const kind = kindOf(word);
  const within = KINDS[kind].namespaced ? (namespace ?? 'default') : null;
  return withStore(session, async (store) => {
    const names: string[] = [];
    for await (const page of store.list(kindPrefix(kind, within)))
      for (const { key } of page) {
        const parsed = parseKey(key);
        if (parsed?.type === 'resource' && !already.includes(parsed.name)) names.push(parsed.name);
      }
    return names;
  });
}

/** Values of flags that are from a known set. */
async function valuesOf(
  session: Session,
  flag: string,
  current: string,
  namespace: string | undefined,
): Promise<string[]> {
  switch (flag) {
    case '--output':
      return ['table', 'wide', 'yaml', 'json', 'name'];
    case '--type':
      return ['strategic', 'merge', 'json'];
    case '--node':
      return namesOf(session, 'node', undefined, []);
    case '--namespace':
      return namespaces(session);
    case '--from':
    case '--to': {
      const [{ endsLike }, { withStore }] = await Promise.all([
        import('../flow/complete-end.ts'),
        import('../session.ts'),
      ]);
      return withStore(session, (store) => endsLike(store, current, namespace));
    }
    case '--protocol':
      return ['tcp', 'udp', 'sctp', 'udplite', 'icmp', 'icmpv6'];
    case '--ip-version':
      return ['4', '6'];
    default:
      return [];
  }
}

/** The namespaces that anything is in. */
async function namespaces(session: Session): Promise<string[]> {
  const [{ KIND_NAMES, KINDS, kindPrefix, parseKey }, { withStore }] = await Promise.all([
    import('#datastore'),
    import('../session.ts'),
  ]);
  return withStore(session, async (store) => {
    const found = new Set<string>();
    for (const kind of KIND_NAMES.filter((name) => KINDS[name].namespaced))
      for await (const page of store.list(kindPrefix(kind)))
        for (const { key } of page) {
          const parsed = parseKey(key);
          if (parsed?.type === 'resource' && parsed.namespace) found.add(parsed.namespace);
        }
    return [...found].sort();
  });
}
