import { constants } from 'node:os';
import { beforeEach, expect, test, vi } from 'vitest';
import type { Received } from '../../../../agent/kernel/netlink/libc.ts';
import { Datagram, F, MessageWriter, NLMSG } from '../../../../agent/kernel/netlink/message.ts';
import { Requester, type Writes } from '../../../../agent/kernel/netlink/request.ts';

/** A kernel that is told when to take what it was sent: it then reads it, refuses some, and confirms what asks for it. */
const kernel = vi.hoisted(() => ({
  events: [] as string[],
  refused: new Set<number>(),
  waiting: [] as (() => void)[],
  answers: [] as { seq: number; errno: number }[],
  errno: 0,
}));

vi.mock('../../../../agent/kernel/netlink/libc.ts', async (original) => ({
  ...(await original<object>()),
  NetlinkSocket: class {
    option(): void {}
    close(): void {}
    sendAsync(bytes: Uint8Array, length: number): Promise<number> {
      kernel.events.push('sent');
      return new Promise((resolve) =>
        kernel.waiting.push(() => {
          const d = new Datagram(bytes, length);
          const values = [...d.messages()].map((m) => {
            const value = d.u32(m.start);
            if (kernel.refused.has(value)) kernel.answers.push({ seq: m.seq, errno: constants.errno.EBUSY });
            else if (m.flags & F.ACK) kernel.answers.push({ seq: m.seq, errno: 0 });
            return value;
          });
          kernel.events.push(`took ${values[0]} to ${values.at(-1)}`);
          resolve(kernel.errno);
        }),
      );
    }
    receive(into: Uint8Array): Received {
      const next = kernel.answers.shift();
      if (!next) return 'empty';
      const w = new MessageWriter(64);
      w.begin(NLMSG.ERROR, 0, next.seq).u32(-next.errno).zero(16).end();
      into.set(w.bytes.subarray(0, w.length));
      return w.length;
    }
  },
}));

let requests: Requester;
beforeEach(() => {
  Object.assign(kernel, { events: [], refused: new Set(), waiting: [], answers: [], errno: 0 });
  requests = new Requester(0);
});
/** Each of 60 kB, so that eight go in one send. */
const writes = (count: number, bad = -1): Writes => ({
  count,
  messageMost: 60_000,
  inWorker: true,
  fine: () => undefined,
  encode: (index, w, seq) => {
    if (index === bad) throw new Error('it is no member');
    kernel.events.push(`encoded ${index}`);
    w.begin(24, F.REQUEST, seq).u32(index).zero(59_000).end();
    return null;
  },
});
const takeNext = async () => {
  await expect.poll(() => kernel.waiting.length).toBe(1);
  kernel.waiting.shift()!();
};

test('while the kernel does a batch the next is encoded, and no more than that; refusals are told by number', async () => {
  kernel.refused = new Set([3, 9, 18]);
  const done = requests.writeColumns(writes(20));
  const encoded = () => kernel.events.filter((e) => e.startsWith('encoded')).length;
  await expect.poll(encoded).toBe(16);
  expect(kernel.events.filter((e) => e === 'sent')).toHaveLength(1);
  await takeNext();
  await expect.poll(encoded).toBe(20);
  await takeNext();
  await takeNext();
  expect((await done).map(({ index, error }) => [index, error])).toEqual([3, 9, 18].map((index) => [index, 'EBUSY']));
  expect(kernel.events.filter((e) => e.startsWith('took'))).toEqual(['took 0 to 7', 'took 8 to 15', 'took 16 to 19']);
});

test('a write that cannot be encoded ends it when what is on its way has come back, and harms no later one', async () => {
  const done = requests.writeColumns(writes(20, 12));
  const outcome = expect(done).rejects.toThrow('it is no member');
  const next = requests.writeColumns(writes(2));
  await takeNext();
  await outcome;
  await takeNext();
  expect(await next).toEqual([]);
  expect(kernel.events.filter((e) => e.startsWith('took'))).toEqual(['took 0 to 7', 'took 0 to 1']);
});

test('of a batch that the kernel does not take all are refused', async () => {
  kernel.errno = constants.errno.EIO;
  const done = requests.writeColumns(writes(9));
  await takeNext();
  kernel.errno = 0;
  await takeNext();
  expect((await done).map(({ index, detail }) => [index, detail])).toEqual(
    Array.from({ length: 8 }, (_, i) => [i, 'batch refused']),
  );
});
