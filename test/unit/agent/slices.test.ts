import { describe, expect, test } from 'vitest';
import { FakeClock } from '#core';
import { atOnce, forEach, inSlices, SLICE } from '../../../agent/slices.ts';

/** Each look at it finds a millisecond gone. */
class SlowClock extends FakeClock {
  override now(): number {
    this.advance(1);
    return super.now();
  }
}

function* count(steps: number, done: number[]): Generator<void, string> {
  for (let i = 0; i < steps; i++) {
    done.push(i);
    yield;
  }
  return 'all';
}

describe('long work', () => {
  test('lets the loop have its turn whenever a slice is used up, and gives its result in the end', async () => {
    const done: number[] = [];
    const turns: number[] = [];
    let isOver = false;
    const turn = () => {
      turns.push(done.length);
      if (!isOver) setImmediate(turn);
    };
    setImmediate(turn);
    expect(await inSlices(new SlowClock(), count(40, done))).toBe('all');
    isOver = true;
    expect(done).toHaveLength(40);
    const steps = turns.map((n, i) => n - (turns[i - 1] ?? 0));
    expect(Math.max(...steps)).toBeLessThanOrEqual(SLICE);
    expect(turns.length).toBeGreaterThanOrEqual(40 / SLICE);
  });

  test('that fits into one slice is done before anything else happens', () => {
    const done: number[] = [];
    void inSlices(new FakeClock(), count(40, done));
    expect(done).toHaveLength(40);
  });

  test('ends with what it throws', async () => {
    const failing = function* (): Generator<void> {
      yield;
      throw new RangeError('no');
    };
    await expect(inSlices(new FakeClock(), failing())).rejects.toThrow('no');
    expect(() => atOnce(failing())).toThrow('no');
  });

  test('of many small things may be interrupted between some hundred of them', () => {
    const seen: number[] = [];
    const all = Array.from({ length: 1000 }, (_, i) => i);
    const work = forEach(all, (n) => seen.push(n));
    work.next();
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.length).toBeLessThan(500);
    atOnce(work);
    expect(seen).toEqual(all);
  });
});
