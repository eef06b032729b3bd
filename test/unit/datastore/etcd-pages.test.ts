import { describe, expect, test } from 'vitest';
import { FakeClock } from '#core';
import { Pages } from '../../../datastore/etcd/pages.ts';
import { bytes, Fields, message, number } from '../../../datastore/etcd/protobuf.ts';

/** etcd's side of a Range, as far as pages need it: keys in order, a limit, whether there are more. */
class Keys {
  readonly limits: number[] = [];
  readonly revisions: bigint[] = [];
  readonly keys: readonly Buffer[];
  readonly size: number;
  readonly #onAsked: () => void;

  constructor(keys: readonly Buffer[], size: number, onAsked = () => {}) {
    this.keys = keys;
    this.size = size;
    this.#onAsked = onAsked;
  }

  readonly range = async (request: Buffer): Promise<Buffer> => {
    let from: Buffer = Buffer.alloc(0);
    let end: Buffer = Buffer.alloc(0);
    let limit = 0;
    let revision = 0n;
    for (const fields = new Fields(request); fields.next(); ) {
      if (fields.field === 1) from = fields.bytes;
      if (fields.field === 2) end = fields.bytes;
      if (fields.field === 3) limit = Number(fields.number);
      if (fields.field === 4) revision = fields.number;
    }
    this.limits.push(limit);
    this.revisions.push(revision);
    this.#onAsked();
    const left = this.keys.filter((key) => Buffer.compare(key, from) >= 0 && Buffer.compare(key, end) < 0);
    const header = bytes(1, message(number(1, 2n ** 64n - 1n), number(3, 2n ** 60n), number(4, 3)));
    const value = Buffer.alloc(this.size, 'v');
    const entries = left.slice(0, limit).map((key) => bytes(2, message(bytes(1, key), number(3, 7), bytes(5, value))));
    return message(header, ...entries, number(3, left.length > limit ? 1 : 0));
  };
}

const numbered = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, i) => Buffer.from(`/k/${String(i).padStart(6, '0')}`));

async function readAll(keys: Keys, clock = new FakeClock()) {
  const pages = new Pages(keys.range, clock, '/k/');
  const found: string[] = [];
  for await (const page of pages.read()) {
    expect(page.every(({ value, modRevision }) => value === 'v'.repeat(keys.size) && modRevision === 7n)).toBe(true);
    found.push(...page.map(({ key }) => key));
  }
  return { found, first: await pages.first };
}

describe('a list in pages', () => {
  test('has every key once, all pages at the revision of the first', async () => {
    const keys = new Keys(numbered(30_000), 10);
    const { found, first } = await readAll(keys);
    expect(found).toEqual(keys.keys.map(String));
    expect(first).toMatchObject({ clusterId: '18446744073709551615', revision: 2n ** 60n, term: 3n });
    expect(keys.revisions).toEqual([0n, ...keys.revisions.slice(1).map(() => 2n ** 60n)]);
  });

  test('has larger pages of small values, step by step, and smaller ones of large values', async () => {
    const small = new Keys(numbered(30_000), 10);
    await readAll(small);
    expect(small.limits).toEqual([5000, 20_000, 50_000]);
    const large = new Keys(numbered(7000), 10_000);
    await readAll(large);
    expect(large.limits[1]).toBeLessThan(2000);
  });

  test('does not ask for many keys of another folder: what these weigh is not known', async () => {
    const folder = (name: string) =>
      numbered(12_000).map((key) => Buffer.from(String(key).replace('/k/', `/k/${name}/`)));
    const keys = new Keys([...folder('a'), ...folder('b'), Buffer.from('/k/c'), Buffer.from('/k/d/')], 10);
    const { found } = await readAll(keys);
    expect(found).toEqual(keys.keys.map(String));
    expect(keys.limits).toEqual([5000, 20_000, 5000, 20_000, 5000]);
  });

  test('has smaller pages where they take long to come', async () => {
    const clock = new FakeClock();
    const slow = new Keys(numbered(12_000), 10, () => clock.advance(4000));
    await readAll(slow, clock);
    expect(slow.limits[1]).toBeLessThan(1300);
    expect(Math.min(...slow.limits)).toBe(500);
  });

  test('goes on after a key that is no text', async () => {
    const keys = new Keys([...numbered(4999), Buffer.from('/k/1\xff', 'latin1'), Buffer.from('/k/2')], 1);
    expect((await readAll(keys)).found).toHaveLength(5001);
  });

  test.each([[[0x0a]], [[0x0a, 0x05, 0x01]], [[0x0f]], [[0x08, ...Array(11).fill(0xff)]], [[0x12, 0xff, 0xff]]])(
    'bytes that are no message are refused: %j',
    async (answer) => {
      const pages = new Pages(async () => Buffer.from(answer), new FakeClock(), '/k/');
      await expect(pages.first).rejects.toMatchObject({ code: 'PROTOCOL' });
    },
  );
});
