import { describe, expect, test } from 'vitest';
import { addr, FakeClock } from '#core';
import {
  createResources,
  decodeAffinity,
  decodeBlock,
  decodeHandle,
  decodeIpamConfig,
  encodeAffinity,
  encodeBlock,
  encodeHandle,
  Ipam,
  MemoryStore,
} from '#datastore';
import { EXAMPLE, makeExample } from './example.ts';

const PREFIX = '/calico/ipam/v2/';

describe('what other clients of these keys read', () => {
  test('blocks, affinities and handles are written as Calico writes them, byte by byte', async () => {
    const store = new MemoryStore(new FakeClock());
    await makeExample(store);
    const found: Record<string, string> = {};
    for await (const page of store.list(PREFIX))
      for (const { key, value } of page) found[key.slice(PREFIX.length)] = value;
    expect(found).toEqual(EXAMPLE);
  });
  test('what was read and written again is the same text', () => {
    for (const [key, text] of Object.entries(EXAMPLE)) {
      const owner = { type: 'host' as const, name: 'node-1' };
      const again = key.startsWith('assignment')
        ? through(decodeBlock(text), encodeBlock)
        : key.startsWith('handle')
          ? through(decodeHandle(text), encodeHandle)
          : through(decodeAffinity(text, owner, '10.65.3.64/30'), encodeAffinity);
      expect(again, key).toBe(text);
    }
  });
  test('forms of older writers: no claim time, null attributes, an empty affinity', () => {
    const old =
      '{"cidr":"10.65.3.64/30","affinity":null,"hostAffinity":"node-1","allocations":[0,null,null,null],"unallocated":[1,2,3],' +
      '"attributes":[{"handle_id":null,"secondary":null}],"sequenceNumber":18446744073709551615,"sequenceNumberForAllocation":null,"deleted":false}';
    const block = decodeBlock(old);
    expect(block).toMatchObject({ ok: true, value: { affinity: null, sequenceNumber: 18446744073709551615n } });
    expect(block.ok && encodeBlock(block.value)).toContain('"sequenceNumber":18446744073709551615');
    expect(block.ok && encodeBlock(block.value)).toContain('"attributes":[{"handle_id":null,"secondary":null}]');
    expect(decodeAffinity('', { type: 'host', name: 'n' }, '10.65.3.64/30')).toMatchObject({ value: { state: '' } });
  });
  test('the configuration: an absent key and an empty object differ; auto_allocate_blocks is always written', async () => {
    expect(decodeIpamConfig(null)).toMatchObject({ value: { autoAllocateBlocks: true } });
    expect(decodeIpamConfig('{}')).toMatchObject({ value: { autoAllocateBlocks: false } });
    const store = new MemoryStore(new FakeClock());
    const ipam = new Ipam({ store, resources: createResources(store, new FakeClock()), clock: new FakeClock() });
    await ipam.configure({ strictAffinity: true, maxBlocksPerHost: 4 });
    expect((await store.get(`${PREFIX}config`))?.value).toBe(
      '{"strict_affinity":true,"auto_allocate_blocks":true,"maxBlocksPerHost":4}',
    );
  });
  test('a cooling address points to an attribute that holds only the time of its release', async () => {
    const store = new MemoryStore(new FakeClock());
    await makeExample(store);
    const clock = new FakeClock(Date.UTC(2026, 2, 1, 10, 0, 0));
    const ipam = new Ipam({ store, resources: createResources(store, clock), clock });
    await ipam.configure({ cooldownSeconds: 60 });
    await ipam.release([{ address: addr('10.65.3.66') }]);
    const value = (await store.get(`${PREFIX}assignment/ipv4/block/10.65.3.64-30`))?.value ?? '';
    expect(value).toContain('"allocations":[0,null,1,null],"unallocated":[3,1]');
    expect(value).toContain(',{"releasedAt":"2026-03-01T10:00:00Z"}]');
    expect(await store.get(`${PREFIX}handle/net1.9f8e7d6c5b4a`)).toBeNull();
  });
});

function through<T>(decoded: { ok: true; value: T } | { ok: false; error: string }, encode: (value: T) => string) {
  return decoded.ok ? encode(decoded.value) : decoded.error;
}
