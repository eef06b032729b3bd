import { expect, test } from 'vitest';
import { Backoff, FakeClock, sleep } from '#core';

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
