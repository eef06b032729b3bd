import { type Clock, type Family, type Milliseconds, OperationalError, realClock } from '#core';
import { printChain } from '#policy';
import { inSlices } from '../slices.ts';
import { ownLock, sharesLock } from './iptables-lock.ts';
import { piecesOf } from './iptables-pieces.ts';
import { type RestoreText, restoreText } from './iptables-restore.ts';
import { parseSave } from './iptables-save.ts';
import { StandingRestore } from './iptables-standing.ts';
import type { Kept } from './kept.ts';
import { LegacyTables } from './legacy-tables.ts';
import type { Command, CommandResult, Runner } from './runner.ts';
import type { RuleBackend } from './types.ts';

export interface IptablesOptions {
  readonly runner: Runner;
  readonly variant: 'nft' | 'legacy';
  /** By which long work is done in slices. */
  readonly clock?: Clock;
  /** A program of each family stays for the next small changes; true if it is not said. */
  readonly stay?: boolean;
  /** Words before each command, such as `ip netns exec NAME`. */
  readonly prefix?: readonly string[];
  /** Time after which a command is killed. */
  readonly timeout?: Milliseconds;
  /** Seconds to wait for the lock of legacy iptables. */
  readonly lockWait?: number;
  /** The file that all programs of legacy iptables lock. */
  readonly lockFile?: string;
  /** Program names by role, for tests that put something else in their place. */
  readonly programs?: { restore?(family: Family): string; save?(family: Family): string };
}

type Run = (argv: readonly string[], rest: Omit<Command, 'argv'>) => Promise<CommandResult>;

/** Seconds to wait for the xtables lock. */
const LOCK_WAIT = 10;
const LOCK_FILE = '/run/xtables.lock';
const TIMEOUT: Milliseconds = 30_000;

const programName = (family: Family, variant: string, role: string): string =>
  `${family === 4 ? 'iptables' : 'ip6tables'}-${variant}-${role}`;

/** iptables of one variant, both families. What a packet can notice of a write is one `COMMIT`, and so one change for the kernel. */
export function createIptables(options: IptablesOptions): RuleBackend {
  const { runner, variant, clock = realClock, stay = true, prefix = [], programs = {} } = options;
  const { timeout = TIMEOUT, lockWait = LOCK_WAIT, lockFile = LOCK_FILE } = options;
  const lock = { path: lockFile, wait: lockWait * 1000 };
  const program = (family: Family, role: 'restore' | 'save') =>
    programs[role]?.(family) ?? programName(family, variant, role);
  const prefixed = (argv: readonly string[]) => [...prefix, ...argv] as unknown as Command['argv'];
  const run: Run = (argv, rest) => runner.run({ ...rest, argv: prefixed(argv) });
  // The kernel tells of the namespace that this process is in, and not of one that a prefix leads to.
  const tables = variant === 'legacy' && prefix.length === 0 ? new LegacyTables(clock) : undefined;
  const standing = new Map<Family, StandingRestore>();
  const standingOf = (family: Family): StandingRestore => {
    const stays = standing.get(family) ?? new StandingRestore(() => start(family));
    standing.set(family, stays);
    return stays;
  };

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
      return inSlices(clock, parseSave(result.stdout));
    },
    fingerprint: async (family) => tables?.fingerprint(family),
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
          printed = await inSlices(clock, restoreText(family, table, { ...piece, base: state }));
        } finally {
          await before;
        }
        if (printed.text !== '') before = restore(family, printed.text, stay && !change.atOnce);
        // It is waited for below, when the piece after it is printed.
        before.catch(() => {});
        state = printed.after;
        rules += printed.rules;
      }
      await before;
      return { rules, after: state };
    },
  };

  async function start(family: Family): Promise<Kept> {
    const argv = [...restoreArgv(family), '--verbose'];
    const name = program(family, 'restore');
    if (variant !== 'legacy' || !(await sharesLock(run, name, lock))) return runner.keep(prefixed(argv));
    return runner.keep(prefixed(ownLock(argv)), lock);
  }
  function restoreArgv(family: Family): [string, ...string[]] {
    // The nft variant has no lock: its transactions are the kernel's.
    const wait = variant === 'legacy' ? ['--wait', String(lockWait)] : [];
    return [program(family, 'restore'), '--noflush', ...wait];
  }

  /** @param mayFeed false: by a program of its own, so that if it fails nothing but the text is to blame */
  async function restore(family: Family, text: string, mayFeed: boolean): Promise<void> {
    const argv = restoreArgv(family);
    const [name] = argv;
    const stays = mayFeed ? standingOf(family) : undefined;
    const fed = await stays?.feed(text, timeout);
    if (fed) {
      if (fed.ended) failed(fed.ended, name, text, fed.linesBefore);
      return;
    }
    demand(await run(argv, { stdin: text, timeout }), name, text);
    stays?.succeeded();
  }
}

function demand(result: CommandResult, name: string, text?: string): void {
  if (result.ended || result.code !== 0) failed(result, name, text);
}
/** @param linesBefore that the program had been given before this text */
function failed(result: CommandResult, name: string, text?: string, linesBefore = 0): never {
  if (result.ended === 'timeout') throw new OperationalError('TIMEOUT', `${name} did not end in time and was killed`);
  if (result.ended === 'lock')
    throw new OperationalError(
      'TIMEOUT',
      `${name} was not given the lock of iptables: ${result.stderr || 'others hold it'}`,
    );
  if (result.ended === 'output') throw new OperationalError('EXEC', `${name} wrote more than is believable`);
  const message = result.stderr.trim().replace(/\s*\n\s*/g, '; ');
  const line = /line:? (\d+)/.exec(message);
  const culprit = line && text ? text.split('\n')[Number(line[1]) - linesBefore - 1] : undefined;
  const where = culprit && culprit !== 'COMMIT' ? ` at '${culprit.slice(0, 300)}'` : '';
  throw new OperationalError('EXEC', `${name} failed (${result.code ?? 'killed'}): ${message.slice(0, 500)}${where}`);
}

/** Rules of others: ours are where we were told to write them once. */
const OTHERS = /^-A (?!.*(\bcali[-:]|--ctstatus NONE))/gm;

/** Whether `setting` says so, or what the machine uses already: the variant that holds rules of others, kubelet's hint first; else nft. */
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
      rules: stdout.match(OTHERS)?.length ?? 0,
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
