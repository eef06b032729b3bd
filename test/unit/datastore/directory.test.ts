import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { realClock, silentLog } from '#core';
import {
  API_VERSION,
  createResources,
  type InvalidObject,
  initialiseCluster,
  openStore,
  type Store,
  startSyncer,
  type Update,
} from '#datastore';
import { nodeKey, opened, storeSuite } from './store-suite.ts';

const made: string[] = [];
const makeRoot = () => {
  const root = mkdtempSync(join(tmpdir(), 'tsn-dir-'));
  made.push(root);
  return root;
};
const open = (directory: string) => openStore({ type: 'directory', directory }, { clock: realClock, log: silentLog });

afterEach(() => {
  for (const root of made.splice(0)) rmSync(root, { recursive: true, force: true });
});

storeSuite('directory store', async () => {
  const root = makeRoot();
  return opened(() => open(root));
});

describe('a directory that people edit', () => {
  let root: string;
  let store: Store;
  let stop: () => Promise<void>;
  const state = new Map<string, Update>();
  const invalid = new Map<string, InvalidObject>();
  const statuses: string[] = [];

  const write = (file: string, text: string) => {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  };
  const node = (name: string, address: string) =>
    `apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: ${name}}\nspec: {bgp: {ipv4Address: ${address}}}\n`;
  const addressOf = (name: string) => {
    const value = state.get(`Node ${name}`)?.value as { spec?: { bgp?: { ipv4Address?: string } } } | undefined;
    return value?.spec?.bgp?.ipv4Address;
  };
  const names = () => [...state.keys()].sort();
  /** Far more than the second that is promised, so that a slow machine does not matter. */
  const eventually = (check: () => void) => vi.waitFor(check, { timeout: 5000, interval: 10 });

  beforeEach(async () => {
    root = makeRoot();
    state.clear();
    invalid.clear();
    statuses.length = 0;
  });
  afterEach(async () => {
    await stop();
    await store.close();
  });

  const start = async () => {
    store = await open(root);
    ({ stop } = startSyncer({
      store,
      clock: realClock,
      log: silentLog,
      sink: {
        onUpdates: (updates) => {
          for (const u of updates) u.value ? state.set(`${u.kind} ${u.id}`, u) : state.delete(`${u.kind} ${u.id}`);
        },
        onStatus: (status) => statuses.push(status),
        onInvalid: (where, fault) => (fault ? invalid.set(where, fault) : invalid.delete(where)),
      },
    }));
    await eventually(() => expect(statuses.at(-1)).toBe('in-sync'));
  };

  test('files of many documents, in folders, in YAML and JSON, are read; edits, renames and removals take effect', async () => {
    write('all.yaml', `${node('a', '10.0.0.1/24')}---\n# nothing\n---\n${node('b', '10.0.0.2/24')}`);
    write(
      'deep/er/c.json',
      JSON.stringify({ apiVersion: API_VERSION, kind: 'Node', metadata: { name: 'c' }, spec: {} }),
    );
    write('.hidden.yaml', node('hidden', '10.0.0.9/24'));
    write('notes.txt', 'not a resource');
    await start();
    expect(names()).toEqual(['Node a', 'Node b', 'Node c']);
    write('all.yaml', node('a', '10.0.0.7/24'));
    await eventually(() => expect(names()).toEqual(['Node a', 'Node c']));
    expect(addressOf('a')).toBe('10.0.0.7/24');
    // As editors do that write a copy and rename it.
    write('.all.yaml.swp', node('a', '10.0.0.8/24'));
    renameSync(join(root, '.all.yaml.swp'), join(root, 'all.yaml'));
    await eventually(() => expect(addressOf('a')).toBe('10.0.0.8/24'));
    write('new/folder/d.yaml', node('d', '10.0.0.4/24'));
    await eventually(() => expect(names()).toContain('Node d'));
    unlinkSync(join(root, 'all.yaml'));
    rmSync(join(root, 'new'), { recursive: true });
    await eventually(() => expect(names()).toEqual(['Node c']));
  });

  test('a program that empties a file before it writes it takes nothing away in between', async () => {
    write('nodes.yaml', node('a', '10.0.0.1/24'));
    await start();
    const seen = new Set<number>();
    const watching = setInterval(() => seen.add(state.size), 1);
    for (const text of [node('a', '10.0.0.2/24'), 'kind: [broken\n']) {
      write('nodes.yaml', '');
      await new Promise((resolve) => setTimeout(resolve, 60));
      write('nodes.yaml', text);
      await eventually(() =>
        text.includes('broken') ? expect(invalid.size).toBe(1) : expect(addressOf('a')).toBe('10.0.0.2/24'),
      );
    }
    clearInterval(watching);
    expect([...seen]).toEqual([1]);
    expect(addressOf('a')).toBe('10.0.0.2/24');
    write('nodes.yaml', '');
    await eventually(() => expect(names()).toEqual([]));
  });

  test('a broken file is reported with line and field, its last good content stays, also over a restart', async () => {
    write('nodes.yaml', `${node('a', '10.0.0.1/24')}---\n${node('b', '10.0.0.2/24')}`);
    await start();
    write('nodes.yaml', `${node('a', '10.0.0.5/24')}---\n${node('b', '10.0.0.999/24')}`);
    await eventually(() => expect(invalid.size).toBe(1));
    const [[where, fault]] = [...invalid];
    expect(where).toMatch(/^nodes\.yaml:9:/);
    expect(fault).toMatchObject({ kind: 'Node', id: 'b', message: expect.stringContaining('spec.bgp.ipv4Address') });
    await eventually(() => expect(addressOf('a')).toBe('10.0.0.5/24'));
    expect(addressOf('b')).toBe('10.0.0.2/24');
    write('nodes.yaml', 'kind: [unclosed\n  x');
    await eventually(() => expect([...invalid.keys()].some((w) => /^nodes\.yaml:[12]:/.test(w))).toBe(true));
    expect(names()).toEqual(['Node a', 'Node b']);
    await stop();
    await store.close();
    state.clear();
    invalid.clear();
    statuses.length = 0;
    await start();
    expect(names()).toEqual(['Node a', 'Node b']);
    expect(invalid.size).toBe(1);
    write('nodes.yaml', node('b', '10.0.0.3/24'));
    await eventually(() => expect(names()).toEqual(['Node b']));
    await eventually(() => expect(invalid.size).toBe(0));
  });

  test('a misspelt field, an unknown kind and a wrong apiVersion are named; the rest of the file counts', async () => {
    const typo =
      'apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: p}\nspec:\n  selectro: all()\n';
    write(
      'x.yaml',
      `${typo}---\nkind: Gadget\nmetadata: {name: g}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: n}\n---\n${node('ok', '10.0.0.1/24')}`,
    );
    await start();
    expect(names()).toEqual(['Node ok']);
    const messages = [...invalid].map(([where, { message }]) => `${where} ${message}`);
    expect(messages).toEqual([
      expect.stringMatching(/^x\.yaml:5:3 spec\.selectro is not a field; is 'selector' meant\?$/),
      expect.stringMatching(/^x\.yaml:7:1 kind must be a kind/),
      expect.stringMatching(/^x\.yaml:10:1 apiVersion must be/),
    ]);
  });

  test('an object in two files counts once, and the second is reported', async () => {
    write('1.yaml', node('a', '10.0.0.1/24'));
    await start();
    write('2.yaml', node('a', '10.0.0.2/24'));
    await eventually(() => expect([...invalid.keys()]).toEqual(['2.yaml:1:1']));
    expect(addressOf('a')).toBe('10.0.0.1/24');
    unlinkSync(join(root, '1.yaml'));
    await eventually(() => expect(addressOf('a')).toBe('10.0.0.2/24'));
    await eventually(() => expect(invalid.size).toBe(0));
  });

  test('programs write into files: a new one, or its document of an old one, comments and neighbours untouched', async () => {
    write('mine.yaml', `# my nodes\n${node('a', '10.0.0.1/24')}---\n# the second\n${node('b', '10.0.0.2/24')}`);
    await start();
    const resources = createResources(store, realClock);
    await initialiseCluster(store, realClock, {});
    const a = await resources.get('Node', 'a');
    await resources.update({ ...a, spec: { bgp: { ipv4Address: '10.0.0.50/24' } } });
    const text = readFileSync(join(root, 'mine.yaml'), 'utf8');
    expect(text).toContain('# the second');
    expect(text).toContain(node('b', '10.0.0.2/24'));
    expect(text).toContain('10.0.0.50/24');
    await resources.create({
      apiVersion: API_VERSION,
      kind: 'GlobalNetworkPolicy',
      metadata: { name: 'p' },
      spec: { selector: 'all()' },
    });
    expect(readdirSync(join(root, 'globalnetworkpolicies'))).toEqual(['p.yaml']);
    await resources.delete('Node', 'a');
    await eventually(() => expect(names()).not.toContain('Node a'));
    expect(readFileSync(join(root, 'mine.yaml'), 'utf8')).toContain('10.0.0.2/24');
    await resources.delete('Node', 'b');
    expect(readdirSync(root)).not.toContain('mine.yaml');
    await eventually(() => expect(names()).toContain('GlobalNetworkPolicy p'));
    // What a program wrote a person may edit.
    const path = join(root, 'globalnetworkpolicies/p.yaml');
    writeFileSync(path, readFileSync(path, 'utf8').replace('all()', 'has(x)'));
    await eventually(() =>
      expect(state.get('GlobalNetworkPolicy p')?.value).toMatchObject({ spec: { selector: 'has(x)' } }),
    );
    expect(invalid.size).toBe(0);
  });

  test('a file with errors is not written over by programs', async () => {
    write('n.yaml', node('a', '10.0.0.1/24'));
    await start();
    write('n.yaml', 'kind: [');
    await eventually(() => expect(invalid.size).toBe(1));
    const resources = createResources(store, realClock);
    await expect(resources.delete('Node', 'a')).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(readFileSync(join(root, 'n.yaml'), 'utf8')).toBe('kind: [');
  });

  test('writes that a crash interrupted are finished by the next who comes', async () => {
    write('n.yaml', node('a', '10.0.0.1/24'));
    await start();
    const file = join(root, '.tsnet/state.json');
    const stored = JSON.parse(readFileSync(file, 'utf8'));
    stored.pending = [{ op: 'delete', key: nodeKey('a') }];
    writeFileSync(file, JSON.stringify(stored));
    await eventually(() => expect(names()).toEqual([]));
    expect(readdirSync(root)).not.toContain('n.yaml');
  });
});

test('a directory that cannot be made is a configuration error', async () => {
  const file = join(makeRoot(), 'file');
  writeFileSync(file, '');
  await expect(open(join(file, 'below'))).rejects.toMatchObject({ code: 'CONFIG' });
});
