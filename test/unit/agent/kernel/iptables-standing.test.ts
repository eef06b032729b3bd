import { describe, expect, test } from 'vitest';
import { OperationalError } from '#core';
import { StandingRestore } from '../../../../agent/kernel/iptables-standing.ts';
import type { Kept } from '../../../../agent/kernel/kept.ts';
import type { CommandResult } from '../../../../agent/kernel/runner.ts';

const ENDED: CommandResult = { code: 1, stdout: '', stderr: 'line 3 failed', pid: 1 };
const CHANGE = '*filter\n-A cali-x -j ACCEPT\nCOMMIT\n';
const turn = () => new Promise((resolve) => setImmediate(resolve));

interface Program extends Kept {
  isGone: boolean;
  readonly inputs: string[];
  answer(result?: CommandResult): Promise<unknown>;
  break(): Promise<unknown>;
}

function machine() {
  const started: string[][] = [];
  const programs: Program[] = [];
  const keep = (argv: readonly string[]): Kept => {
    started.push([...argv]);
    let settle: { resolve(result: CommandResult | undefined): void; reject(error: Error): void };
    const program: Program = {
      isGone: false,
      inputs: [],
      feed(stdin, until) {
        expect(stdin).toContain(until);
        program.inputs.push(stdin);
        return new Promise((resolve, reject) => {
          settle = { resolve, reject };
        });
      },
      async answer(result) {
        await turn();
        settle.resolve(result);
        return turn();
      },
      async break() {
        await turn();
        settle.reject(new OperationalError('EXEC', 'the command runner ended'));
        return turn();
      },
    };
    programs.push(program);
    return program;
  };
  const restore = new StandingRestore(async () => keep(['restore', '--noflush', '--verbose']));
  return { restore, started, programs, feed: (text = CHANGE) => restore.feed(text, 1000) };
}

describe('a restore program that stays', () => {
  test('is started when a command has succeeded, and fed when it has answered once', async () => {
    const { restore, started, programs, feed } = machine();
    expect(feed()).toBeUndefined();
    restore.succeeded();
    restore.succeeded();
    expect(started).toEqual([['restore', '--noflush', '--verbose']]);
    expect(feed()).toBeUndefined();
    await programs[0].answer();
    const fed = feed();
    expect(fed).toBeDefined();
    // One at a time.
    expect(feed()).toBeUndefined();
    await programs[0].answer();
    expect(await fed).toEqual({ ended: undefined, linesBefore: 1 });
    expect(programs[0].inputs[1].startsWith(CHANGE)).toBe(true);
    const next = feed();
    await programs[0].answer(ENDED);
    expect(await next).toEqual({ ended: ENDED, linesBefore: 5 });
  });

  test('is not given what is large', async () => {
    const { restore, programs, feed } = machine();
    restore.succeeded();
    await programs[0].answer();
    expect(feed(CHANGE.repeat(20_000))).toBeUndefined();
    expect(feed()).toBeDefined();
  });

  test('that ended, never answered or was lost is started again after some commands, each time after twice as many', async () => {
    const { restore, started, programs, feed } = machine();
    const commands = () => {
      const before = started.length;
      let count = 0;
      for (; started.length === before; count++) restore.succeeded();
      return count;
    };
    expect(commands()).toBe(1);
    await programs[0].answer(ENDED);
    expect(feed()).toBeUndefined();
    const first = commands();
    expect(first).toBeGreaterThan(1);
    await programs[1].break();
    expect(commands() - 1).toBe(2 * (first - 1));
    await programs[2].answer();
    programs[2].isGone = true;
    expect(feed()).toBeUndefined();
    expect(commands() - 1).toBe(4 * (first - 1));
    await programs[3].answer();
    const fed = feed();
    await programs[3].answer();
    await fed;
    const lost = feed();
    await Promise.all([expect(lost).rejects.toThrow('runner ended'), programs[3].break()]);
    // It had taken a change in between.
    expect(commands()).toBe(first);
  });
});
