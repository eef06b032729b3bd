import { describe, expect, test } from 'vitest';
import { createMetrics, FakeClock, OperationalError, silentLog } from '#core';
import type { SetChange } from '#policy';
import type { Failure, SetBackend, SetState, SetWrite } from '../../../agent/kernel/types.ts';
import { SetReconciler } from '../../../agent/reconcile/sets.ts';

/** A kernel with sets: what it holds, the commands that it was given, and which names it refuses. */
class Kernel implements SetBackend {
  readonly sets = new Map<string, { type: SetState['type']; members: Set<string> }>();
  readonly commands: string[] = [];
  readonly refused = new Set<string>();
  /** Whether a refusal concerns one set, as ipset's do, or everything that is written with it, as nftables'. */
  refusesOne = false;
  onWrite: () => void = () => {};

  list = async (): Promise<SetState[]> => {
    this.commands.push('list');
    return [...this.sets].map(([name, { type, members }]) => ({ name, type, maxElements: 9, entries: members.size }));
  };
  members: SetBackend['members'] = async (names, tell) => {
    if (names.length > 0) this.commands.push(`members ${names.join(' ')}`);
    for (const name of names) tell(name, new Set(this.sets.get(name)!.members));
  };
  write = async (writes: readonly SetWrite[]) => {
    this.commands.push(`write ${writes.map(({ name }) => name).join(' ')}`);
    this.onWrite();
    const failures: Failure[] = [];
    for (const write of writes) {
      if (this.refused.has(write.name)) {
        if (!this.refusesOne) throw new OperationalError('EXEC', `${write.name} is refused`);
        failures.push({ key: write.name, error: 'EBUSY', detail: `${write.name} is in use` });
        continue;
      }
      if (write.op === 'create') this.sets.set(write.name, { type: write.type, members: new Set(write.members) });
      else {
        for (const member of write.removed) this.sets.get(write.name)!.members.delete(member);
        for (const member of write.added) this.sets.get(write.name)!.members.add(member);
      }
    }
    return failures;
  };
  destroy = async (name: string) => {
    this.commands.push(`destroy ${name}`);
    if (!this.sets.delete(name)) throw new OperationalError('EXEC', `there is no ${name}`);
  };
}

function bench(maxElements = 9) {
  const kernel = new Kernel();
  const clock = new FakeClock();
  const sets = new SetReconciler({ backend: kernel, clock, log: silentLog, metrics: createMetrics(), maxElements });
  return { kernel, clock, sets };
}
const set = (id: string, added: string[], removed: string[] = []): SetChange => ({
  id,
  owner: `selector of ${id}`,
  type: 'hash:net',
  family: 4,
  members: { added: new Set(added), removed: new Set(removed) },
});
const gone = (id: string): SetChange => ({ ...set(id, []), members: null });

describe('sets', () => {
  test('many sets are read with one command and written with one', async () => {
    const { kernel, sets } = bench();
    kernel.sets.set('cali40b', { type: 'hash:net', members: new Set(['10.0.0.9']) });
    kernel.sets.set('cali40c', { type: 'hash:net', members: new Set(['10.0.0.1']) });
    sets.update([set('a', ['10.0.0.1']), set('b', ['10.0.0.2']), set('c', ['10.0.0.1'])]);
    expect(await sets.applyUpdates()).toMatchObject({ written: 4, failures: [] });
    expect(kernel.commands).toEqual(['list', 'members cali40b cali40c', 'write cali40a cali40b']);
    expect(kernel.sets.get('cali40b')?.members).toEqual(new Set(['10.0.0.2']));
    // A set that was not there when all was read is made without asking again.
    sets.update([set('d', ['10.0.0.4']), set('a', ['10.0.0.5'], ['10.0.0.1'])]);
    await sets.applyUpdates();
    expect(kernel.commands.slice(3)).toEqual(['write cali40d cali40a']);
    expect(kernel.sets.get('cali40a')?.members).toEqual(new Set(['10.0.0.5']));
  });

  describe('of two that hold the members of one', () => {
    const two = (addresses: [added: string[], removed?: string[]], networks: [added: string[], removed?: string[]]) => [
      { ...set('a', ...addresses), other: 'n' },
      { ...set('n', ...networks), other: 'a' },
    ];
    const contents = ({ kernel }: ReturnType<typeof bench>) =>
      [...kernel.sets].map(([name, { members }]) => `${name} ${[...members]}`);

    test('what leaves one while something comes into the other leaves when rules have changed', async () => {
      const b = bench();
      b.sets.update([{ ...set('a', ['10.0.0.1', '10.0.0.2']), other: 'n' }]);
      await b.sets.applyUpdates();
      expect(await b.sets.applyRemovals()).toEqual({ written: 0, failures: [] });
      b.sets.update(two([['10.0.0.3'], ['10.0.0.1']], [['10.0.0.0/31']]));
      await b.sets.applyUpdates();
      expect(contents(b)).toEqual(['cali40a 10.0.0.1,10.0.0.2,10.0.0.3', 'cali40n 10.0.0.0/31']);
      expect(await b.sets.check()).toBe(true);
      expect(await b.sets.applyRemovals()).toEqual({ written: 1, failures: [] });
      expect(contents(b)).toEqual(['cali40a 10.0.0.2,10.0.0.3', 'cali40n 10.0.0.0/31']);
      // Rules know both now; what goes the other way is in both for a moment.
      b.sets.update(two([['10.0.0.0', '10.0.0.1']], [[], ['10.0.0.0/31']]));
      await b.sets.applyUpdates();
      expect(contents(b)).toEqual(['cali40a 10.0.0.2,10.0.0.3,10.0.0.0,10.0.0.1', 'cali40n 10.0.0.0/31']);
      await b.sets.applyRemovals();
      expect(contents(b)[1]).toBe('cali40n ');
      expect(await b.sets.check()).toBe(true);
    });

    test('what leaves one by itself leaves at once, but not before rules were written', async () => {
      const b = bench();
      b.kernel.sets.set('cali40a', { type: 'hash:net', members: new Set(['10.0.0.1', '10.0.0.2']) });
      b.kernel.sets.set('cali40n', { type: 'hash:net', members: new Set(['10.0.0.0/31']) });
      // An earlier run may have ended before it had written its rules.
      b.sets.update(two([['10.0.0.2']], [['10.0.0.0/31']]));
      await b.sets.applyUpdates();
      await b.sets.applyUpdates();
      expect(contents(b)[0]).toBe('cali40a 10.0.0.1,10.0.0.2');
      await b.sets.applyRemovals();
      expect(contents(b)[0]).toBe('cali40a 10.0.0.2');
      b.sets.update(two([[], ['10.0.0.2']], [[]]));
      await b.sets.applyUpdates();
      expect(contents(b)[0]).toBe('cali40a ');
    });

    test('while the kernel refuses the one, the other keeps what leaves it; one that is not wanted keeps nothing', async () => {
      const b = bench();
      b.kernel.refusesOne = true;
      b.sets.update([{ ...set('a', ['10.0.0.1']), other: 'n' }]);
      await b.sets.applyUpdates();
      b.kernel.refused.add('cali40n');
      b.sets.update(two([[], ['10.0.0.1']], [['10.0.0.0/31']]));
      for (let i = 0; i < 2; i++) {
        await b.sets.applyUpdates();
        await b.sets.applyRemovals();
        expect(contents(b)).toEqual(['cali40a 10.0.0.1']);
      }
      b.sets.update([gone('n')]);
      await b.sets.applyUpdates();
      await b.sets.applyRemovals();
      expect(contents(b)).toEqual(['cali40a ']);
    });
  });

  test('a set that the kernel refuses harms only itself, and is read and tried again', async () => {
    const { kernel, clock, sets } = bench();
    kernel.refused.add('cali40b');
    sets.update([set('a', ['10.0.0.1']), set('b', ['10.0.0.2']), set('c', ['10.0.0.3'])]);
    const { failures, again } = await sets.applyUpdates();
    expect(failures).toMatchObject([{ key: 'cali40b', error: 'SET', detail: 'selector of b: cali40b is refused' }]);
    expect([...kernel.sets.keys()]).toEqual(['cali40a', 'cali40c']);
    expect(kernel.commands.slice(1)).toEqual([
      'write cali40a cali40b cali40c',
      'write cali40a',
      'write cali40b cali40c',
      'write cali40b',
      'write cali40c',
    ]);
    kernel.refused.clear();
    expect((await sets.applyUpdates()).failures).toHaveLength(1);
    clock.advance(again!);
    expect(await sets.applyUpdates()).toMatchObject({ written: 2, failures: [] });
    expect(kernel.commands.slice(-2)).toEqual(['list', 'write cali40b']);
    expect(sets.problems).toEqual([]);
  });

  test('where the kernel says which set it refuses, the others are not written again', async () => {
    const { kernel, clock, sets } = bench();
    kernel.refusesOne = true;
    kernel.refused.add('cali40b');
    sets.update([set('a', ['10.0.0.1']), set('b', ['10.0.0.2']), set('c', ['10.0.0.3'])]);
    expect(await sets.applyUpdates()).toMatchObject({
      written: 4,
      failures: [{ key: 'cali40b', error: 'SET', detail: 'selector of b: cali40b is in use' }],
    });
    expect(kernel.commands.slice(1)).toEqual(['write cali40a cali40b cali40c']);
    kernel.refused.clear();
    clock.advance(60_000);
    expect(await sets.applyUpdates()).toMatchObject({ written: 2, failures: [] });
    expect(kernel.commands.slice(2)).toEqual(['list', 'write cali40b']);
  });

  test('what changes while sets are written is written as it is then, or after', async () => {
    const { kernel, sets } = bench(9);
    sets.update([set('a', ['10.0.0.1']), set('b', ['10.0.0.2'])]);
    kernel.onWrite = () => {
      kernel.onWrite = () => {};
      sets.update([set('a', ['10.0.0.3'], ['10.0.0.1']), set('b', ['10.0.0.4'])]);
    };
    await sets.applyUpdates();
    expect(kernel.sets.get('cali40a')!.members).toEqual(new Set(['10.0.0.1']));
    expect(await sets.applyUpdates()).toMatchObject({ written: 3 });
    expect(kernel.sets.get('cali40a')!.members).toEqual(new Set(['10.0.0.3']));
    expect(kernel.sets.get('cali40b')!.members).toEqual(new Set(['10.0.0.2', '10.0.0.4']));
    expect(await sets.check()).toBe(true);
  });

  test('a command that does not end is not started again for each of its sets', async () => {
    const { kernel, clock, sets } = bench();
    kernel.onWrite = () => {
      throw new OperationalError('TIMEOUT', 'ipset did not end in time');
    };
    sets.update([set('a', ['10.0.0.1']), set('b', ['10.0.0.2'])]);
    const { failures } = await sets.applyUpdates();
    expect(failures.map(({ key }) => key)).toEqual(['cali40a', 'cali40b']);
    expect(kernel.commands.filter((c) => c.startsWith('write'))).toEqual(['write cali40a cali40b']);
    kernel.onWrite = () => {};
    clock.advance(60_000);
    expect((await sets.applyUpdates()).failures).toEqual([]);
    expect([...kernel.sets.keys()]).toEqual(['cali40a', 'cali40b']);
  });

  test('a set that is too large is an error that names its selector, and harms no other set', async () => {
    const { kernel, sets } = bench(2);
    sets.update([set('a', ['10.0.0.1', '10.0.0.2', '10.0.0.3']), set('b', ['10.0.0.1'])]);
    const { failures } = await sets.applyUpdates();
    expect(failures).toMatchObject([{ error: 'SET', detail: 'selector of a: 3 members; maxIpsetSize is 2' }]);
    expect([...kernel.sets.keys()]).toEqual(['cali40b']);
  });

  test('a set given up is destroyed if it was made, also while it was being made', async () => {
    const { kernel, sets } = bench();
    sets.update([set('a', ['10.0.0.1'])]);
    await sets.applyUpdates();
    sets.update([set('b', ['10.0.0.1']), gone('b'), set('c', ['10.0.0.1']), gone('a')]);
    kernel.onWrite = () => sets.update([gone('c')]);
    await sets.applyUpdates();
    expect(await sets.applyDeletes()).toMatchObject({ written: 2, failures: [] });
    expect([...kernel.sets.keys()]).toEqual([]);
    expect(kernel.commands.filter((c) => c.startsWith('destroy'))).toEqual(['destroy cali40a', 'destroy cali40c']);
    expect(await sets.check()).toBe(true);
  });

  test('another type or size makes the set anew, and a change by a stranger is noticed by the number of members', async () => {
    const { kernel, sets } = bench();
    sets.update([set('a', ['10.0.0.1'])]);
    await sets.applyUpdates();
    sets.update([{ ...set('a', ['10.0.0.1,tcp:80']), type: 'hash:ip,port' }]);
    await sets.applyUpdates();
    expect(kernel.sets.get('cali40a')).toEqual({ type: 'hash:ip,port', members: new Set(['10.0.0.1,tcp:80']) });
    kernel.sets.get('cali40a')!.members.clear();
    expect(await sets.check()).toBe(false);
    expect(await sets.applyUpdates()).toMatchObject({ written: 1 });
    expect(kernel.sets.get('cali40a')!.members.size).toBe(1);
    sets.setMaxElements(5);
    await sets.applyUpdates();
    expect(kernel.commands.at(-1)).toBe('write cali40a');
  });
});
