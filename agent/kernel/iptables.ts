import { type Family, type Milliseconds, OperationalError } from '#core';
import { printChain } from '#policy';
import type { Commits } from './commits.ts';
import { piecesOf } from './iptables-pieces.ts';
import { type RestoreText, restoreText } from './iptables-restore.ts';
import { parseSave } from './iptables-save.ts';
import type { Command, CommandResult, Runner } from './runner.ts';
import type { RuleBackend } from './types.ts';

export interface IptablesOptions {
  readonly runner: Runner;
  readonly variant: 'nft' | 'legacy';
  /** For the nft variant: a write is done when the kernel has told of it, and the program may end later. */
  readonly commits?: Commits;
  /** Words before each command, such as `ip netns exec NAME`. */
  readonly prefix?: readonly string[];
  /** Time after which a command is killed. */
  readonly timeout?: Milliseconds;
  /** Seconds to wait for the lock of legacy iptables. */
  readonly lockWait?: number;
  /** Program names by role, for tests that put something else in their place. */
  readonly programs?: { restore?(family: Family): string; save?(family: Family): string };
}

type Run = (
  argv: readonly string[],
  rest: Omit<Command, 'argv'>,
  onStart?: (pid: number) => void,
) => Promise<CommandResult>;

/** Seconds to wait for the xtables lock. */
const LOCK_WAIT = 10;
const TIMEOUT: Milliseconds = 30_000;

const programName = (family: Family, variant: string, role: string): string =>
  `${family === 4 ? 'iptables' : 'ip6tables'}-${variant}-${role}`;

/** iptables of one variant, both families. What a packet can notice of a write is one `COMMIT`, and so one change for the kernel. */
export function createIptables(options: IptablesOptions): RuleBackend {
  const { runner, variant, commits, prefix = [], programs = {}, timeout = TIMEOUT, lockWait = LOCK_WAIT } = options;
  const program = (family: Family, role: 'restore' | 'save') =>
    programs[role]?.(family) ?? programName(family, variant, role);
  const run: Run = (argv, rest, onStart) =>
    runner.run({ ...rest, argv: [...prefix, ...argv] as unknown as Command['argv'] }, onStart);

  return {
    name: variant,
    print: (family, _table, chain) => printChain(chain, family),
    holds: (family, _table, chain, state) => {
      const have = state.chains.get(chain.name);
      if (!have) return false;
      const want = printChain(chain, family);
      return have.length === want.length && want.every(({ hash }, i) => hash === have[i]);
    },
    async read(family) {
      const name = program(family, 'save');
      // Without a table named: the nft variant reads all of them anyway, and the legacy one makes the table that it is asked for, which every
      // packet would pass from then on.
      const result = await run([name], { timeout });
      demand(result, name);
      return parseSave(result.stdout);
    },
    async write(family, table, change) {
      // Legacy iptables replaces the table with every command, so it gets one.
      const pieces = variant === 'legacy' ? [change] : piecesOf(change);
      let state = change.base;
      let rules = 0;
      let before: Promise<void> = Promise.resolve();
      for (const piece of pieces) {
        let printed: RestoreText;
        try {
          // While the kernel is busy with the piece before.
          printed = restoreText(family, table, { ...piece, base: state });
        } finally {
          await before;
        }
        if (printed.text !== '') before = restore(family, printed.text);
        state = printed.after;
        rules += printed.rules;
      }
      await before;
      return { rules, after: state };
    },
  };

  function restore(family: Family, text: string): Promise<void> {
    const name = program(family, 'restore');
    // The nft variant has no lock: its transactions are the kernel's.
    const wait = variant === 'legacy' ? ['--wait', String(lockWait)] : [];
    const argv = [name, '--noflush', ...wait];
    const end = (onStart?: (pid: number) => void) =>
      run(argv, { stdin: text, timeout }, onStart).then((result) => demand(result, name, text));
    return commits ? untilCommitted(commits, end) : end();
  }
}

/** A command line with one COMMIT: whichever is known first, that the kernel has taken it or how the program ended. */
function untilCommitted(commits: Commits, start: (onStart: (pid: number) => void) => Promise<void>): Promise<void> {
  const since = commits.next;
  return new Promise((resolve, reject) => {
    let child: number | undefined;
    const end = start((pid) => {
      child = pid;
      void commits.of(pid, since).then(resolve);
    });
    end.then(resolve, reject).finally(() => {
      if (child !== undefined) commits.forget(child);
    });
  });
}

function demand(result: CommandResult, name: string, text?: string): void {
  if (result.ended === 'timeout') throw new OperationalError('TIMEOUT', `${name} did not end in time and was killed`);
  if (result.ended === 'output') throw new OperationalError('EXEC', `${name} wrote more than is believable`);
  if (result.code === 0) return;
  const message = result.stderr.trim().replace(/\s*\n\s*/g, '; ');
  const line = /line:? (\d+)/.exec(message);
  const culprit = line && text ? text.split('\n')[Number(line[1]) - 1] : undefined;
  const where = culprit && culprit !== 'COMMIT' ? ` at '${culprit.slice(0, 300)}'` : '';
  throw new OperationalError('EXEC', `${name} failed (${result.code ?? 'killed'}): ${message.slice(0, 500)}${where}`);
}

/** Whether `setting` says so, or what the machine uses already: the variant that holds rules, kubelet's hint first; else nft. */
export async function chooseVariant(
  runner: Runner,
  setting: 'auto' | 'nft' | 'legacy',
  prefix: readonly string[] = [],
): Promise<'nft' | 'legacy'> {
  if (setting !== 'auto') return setting;
  const run: Run = (argv, rest) => runner.run({ ...rest, argv: [...prefix, ...argv] as unknown as Command['argv'] });
  // Asking the legacy tool would load its modules; the kernel lists the tables that it has already.
  if ((await legacyTables(run, 4)).length === 0) return 'nft';
  const count = async (variant: 'nft' | 'legacy') => {
    const { code, stdout } = await run([programName(4, variant, 'save')], { timeout: TIMEOUT });
    if (code !== 0) return { hints: 0, rules: 0 };
    return {
      hints: /^:KUBE-(IPTABLES-HINT|KUBELET-CANARY) /m.test(stdout) ? 1 : 0,
      rules: stdout.match(/^-A /gm)?.length ?? 0,
    };
  };
  const [nft, legacy] = [await count('nft'), await count('legacy')];
  if (nft.hints !== legacy.hints) return nft.hints > legacy.hints ? 'nft' : 'legacy';
  return legacy.rules > nft.rules ? 'legacy' : 'nft';
}

/** Tables of legacy iptables that exist in this namespace; the file is missing when its module was never loaded. */
async function legacyTables(run: Run, family: Family): Promise<string[]> {
  const path = `/proc/net/${family === 4 ? 'ip' : 'ip6'}_tables_names`;
  const { stdout } = await run(['cat', path], { timeout: TIMEOUT });
  return stdout.split('\n').filter((line) => line !== '');
}
