import { afterEach, expect, test, vi } from 'vitest';
import { Backoff, FakeClock, realClock, sleep } from '#core';

afterEach(() => void vi.useRealTimers());

test('timers fire at their time, in order, also those set on the way', () => {
  const clock = new FakeClock();
  const fired: string[] = [];
  clock.after(20, () => fired.push(`b${clock.now()}`));
  clock.after(10, () => {
    fired.push(`a${clock.now()}`);
    clock.after(5, () => fired.push(`c${clock.now()}`));
  });
  const cancel = clock.after(12, () => fired.push('never'));
  cancel();
  clock.advance(100);
  expect(fired).toEqual(['a10', 'c15', 'b20']);
  expect(clock.pending).toBe(0);
});

test('a timer may wait for months, and may be taken back meanwhile', () => {
  vi.useFakeTimers();
  const [month, fired] = [30 * 86_400_000, [] as string[]];
  realClock.after(2 * month, () => fired.push('two'));
  const cancel = realClock.after(3 * month, () => fired.push('three'));
  vi.advanceTimersByTime(2 * month - 1);
  expect(fired).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(fired).toEqual(['two']);
  cancel();
  vi.advanceTimersByTime(2 * month);
  expect(fired).toEqual(['two']);
  expect(vi.getTimerCount()).toBe(0);
});

test('an aborted sleep rejects and leaves no timer', async () => {
  const clock = new FakeClock();
  const abort = new AbortController();
  const waiting = sleep(clock, 1000, abort.signal);
  abort.abort(new Error('stop'));
  await expect(waiting).rejects.toThrow('stop');
  expect(clock.pending).toBe(0);
});

test('back-off doubles to its bound, shortened by at most a quarter', () => {
  const backoff = new Backoff(100, 350, () => 1);
  expect([backoff.next(), backoff.next(), backoff.next(), backoff.next()]).toEqual([75, 150, 262.5, 262.5]);
  backoff.reset();
  expect(backoff.next()).toBe(75);
});
