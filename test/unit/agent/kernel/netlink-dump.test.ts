import { beforeEach, expect, test, vi } from 'vitest';
import type { Received } from '../../../../agent/kernel/netlink/libc.ts';
import { Datagram, F, MessageWriter, NLMSG } from '../../../../agent/kernel/netlink/message.ts';
import { Requester } from '../../../../agent/kernel/netlink/request.ts';

/** What the kernel would answer to each dump: datagrams, or the news that it had to drop some. */
type Answer = readonly (((w: MessageWriter, seq: number) => void) | 'overrun')[];
const kernel = vi.hoisted(() => ({ answers: [] as unknown[], queue: [] as unknown[], asked: 0 }));

vi.mock('../../../../agent/kernel/netlink/libc.ts', async (original) => ({
  ...(await original<object>()),
  NetlinkSocket: class {
    readonly port = 7;
    option(): void {}
    close(): void {}
    send(bytes: Buffer): number {
      const seq = new Datagram(bytes, bytes.length).u32(8);
      const answer = kernel.answers[Math.min(kernel.asked++, kernel.answers.length - 1)] as Answer;
      kernel.queue = answer.map((part) => (part === 'overrun' ? part : { part, seq }));
      return 0;
    }
    receive(into: Uint8Array): Received {
      const next = kernel.queue.shift() as 'overrun' | { part: (w: MessageWriter, seq: number) => void; seq: number };
      if (next === undefined) return 'empty';
      if (next === 'overrun') return 'overrun';
      const w = new MessageWriter(4096);
      next.part(w, next.seq);
      into.set(w.bytes.subarray(0, w.length));
      return w.length;
    }
  },
}));

const ENTRY = 24;
const entries =
  (flags: number, ...numbers: number[]) =>
  (w: MessageWriter, seq: number) => {
    for (const number of numbers) w.begin(ENTRY, flags, seq).u32(number).end();
  };
const done = (w: MessageWriter, seq: number) => void w.begin(NLMSG.DONE, 0, seq).u32(0).end();
const INTERRUPTED = F.DUMP_INTR;

let requests: Requester;
beforeEach(() => {
  Object.assign(kernel, { answers: [], queue: [], asked: 0 });
  requests = new Requester(0);
});
const dump = () =>
  requests.dump(
    (w, seq) => void w.begin(26, F.REQUEST | F.DUMP, seq).end(),
    (d, m) => d.u32(m.start),
  );

test('a listing that changes while it runs is begun again, and nothing of the first counts', async () => {
  kernel.answers = [
    [entries(0, 1), entries(INTERRUPTED, 2), done],
    [entries(0, 1, 3), done],
  ];
  expect(await dump()).toEqual([1, 3]);
  expect(kernel.asked).toBe(2);
});

test('so is one of which the kernel had to drop a part', async () => {
  kernel.answers = [
    [entries(0, 1), 'overrun', done],
    [entries(0, 1, 2), done],
  ];
  expect(await dump()).toEqual([1, 2]);
});

test('one that never holds still is taken after five times, and a later one is not touched by it', async () => {
  kernel.answers = [[entries(INTERRUPTED, 4), done]];
  expect(await dump()).toEqual([4]);
  expect(kernel.asked).toBe(5);
  kernel.answers = [[entries(0, 9), done]];
  expect(await dump()).toEqual([9]);
});

test('answers of another request are not taken for ours; one without an end is an error', async () => {
  kernel.answers = [[(w, seq) => entries(0, 8)(w, seq + 1), entries(0, 1), done] satisfies Answer];
  expect(await dump()).toEqual([1]);
  kernel.answers = [[entries(0, 1)]];
  await expect(dump()).rejects.toMatchObject({ code: 'KERNEL' });
});
