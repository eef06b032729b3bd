import { spawn } from 'node:child_process';
import { appendFileSync, chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createMetrics, FakeClock, type Log, OperationalError, silentLog } from '#core';
import { type ChainRule, createPolicyEngine, DEFAULT_RENDER_CONFIG } from '#policy';
import { createIptables } from '../../../agent/kernel/iptables.ts';
import { createNftables, NftSocket } from '../../../agent/kernel/nftables/index.ts';
import { createRunner, type Runner } from '../../../agent/kernel/runner.ts';
import type { RuleBackend } from '../../../agent/kernel/types.ts';
import { ChainReconciler } from '../../../agent/reconcile/chains.ts';
import { RuleWatch } from '../../../agent/reconcile/watch.ts';
import { enterNamespace, type Namespace, until } from '../namespace.ts';

/** A program that fails, hangs, lies or dies, in the place of the one that writes rules: what the reconciler makes of it. */

let ns: Namespace;
let runner: Runner;
let dir: string;
beforeAll(() => {
  ns = enterNamespace('faults');
  runner = createRunner({ log: silentLog });
  dir = mkdtempSync(join(tmpdir(), 'tsn-faults-'));
});
afterAll(() => {
  runner?.close();
  if (dir) rmSync(dir, { recursive: true });
  ns?.leave();
});

type Kind = 'iptables-nft' | 'iptables-legacy' | 'nftables';
const FAMILIES = [4, 6] as const;
const TABLES = ['filter', 'raw', 'nat'];

/** How a person looks at, and spoils, what stands; `real` writes what comes on standard input. */
const TOOLS: Record<
  Kind,
  { real: (family: 4 | 6) => string; show(family: 4 | 6): string; spoil(): void; clean(): void }
> = {
  'iptables-nft': iptables('nft'),
  'iptables-legacy': iptables('legacy'),
  nftables: {
    real: () => '',
    show: (family) => ns.sh(`nft list table ${family === 4 ? 'ip' : 'ip6'} tsnet 2>/dev/null || true`),
    spoil: () => ns.sh('nft flush chain ip tsnet filter-cali-FORWARD; nft flush chain ip6 tsnet filter-cali-FORWARD'),
    clean: () => ns.sh('nft flush ruleset'),
  },
};
function iptables(variant: 'nft' | 'legacy') {
  const name = (family: 4 | 6) => `${family === 4 ? 'iptables' : 'ip6tables'}-${variant}`;
  return {
    real: (family: 4 | 6) => `${name(family)}-restore`,
    show: (family: 4 | 6) => ns.sh(`${name(family)}-save`),
    spoil: () => {
      for (const family of FAMILIES) ns.sh(`${name(family)} -F cali-FORWARD`);
    },
    clean: () => {
      if (variant === 'nft') return void ns.sh('nft flush ruleset');
      for (const family of FAMILIES)
        for (const table of TABLES) ns.sh(`${name(family)} -t ${table} -F; ${name(family)} -t ${table} -X`);
    },
  };
}

/** Longer than any test, and told from what other runs of this test start. */
const HANGS = `sleep 7331.${process.pid}`;

/** What becomes of a write: as a program in its place, and as a socket does that. */
interface Fault {
  readonly script: string;
  readonly socket: (commit: () => Promise<void>) => Promise<void>;
}
const WELL: Fault['socket'] = (commit) => commit();
const none: Fault['socket'] = () => Promise.reject(new Error('not asked for'));
const refused = (message: string) => new OperationalError('EXEC', message);

class FaultySocket extends NftSocket {
  fault: Fault['socket'];
  readonly #count: () => void;
  constructor(fault: Fault['socket'], count: () => void) {
    super();
    this.fault = fault;
    this.#count = count;
  }
  override commit(transaction: Parameters<NftSocket['commit']>[0]): Promise<void> {
    this.#count();
    return this.fault(() => super.commit(transaction));
  }
}

describe.each(['iptables-nft', 'iptables-legacy', 'nftables'] as const)('%s', (kind) => {
  const isProgram = kind !== 'nftables';
  const tools = TOOLS[kind];
  const afterThis: (() => void)[] = [];
  afterEach(() => {
    for (const work of afterThis.splice(0)) work();
    tools.clean();
  });

  /** What stands on a node without endpoints. */
  const nothingButOurs = () => {
    const dispatch = kind === 'nftables' ? 'map' : 'tree';
    return createPolicyEngine({ node: 'n', config: { ...DEFAULT_RENDER_CONFIG, dispatch } }).flush();
  };

  /** A reconciler whose program, or socket of nf_tables, has a fault where it writes. */
  function bench({ script, socket }: Fault, stay = false) {
    const path = (family: 4 | 6) => join(dir, `write-${family}`);
    const put = (line: string) => {
      for (const family of FAMILIES) {
        const text = `#!/bin/sh\necho >> ${dir}/calls\nreal() { ${tools.real(family)} "$@"; }\n${line}\n`;
        writeFileSync(path(family), text);
        chmodSync(path(family), 0o755);
      }
    };
    writeFileSync(join(dir, 'calls'), '');
    put(script);
    const clock = new FakeClock();
    const faulty = new FaultySocket(socket, () => appendFileSync(join(dir, 'calls'), '\n'));
    const backend: RuleBackend =
      kind === 'nftables'
        ? createNftables(faulty)
        : createIptables({
            ...{ runner, timeout: 1_000, programs: { restore: path }, stay },
            variant: kind === 'iptables-nft' ? 'nft' : 'legacy',
          });
    afterThis.push(() => faulty.close());
    const repair = () => {
      put('real "$@"');
      faulty.fault = WELL;
    };
    const chains = new ChainReconciler({
      ...{ backend, families: FAMILIES, clock },
      log: silentLog,
      metrics: createMetrics(),
    });
    chains.update(nothingButOurs());
    const calls = () => readFileSync(join(dir, 'calls'), 'utf8').split('\n').length - 1;
    return { chains, clock, repair, calls, backend };
  }
  /** The jump to our chains and what they begin with, in both families. */
  const standing = () =>
    FAMILIES.map(
      (family) =>
        /(-j |jump filter-)cali-FORWARD/.test(tools.show(family)) &&
        /(-j |jump filter-)cali-from-wl-dispatch/.test(tools.show(family)),
    );
  const WHOLE = [true, true];
  const NOTHING = [false, false];

  test('fails whatever it is given: nothing is quarantined, it is tried again with back-off, and then it stands', async () => {
    const b = bench({
      script: 'echo "cannot get the lock" >&2; exit 4',
      socket: () => Promise.reject(refused('cannot get the lock')),
    });
    const first = await b.chains.apply();
    // nftables has base chains of its own to make, in every table.
    const tables = isProgram ? ['raw', 'filter'] : ['raw', 'mangle', 'nat', 'filter'];
    const whole = FAMILIES.flatMap((family) => tables.map((table) => `ipv${family} ${table} EXEC`));
    expect(first.failures.map((f) => `${f.key} ${f.error}`).sort()).toEqual(whole.sort());
    expect(first.failures[0].detail).toContain('cannot get the lock');
    expect(first.again).toBeGreaterThan(0);
    expect(b.chains.quarantined).toEqual([]);
    const calls = b.calls();
    expect((await b.chains.apply()).failures).toHaveLength(whole.length);
    expect(b.calls()).toBe(calls); // not before its time
    b.repair();
    b.clock.advance(first.again! + 1000);
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(standing()).toEqual(WHOLE);
  });

  test.runIf(isProgram)(
    'hangs, with a child of its own that keeps its output open: both are killed and the loop goes on',
    async () => {
      const b = bench({ script: `${HANGS} & ${HANGS}`, socket: none });
      const outcome = await b.chains.apply();
      expect(outcome.failures.map((f) => f.error)).toEqual(['TIMEOUT', 'TIMEOUT', 'TIMEOUT', 'TIMEOUT']);
      expect(() => ns.sh(`pgrep -f '^${HANGS}$'`)).toThrow();
      b.repair();
      b.clock.advance(60_000);
      expect((await b.chains.apply()).failures).toEqual([]);
      expect(standing()).toEqual(WHOLE);
    },
  );

  test.runIf(isProgram)('is killed by somebody: tried again', async () => {
    const b = bench({ script: 'kill -9 $$', socket: none });
    const { failures } = await b.chains.apply();
    expect(failures.map((f) => f.error)).toEqual(['EXEC', 'EXEC', 'EXEC', 'EXEC']);
    expect(b.chains.quarantined).toEqual([]);
    b.repair();
    b.clock.advance(60_000);
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(standing()).toEqual(WHOLE);
  });

  test.each([
    ['nothing', { script: 'cat > /dev/null; exit 0', socket: () => Promise.resolve() }],
    ['half', { script: `grep -Ev -- '-j cali-from-wl-dispatch' | real "$@"`, socket: none }],
  ])('lies that it has written, and has written %s: the next look finds out and writes again', async (what, fault) => {
    // A transaction of nf_tables has no halves.
    if (what === 'half' && !isProgram) return;
    const b = bench(fault);
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(standing()).toEqual(NOTHING);
    b.repair();
    expect(await b.chains.check()).toBe(true);
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(standing()).toEqual(WHOLE);
    expect(await b.chains.check()).toBe(false);
  });

  test('writes and then says that it failed: what stands is read back and not written twice', async () => {
    const b = bench({
      script: 'real "$@"; exit 1',
      socket: async (commit) => {
        await commit();
        throw refused('answer lost');
      },
    });
    const first = await b.chains.apply();
    b.repair();
    b.clock.advance((first.again ?? 0) + 1000);
    const second = await b.chains.apply();
    expect(second.failures).toEqual([]);
    expect(standing()).toEqual(WHOLE);
    for (const family of FAMILIES) expect(tools.show(family).match(/(-j |jump filter-)cali-FORWARD/g)).toHaveLength(1);
  });

  test.runIf(isProgram)(
    'refuses one rule among thousands of new ones: its chain is closed, all others stand, and nothing of the search is left',
    async () => {
      const b = bench({ script: 'real "$@"', socket: WELL });
      const names = Array.from({ length: 900 }, (_, n) => `cali-pi-p${n}`);
      const body = Array.from({ length: 5 }, (_, n) => ({
        match: [],
        action: { do: 'mark', value: n, mask: 0xff } as const,
      }));
      const bad = { match: [], action: { do: 'masquerade', randomFully: false } as const };
      const chains = names.map((name, n) => ({ name, owner: name, rules: n === 700 ? [...body, bad] : body }));
      const jumps = names.map((chain) => ({ match: [], action: { do: 'jump', chain } as const }));
      const all = [{ name: 'cali-root', rules: jumps }, ...chains];
      const place = { family: 4, table: 'filter' } as const;
      b.chains.update({ chains: all.map((chain) => ({ ...place, name: chain.name, chain })) });
      const { failures } = await b.chains.apply();
      expect(failures.map(({ key, error }) => [key, error])).toEqual([[names[700], 'REFUSED']]);
      expect(standing()).toEqual(WHOLE);
      const state = (await b.backend.read(4)).filter;
      expect(names.filter((name) => state.chains.get(name)?.length !== (name === names[700] ? 1 : 5))).toEqual([]);
      expect(state.chains.get('cali-root')).toHaveLength(names.length);
      expect([...state.chains.keys()].filter((name) => name.startsWith('cali-try-'))).toEqual([]);
    },
  );

  test('refuses a rule of table nat: its chain is closed there, which is empty, and the rest of the table stands', async () => {
    const b = bench({ script: 'real "$@"', socket: WELL });
    const nothing = { match: [], action: { do: 'return' } } as const;
    const wrong = { ...nothing, match: [{ m: 'protocol', protocol: 300 } as const] };
    const all = [
      {
        name: 'cali-root',
        rules: ['cali-bad', 'cali-good'].map((chain) => ({ ...nothing, action: { do: 'jump', chain } as const })),
      },
      { name: 'cali-bad', closed: [], rules: [wrong] },
      { name: 'cali-good', rules: [nothing] },
    ];
    b.chains.update({ chains: all.map((chain) => ({ family: 4, table: 'nat', name: chain.name, chain })) });
    const { failures } = await b.chains.apply();
    expect(failures.map(({ key, error }) => [key, error])).toEqual([['cali-bad', 'REFUSED']]);
    const { chains } = (await b.backend.read(4)).nat;
    expect(all.map(({ name }) => chains.get(name)?.length)).toEqual([2, 0, 1]);
  });

  test.runIf(isProgram)('is not there: said as a failure of the table, not of a rule', async () => {
    const b = bench({ script: '', socket: none });
    for (const family of FAMILIES) rmSync(join(dir, `write-${family}`));
    const { failures } = await b.chains.apply();
    expect(failures[0].detail).toMatch(/write-[46]/);
    expect(b.chains.quarantined).toEqual([]);
  });

  test('what was read ahead serves the first apply, unless a stranger comes in between or another backend is chosen', async () => {
    const b = bench({ script: 'real "$@"', socket: WELL });
    await b.chains.apply();
    const calls = b.calls();
    let reads = 0;
    let name: RuleBackend['name'] = b.backend.name;
    const backend: RuleBackend = {
      ...b.backend,
      get name() {
        return name;
      },
      read: (family) => {
        reads++;
        return b.backend.read(family);
      },
    };
    /** A restart: how often the kernel is read after what was read ahead. */
    const readsAfter = async (between: (chains: ChainReconciler) => unknown) => {
      const options = { backend, families: FAMILIES, clock: b.clock, log: silentLog, metrics: createMetrics() };
      const chains = new ChainReconciler(options);
      await chains.readAhead();
      reads = 0;
      await between(chains);
      chains.update(nothingButOurs());
      expect((await chains.apply()).failures).toEqual([]);
      expect(standing()).toEqual(WHOLE);
      return reads;
    };
    expect(await readsAfter(() => {})).toBe(0);
    const other = b.backend.name === 'legacy' ? 'nft' : 'legacy';
    expect(await readsAfter(() => (name = other))).toBe(2);
    // A transaction that says nothing is none to the kernel, but counts here.
    if (isProgram) expect(b.calls()).toBe(calls);
    name = b.backend.name;
    const spoiled = async (chains: ChainReconciler) => {
      tools.spoil();
      expect(await chains.check()).toBe(false); // nothing is desired yet
    };
    expect(await readsAfter(spoiled)).toBe(2);
    expect(b.calls()).toBeGreaterThan(calls);
  });

  test('somebody who undoes our rules again and again is called a fight', async () => {
    const b = bench({ script: 'real "$@"', socket: WELL });
    await b.chains.apply();
    for (let i = 0; i < 5; i++) {
      expect(b.chains.fights).toEqual([]);
      tools.spoil();
      expect(await b.chains.check()).toBe(true);
      await b.chains.apply();
    }
    expect(b.chains.fights).toEqual(FAMILIES.map((family) => ({ family, table: 'filter' })));
    b.clock.advance(61_000);
    tools.spoil();
    await b.chains.check();
    expect(b.chains.fights).toEqual([]);
  });
});

describe.each(['iptables-nft', 'iptables-legacy'] as const)('%s: a program that stays', (kind) => {
  const tools = TOOLS[kind];
  const others: Runner[] = [];
  afterEach(() => {
    for (const other of others.splice(0)) other.close();
    // What hangs knows nothing of the runner's end.
    ns.sh(`pgrep -f '^${HANGS}$' | xargs -r kill`);
    tools.clean();
  });

  /** @param script what it does that was started to stay; `real` as it should */
  /** @param timeout of a write: short where nothing else ends it, else longer than a busy machine needs */
  async function bench(script: string, timeout = 30_000) {
    const other = createRunner({ log: silentLog });
    others.push(other);
    const path = join(dir, 'stays');
    const calls = () => readFileSync(join(dir, 'calls'), 'utf8').split('\n').slice(0, -1);
    writeFileSync(join(dir, 'calls'), '');
    const body = `real() { ${tools.real(4)} "$@"; }\ncase "$*" in *--verbose*) ${script};; *) real "$@";; esac`;
    writeFileSync(path, `#!/bin/sh\necho "$*" >> ${dir}/calls\n${body}\n`);
    chmodSync(path, 0o755);
    const clock = new FakeClock();
    const backend = createIptables({
      ...{ runner: other, timeout, programs: { restore: () => path } },
      variant: kind === 'iptables-nft' ? 'nft' : 'legacy',
    });
    const logged: object[] = [];
    const log = { ...silentLog, error: (fields: object) => void logged.push(fields) } as Log;
    const chains = new ChainReconciler({ backend, families: [4], clock, log, metrics: createMetrics() });
    const config = { ...DEFAULT_RENDER_CONFIG, families: [4] as const };
    const fresh = createPolicyEngine({ node: 'n', config }).flush();
    let round = 0;
    /** One more change of the FORWARD chain's first jump target: a comment that counts. */
    const change = (extra: readonly ChainRule[] = []) => {
      const counted: ChainRule = { match: [], action: { do: 'none' }, comments: [`round ${++round}`] };
      const changed = fresh.chains.map((c) =>
        c.name === 'cali-FORWARD' && c.chain
          ? { ...c, chain: { ...c.chain, rules: [counted, ...extra, ...c.chain.rules] } }
          : c,
      );
      chains.update({ chains: changed, ...(round === 1 && { hooks: fresh.hooks! }) });
      return chains.apply();
    };
    const stands = () => tools.show(4).includes(`round ${round}`);
    /** Changes until one of them starts no program. */
    const fed = async () => {
      for (let before = -1; before !== calls().length; ) {
        before = calls().length;
        expect((await change()).failures).toEqual([]);
      }
      expect(stands()).toBe(true);
    };
    expect((await change()).failures).toEqual([]);
    return { chains, clock, change, stands, fed, calls, logged, other };
  }
  const started = (calls: readonly string[]) => calls.filter((call) => call.includes('--verbose')).length;

  test('takes one change after the other, is asked by the lines of each, and ends with the runner', async () => {
    const b = await bench('real "$@"');
    await b.fed();
    const calls = b.calls();
    for (let i = 0; i < 5; i++) expect((await b.change()).failures).toEqual([]);
    expect(b.stands()).toBe(true);
    expect(b.calls()).toEqual(calls);
    expect(started(calls)).toBe(1);
    // Somebody else changes something in between: it compares with what is there now.
    ns.sh(`${kind} -F cali-FORWARD`);
    expect(await b.chains.check()).toBe(true);
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(b.stands()).toBe(true);
    expect(b.calls()).toEqual(calls);
    expect(await b.chains.check()).toBe(false);
    const running = () => ns.sh(`pgrep -f '${dir}/[s]tays' || true`).trim();
    expect(running()).not.toBe('');
    b.other.close();
    await until('its end', () => running() === '');
  });

  test('is given a rule that the kernel refuses: the rule is named, its chain closed, and changes are fed again', async () => {
    const b = await bench('real "$@"');
    await b.fed();
    const bad: ChainRule = { match: [], action: { do: 'masquerade', randomFully: false } };
    const { failures } = await b.change([bad]);
    expect(failures.map(({ error }) => error)).toEqual(['REFUSED']);
    expect(b.chains.quarantined).toMatchObject([
      { chain: 'cali-FORWARD', rule: expect.stringContaining('MASQUERADE') },
    ]);
    expect((await b.change()).failures).toEqual([]);
    await b.fed();
    expect(started(b.calls())).toBeGreaterThan(1);
  });

  // It answers once, when it is started; then it is given a change.
  const answered = (then: string) => `{ head -n 1; ${then}; } | real "$@"`;
  test.each([
    ['hangs', answered(HANGS), 'TIMEOUT', 1_000],
    ['dies', answered('head -n 1 > /dev/null; kill -9 0'), 'EXEC', undefined],
    ['ends as if all were well', answered('head -n 1 > /dev/null'), 'EXEC', undefined],
    ['writes without end', answered('yes "# $(printf %01000d 0)"'), 'EXEC', undefined],
  ])('%s: said, and a command does it', async (_what, script, error, timeout) => {
    const b = await bench(script, timeout);
    let failures: readonly { readonly error: string }[] = [];
    while (failures.length === 0) ({ failures } = await b.change());
    expect(failures.map((f) => f.error)).toEqual([error]);
    expect(b.chains.quarantined).toEqual([]);
    expect(() => ns.sh(`pgrep -f '^${HANGS}$'`)).toThrow();
    b.clock.advance(60_000);
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(b.stands()).toBe(true);
  });

  test('lies that it has written: the next look finds out, and it is written again', async () => {
    // Its first change is kept from it.
    const b = await bench(`{ head -n 1; sed -u '1,/^#/{/^#/!d}'; } | real "$@"`);
    do expect((await b.change()).failures).toEqual([]);
    while (b.stands());
    expect(await b.chains.check()).toBe(true);
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(b.stands()).toBe(true);
    expect(await b.chains.check()).toBe(false);
  });

  test('never answers: commands do the work', async () => {
    const b = await bench(`exec ${HANGS}`);
    for (let i = 0; i < 5; i++) expect((await b.change()).failures).toEqual([]);
    expect(b.stands()).toBe(true);
    expect(started(b.calls())).toBe(1);
  });
});

describe('the lock of legacy iptables', () => {
  /** The real program with a lock file of the test's own, so that nobody else waits for it. */
  function bench(lockWait: number) {
    const path = join(dir, 'locked');
    writeFileSync(path, `#!/bin/sh\nXTABLES_LOCKFILE=${dir}/lock exec iptables-legacy-restore "$@"\n`);
    chmodSync(path, 0o755);
    const clock = new FakeClock();
    const backend = createIptables({ runner, variant: 'legacy', lockWait, programs: { restore: () => path } });
    const chains = new ChainReconciler({ backend, families: [4], clock, log: silentLog, metrics: createMetrics() });
    chains.update(createPolicyEngine({ node: 'n', config: { ...DEFAULT_RENDER_CONFIG, families: [4] } }).flush());
    return { chains, clock };
  }
  const hold = () =>
    spawn('flock', [join(dir, 'lock'), 'sh', '-c', `touch ${dir}/held; exec ${HANGS}`], { detached: true });
  const held = () => until('the lock', () => existsSync(join(dir, 'held')));
  afterEach(() => {
    rmSync(join(dir, 'held'), { force: true });
    TOOLS['iptables-legacy'].clean();
  });

  test('is waited for', async () => {
    const b = bench(10);
    const holder = hold();
    await held();
    const outcome = b.chains.apply();
    await until('the wait', () => ns.sh(`pgrep -f '^iptables-legacy-restore.*--wait 10' || true`) !== '');
    process.kill(-holder.pid!, 'SIGKILL');
    expect((await outcome).failures).toEqual([]);
    expect(ns.sh('iptables-legacy -S FORWARD')).toContain('-j cali-FORWARD');
  });

  test('is not waited for longer than the bound: said, and tried again', async () => {
    const b = bench(1);
    const holder = hold();
    await held();
    const { failures, again } = await b.chains.apply();
    expect(failures.map((f) => f.error)).toEqual(['EXEC', 'EXEC']);
    expect(failures[0].detail).toContain('lock');
    expect(b.chains.quarantined).toEqual([]);
    process.kill(-holder.pid!, 'SIGKILL');
    b.clock.advance(again! + 1000);
    expect((await b.chains.apply()).failures).toEqual([]);
  });
});

describe('the lock of legacy iptables, held for both families', () => {
  const file = (name: string) => join(dir, name);
  const go = () => writeFileSync(file('go'), '');
  const atWork = (family: 4 | 6) => existsSync(file(`at-work-${family}`));
  /** Whether a stranger would get the lock. */
  const isFree = () => ns.sh(`flock -n ${file('lock')} echo free || true`) !== '';
  const clean = () => {
    for (const name of ['lock', 'go', 'at-work-4', 'at-work-6', 'pids']) rmSync(file(name), { force: true });
  };
  const others: Runner[] = [];
  afterEach(() => {
    for (const other of others.splice(0)) other.close();
    TOOLS['iptables-legacy'].clean();
    clean();
  });

  /**
   * Programs that were made with another lock file, and that stop, once they stay and are given a change, until they are told to go.
   * @param name of the variable that they know the lock file by
   */
  async function bench({ name = 'XTABLES_LOCKFILE', lockWait = 10 } = {}) {
    clean();
    writeFileSync(file('lock'), '');
    const path = (family: 4 | 6) => file(`shares-${family}`);
    for (const family of FAMILIES) {
      const tool = `${family === 4 ? 'iptables' : 'ip6tables'}-legacy-restore`;
      const wait = `touch ${file(`at-work-${family}`)}; until [ -e ${file('go')} ]; do sleep 0.01; done`;
      const stays = `sh -c 'head -n 1; while IFS= read -r line; do case $line in "*"*) ${wait};; esac; echo "$line"; done'`;
      writeFileSync(
        path(family),
        `#!/bin/sh\nown=$${name}\nexport XTABLES_LOCKFILE=\${own:-${file('lock')}}
case "$*" in *--verbose*) echo $own >> ${file('pids')}; ${stays} | ${tool} "$@";; *) exec ${tool} "$@";; esac\n`,
      );
      chmodSync(path(family), 0o755);
    }
    const other = createRunner({ log: silentLog });
    others.push(other);
    const clock = new FakeClock();
    const options = { runner: other, variant: 'legacy', lockFile: file('lock'), lockWait } as const;
    const backend = createIptables({ ...options, programs: { restore: path } });
    const chains = new ChainReconciler({
      backend,
      families: FAMILIES,
      clock,
      log: silentLog,
      metrics: createMetrics(),
    });
    const fresh = createPolicyEngine({ node: 'n', config: DEFAULT_RENDER_CONFIG }).flush();
    let round = 0;
    const change = () => {
      const counted: ChainRule = { match: [], action: { do: 'none' }, comments: [`round ${++round}`] };
      const changed = fresh.chains.map((c) =>
        c.name === 'cali-FORWARD' && c.chain ? { ...c, chain: { ...c.chain, rules: [counted, ...c.chain.rules] } } : c,
      );
      chains.update({ chains: changed, ...(round === 1 && { hooks: fresh.hooks! }) });
      return chains.apply();
    };
    const stands = () => FAMILIES.every((family) => TOOLS['iptables-legacy'].show(family).includes(`round ${round}`));
    go();
    do expect((await change()).failures).toEqual([]);
    while (!FAMILIES.every(atWork));
    rmSync(file('go'));
    for (const family of FAMILIES) rmSync(file(`at-work-${family}`));
    const owns = () => readFileSync(file('pids'), 'utf8').split('\n').slice(0, -1);
    return { chains, clock, change, stands, other, owns };
  }

  test('both are written at the same time, and strangers wait for both', async () => {
    const b = await bench();
    expect(b.owns()).toEqual(['/proc/self/status', '/proc/self/status']);
    expect(isFree()).toBe(true);
    const outcome = b.change();
    await until('both', () => FAMILIES.every(atWork));
    expect(isFree()).toBe(false);
    go();
    expect((await outcome).failures).toEqual([]);
    expect(b.stands()).toBe(true);
    expect(isFree()).toBe(true);
  });

  test('a program that knows no other lock than the one of all takes it by itself, one family after the other', async () => {
    const b = await bench({ name: 'NOT_THIS' });
    expect(b.owns()).toEqual(['', '']);
    go();
    expect((await b.change()).failures).toEqual([]);
    expect(b.stands()).toBe(true);
  });

  test('it is waited for: no program is given a change before', async () => {
    const b = await bench();
    go();
    const holder = spawn('flock', [file('lock'), 'sh', '-c', `touch ${file('pids')}-held; exec ${HANGS}`], {
      detached: true,
    });
    await until('the holder', () => existsSync(`${file('pids')}-held`));
    rmSync(`${file('pids')}-held`);
    const outcome = b.change();
    // A round trip to the runner after the change.
    await b.other.run({ argv: ['true'], timeout: 20_000 });
    expect(FAMILIES.some(atWork)).toBe(false);
    process.kill(-holder.pid!, 'SIGKILL');
    expect((await outcome).failures).toEqual([]);
    expect(b.stands()).toBe(true);
  });

  test('it is not waited for longer than the bound: said, and tried again', async () => {
    const b = await bench({ lockWait: 1 });
    go();
    const holder = spawn('flock', [file('lock'), 'sh', '-c', `touch ${file('pids')}-held; exec ${HANGS}`], {
      detached: true,
    });
    await until('the holder', () => existsSync(`${file('pids')}-held`));
    rmSync(`${file('pids')}-held`);
    const { failures, again } = await b.change();
    expect(failures.map(({ error, detail }) => [error, detail.includes('lock')])).toEqual(
      FAMILIES.map(() => ['TIMEOUT', true]),
    );
    process.kill(-holder.pid!, 'SIGKILL');
    b.clock.advance(again! + 1000);
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(b.stands()).toBe(true);
  });

  test('when the runner is killed it stays until the programs have ended', async () => {
    const b = await bench();
    const pid = (await b.other.run({ argv: ['sh', '-c', 'echo $PPID'], timeout: 20_000 })).stdout.trim();
    const outcome = b.change();
    await until('both', () => FAMILIES.every(atWork));
    process.kill(Number(pid), 'SIGKILL');
    // Commands are tried, too, and wait for the lock.
    await until('the end of the runner', () => ns.sh(`ps -o pid= -p ${pid} || true`).trim() === '');
    expect(isFree()).toBe(false);
    go();
    await until('the end of the programs', isFree);
    await outcome;
    b.clock.advance(60_000);
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(b.stands()).toBe(true);
  });

  test('when another file has come into its place, programs that lock that one do the work', async () => {
    const b = await bench();
    go();
    rmSync(file('lock'));
    writeFileSync(file('lock'), '');
    const { failures, again } = await b.change();
    expect(failures.map(({ error }) => error)).toEqual(['TIMEOUT', 'TIMEOUT']);
    b.clock.advance(again! + 1000);
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(b.stands()).toBe(true);
  });
});

test('a look at the rules that had to wait for a write is followed by the next as soon as one that had not', async () => {
  const clock = new FakeClock();
  const looks: { onTurn: () => void; end: () => void }[] = [];
  const watch = new RuleWatch({
    chains: {
      readAhead: async () => {},
      check: (onTurn = () => {}) => new Promise((done) => looks.push({ onTurn, end: () => done(false) })),
    },
    sets: { check: async () => true },
    filter: { news: { rules: false, sets: false }, isOurs: () => true },
    ...{ clock, log: silentLog, onDirty: () => {} },
  });
  const look = async (wait: number, took: number) => {
    clock.advance(wait);
    looks.at(-1)?.onTurn();
    clock.advance(took);
    looks.at(-1)?.end();
    await new Promise((done) => setImmediate(done));
  };
  clock.advance(500);
  await look(20_000, 10);
  // One begins every half second, and rests twice as long as it took.
  clock.advance(490);
  expect(looks).toHaveLength(2);
  await look(0, 300);
  clock.advance(599);
  expect(looks).toHaveLength(2);
  clock.advance(1);
  expect(looks).toHaveLength(3);
  watch.stop();
});

describe('the runner', () => {
  test('bounds what a command may write', async () => {
    const result = await runner.run({ argv: ['yes'], timeout: 10_000, maxOutput: 100_000 });
    expect(result.ended).toBe('output');
  });
  test('passes arguments as they are, never through a shell', async () => {
    const hostile = '$(id); `id` | x > /tmp/y "\n';
    expect((await runner.run({ argv: ['printf', '%s', hostile], timeout: 5_000 })).stdout).toBe(hostile);
  });
  test('that is closed starts nothing any more', async () => {
    const count = () => Number(ns.sh(`pgrep -c -P ${process.pid} -f runner-child || true`));
    const before = count();
    const other = createRunner({ log: silentLog });
    expect(count()).toBe(before + 1);
    other.close();
    await until('its end', () => count() === before);
    // The news of it come with a command that another one has run meanwhile.
    await runner.run({ argv: ['true'], timeout: 5_000 });
    expect(other.keep(['sleep', '5']).isGone).toBe(true);
    await expect(other.run({ argv: ['true'], timeout: 5_000 })).rejects.toThrow('closed');
    expect(count()).toBe(before);
  });
  test('that is killed rejects what it had begun, and is there again for the next command', async () => {
    const other = createRunner({ log: silentLog });
    const running = other.run({ argv: ['sleep', '5'], timeout: 30_000 });
    const pid = (await other.run({ argv: ['sh', '-c', 'echo $PPID'], timeout: 5_000 })).stdout.trim();
    process.kill(Number(pid), 'SIGKILL');
    await expect(running).rejects.toThrow('runner ended');
    expect((await other.run({ argv: ['echo', 'again'], timeout: 20_000 })).stdout).toBe('again\n');
    other.close();
  });
});
