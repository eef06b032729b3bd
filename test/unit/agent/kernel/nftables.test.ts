import { describe, expect, test } from 'vitest';
import { createNftSets, parseSets } from '../../../../agent/kernel/nft-sets.ts';
import { createNftables, parseTable } from '../../../../agent/kernel/nftables.ts';
import type { Command, Runner } from '../../../../agent/kernel/runner.ts';
import type { TableState } from '../../../../agent/kernel/types.ts';

/** A runner that notes what nft is given, and answers lists with `output`. */
function recorder(output: (args: readonly string[]) => string | null = () => null) {
  const written: string[] = [];
  const runner: Runner = {
    run: async ({ argv, stdin }: Command) => {
      if (stdin !== undefined) written.push(stdin);
      const text = stdin === undefined ? output(argv.slice(1)) : '';
      const missing = { code: 1, stdout: '', stderr: 'Error: No such file or directory', pid: 1 };
      return text === null ? missing : { code: 0, stdout: text, stderr: '', pid: 1 };
    },
    isOurs: () => true,
    close: () => {},
  };
  return { runner, written };
}
const EMPTY: TableState = { chains: new Map(), hooks: new Map(), lengths: new Map() };
const drop = { match: [], action: { do: 'drop' } } as const;
const accept = { match: [], action: { do: 'accept' } } as const;

describe('rules', () => {
  test('a changed rule takes the place of its handle, its neighbours are not mentioned', async () => {
    let listed = '';
    const { runner, written } = recorder(() => listed);
    const nft = createNftables({ runner });
    const first = { name: 'cali-x', rules: [accept, drop] };
    const { after } = await nft.write(4, 'filter', { update: [first], remove: [], base: EMPTY });
    const [one, two] = after.chains.get('cali-x')!;
    listed = `table ip tsnet {\n\tchain filter-cali-x { # handle 1\n\t\tcounter packets 0 bytes 0 accept comment "cali:${one}" # handle 7\n\t\tcounter packets 0 bytes 0 drop comment "cali:${two} why" # handle 8\n\t}\n}\n`;
    expect((await nft.read(4)).filter.chains.get('cali-x')).toEqual([one, two]);
    const changed = { name: 'cali-x', rules: [accept, { match: [], action: { do: 'return' } } as const] };
    await nft.write(4, 'filter', { update: [changed], remove: [], base: after });
    expect(written[1]).toMatch(
      /^add table ip tsnet\ninsert rule ip tsnet filter-cali-x handle 8 counter return comment "cali:.{16}"\ndelete rule ip tsnet filter-cali-x handle 8\n$/,
    );
  });

  test('a chain that a stranger changed meanwhile is not written by handles that may be another rule by now', async () => {
    const { runner, written } = recorder(() => 'table ip tsnet {\n\tchain filter-cali-x {\n\t}\n}\n');
    const nft = createNftables({ runner });
    const base = { ...EMPTY, chains: new Map([['cali-x', ['aaaaaaaaaaaaaaaa']]]) };
    const write = nft.write(4, 'filter', { update: [{ name: 'cali-x', rules: [drop] }], remove: [], base });
    await expect(write).rejects.toThrow('changed by somebody else');
    expect(written).toEqual([]);
  });

  test('values that could end a line or a string never become text', async () => {
    const { runner, written } = recorder();
    const nft = createNftables({ runner });
    const hostile = ['a"; flush ruleset #', 'a\nflush ruleset', '{ 1 }', 'x y', '@x', '$x'];
    for (const value of hostile)
      for (const rule of [
        { match: [{ m: 'in', iface: value }], action: { do: 'drop' } },
        { match: [{ m: 'src', net: value }], action: { do: 'drop' } },
        { match: [], action: { do: 'jump', chain: value } },
        { match: [], action: { do: 'dnat', to: value } },
        { match: [], action: { do: 'map', side: 'in', targets: new Map([[value, 'cali-y']]) } },
      ] as const)
        await expect(
          nft.write(4, 'filter', { update: [{ name: 'cali-x', rules: [rule] }], remove: [], base: EMPTY }),
        ).rejects.toMatchObject({ code: 'VALIDATION' });
    expect(written).toEqual([]);
    const comment = { ...drop, comments: ['a" flush \n ruleset'] };
    await nft.write(4, 'filter', { update: [{ name: 'cali-x', rules: [comment] }], remove: [], base: EMPTY });
    expect(written[0].split('\n')).toHaveLength(4);
    expect(written[0].match(/"/g)).toHaveLength(2);
  });

  test('anonymous sets, wrapped lines and rules of strangers are read', () => {
    const rows = parseTable(
      'table ip tsnet {\n\tchain filter-FORWARD {\n\t\ttype filter hook forward priority filter; policy accept;\n\t\taccept\n\t\tiifname vmap { "a" : goto b,\n\t\t\t     "c" : goto d } comment "cali:0123456789abcdef"\n\t}\n}\n',
    );
    expect(rows.get('filter-FORWARD')?.rules[0]).toBeNull();
  });
});

describe('sets', () => {
  test('a network inside another is held back, and comes forth when the outer one goes', async () => {
    const { runner, written } = recorder();
    const sets = createNftSets({ runner });
    await sets.create('cali40s:x', 'hash:net', 4, new Set(['10.0.0.0/8', '10.0.0.1', '192.0.2.1']), 100);
    expect(written[0]).toContain('add element ip tsnet cali40s/x { 10.0.0.0/8, 192.0.2.1 }');
    await sets.change('cali40s:x', new Set(), new Set(['10.0.0.0/8']));
    expect(written[1]).toBe(
      'delete element ip tsnet cali40s/x { 10.0.0.0/8 }\nadd element ip tsnet cali40s/x { 10.0.0.1 }\n',
    );
    await sets.change('cali40s:x', new Set(['10.0.0.0/24']), new Set());
    expect(written[2]).toBe(
      'delete element ip tsnet cali40s/x { 10.0.0.1 }\nadd element ip tsnet cali40s/x { 10.0.0.0/24 }\n',
    );
  });

  test('what nft prints is read back as members', () => {
    const text =
      'table ip tsnet {\n\tset cali40s/x {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\telements = { 10.0.0.0/8, 11.0.0.1,\n\t\t\t     128.0.0.0/1 }\n\t}\n\tset cali40n/y {\n\t\ttype ipv4_addr . inet_proto . inet_service\n\t\telements = { 10.0.0.1 . tcp . 80 }\n\t}\n}\n';
    expect([...parseSets(text)]).toEqual([
      ['cali40s:x', { type: 'hash:net', elements: new Set(['10.0.0.0/8', '11.0.0.1', '128.0.0.0/1']) }],
      ['cali40n:y', { type: 'hash:ip,port', elements: new Set(['10.0.0.1,tcp:80']) }],
    ]);
  });

  test('members and names that are none are refused', async () => {
    const { runner, written } = recorder();
    const sets = createNftSets({ runner });
    for (const member of ['10.0.0.1 }', 'x\ny', '10.0.0.1,tcp:80 }', ''])
      await expect(sets.create('cali40s:x', 'hash:net', 4, new Set([member]), 9)).rejects.toMatchObject({
        code: 'VALIDATION',
      });
    await expect(sets.destroy('other')).rejects.toMatchObject({ code: 'VALIDATION' });
    expect(written).toEqual([]);
  });
});
