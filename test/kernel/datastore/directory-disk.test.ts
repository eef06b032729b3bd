import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { realClock, silentLog } from '#core';
import { openStore, resourceKey } from '#datastore';

/** The directory store on a disk of its own, which fills up or is taken for reading only, as file systems do after an error. */

let disk: string;
beforeEach(() => {
  disk = mkdtempSync(join(tmpdir(), 'tsn-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'none', disk]);
  writeNode('n1');
});
afterEach(() => {
  execFileSync('umount', [disk]);
  rmSync(disk, { recursive: true });
});

const writeNode = (name: string) =>
  writeFileSync(
    join(disk, 'nodes.yaml'),
    `apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: ${name}}\nspec: {}\n`,
  );
const open = () => openStore({ type: 'directory', directory: disk }, { clock: realClock, log: silentLog });
const put = { op: 'put', key: '/calico/ipam/v2/config', value: '{}' } as const;

const DISKS = [
  [
    'full',
    () => expect(() => writeFileSync(join(disk, 'fill'), Buffer.alloc(1 << 20))).toThrow('ENOSPC'),
    () => rmSync(join(disk, 'fill')),
  ],
  [
    'read-only',
    () => execFileSync('mount', ['-o', 'remount,ro', disk]),
    () => execFileSync('mount', ['-o', 'remount,rw', disk]),
  ],
] as const;

test.each(DISKS)(
  'a %s disk is read, also by who starts then; a write is refused with the reason, and goes once it can',
  async (_, spoil, mend) => {
    const before = await open();
    writeNode('n2');
    spoil();
    const after = await open();
    expect(await before.get(resourceKey('Node', 'n1'))).not.toBeNull();
    expect(await after.get(resourceKey('Node', 'n2'))).not.toBeNull();
    for (const store of [before, after])
      await expect(store.txn([], [put])).rejects.toThrow(/no space left|read-only file system/);
    mend();
    for (const store of [before, after]) expect(await store.txn([], [put])).toMatchObject({ ok: true });
    await before.close();
    await after.close();
  },
);
