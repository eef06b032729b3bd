import { createHash } from 'node:crypto';
import { type Family, OperationalError } from '#core';
import type { SetType } from '#policy';
import type { Command, Runner } from './runner.ts';
import type { SetBackend, SetState } from './types.ts';

const TIMEOUT = 60_000;
const NAME = /^cali[46][0t][A-Za-z0-9._:-]{1,25}$/;
const MEMBER = /^[0-9a-fA-F.:]{2,45}(\/[0-9]{1,3})?(,(tcp|udp|sctp|udplite|[0-9]{1,3}):[0-9]{1,5})?$/;

/** ipset behind plain values. Names and members are checked here, because a line of `ipset restore` is a command. */
export function createIpset(options: {
  readonly runner: Runner;
  /** Words before each command, such as `ip netns exec NAME`. */
  readonly prefix?: readonly string[];
}): SetBackend {
  const { runner, prefix = [] } = options;

  async function ipset(args: readonly string[], stdin?: string): Promise<string> {
    const argv = [...prefix, 'ipset', ...args] as unknown as Command['argv'];
    const result = await runner.run({ argv, timeout: TIMEOUT, ...(stdin !== undefined && { stdin }) });
    if (result.ended === 'timeout') throw new OperationalError('TIMEOUT', `ipset ${args[0]} did not end in time`);
    if (result.code === 0) return result.stdout;
    throw new OperationalError('EXEC', `ipset ${args[0]} failed: ${result.stderr.trim().slice(0, 300)}`);
  }
  const restore = (lines: readonly string[]) => ipset(['restore', '-exist'], `${lines.join('\n')}\n`);

  return {
    async list() {
      return parseTerse(await ipset(['list', '-t']));
    },
    async members(name) {
      return parseSave(await ipset(['save', checked(NAME, name)]));
    },
    async create(name, type, family, members, maxElements) {
      const create = (as: string) => createLine(as, type, family, maxElements);
      const fill = (as: string) => [...members].map((m) => `add ${as} ${checked(MEMBER, m)}`);
      const current = (await this.list()).find((s) => s.name === name);
      // The kernel swaps only sets of one type. One of another type that no rule uses can go; else the kernel says that it is in use.
      if (current && current.type !== type) await ipset(['destroy', name]);
      if (!current || current.type !== type) return void (await restore([create(name), ...fill(name)]));
      // Made beside and swapped in: whoever uses the set sees the old members or the new ones, never half of them.
      const temporary = temporaryName(family, name);
      if ((await this.list()).some((s) => s.name === temporary)) await ipset(['destroy', temporary]);
      await restore([create(temporary), ...fill(temporary), `swap ${temporary} ${name}`]);
      await ipset(['destroy', temporary]);
    },
    async change(name, added, removed) {
      checked(NAME, name);
      await restore([
        ...[...removed].map((m) => `del ${name} ${checked(MEMBER, m)}`),
        ...[...added].map((m) => `add ${name} ${checked(MEMBER, m)}`),
      ]);
    },
    async destroy(name) {
      await ipset(['destroy', checked(NAME, name)]);
    },
  };
}

const temporaryName = (family: Family, name: string): string =>
  `cali${family}t${createHash('sha256').update(name).digest('hex').slice(0, 20)}`;

function checked(pattern: RegExp, value: string): string {
  if (pattern.test(value)) return value;
  throw new OperationalError('VALIDATION', `${JSON.stringify(value.slice(0, 60))} cannot stand in a set`);
}

function createLine(name: string, type: SetType, family: Family, maxElements: number): string {
  return `create ${checked(NAME, name)} ${type} family ${family === 4 ? 'inet' : 'inet6'} maxelem ${maxElements}`;
}

/** `ipset list -t`: blocks of `Name:`, `Type:`, `Header:`, `Number of entries:`. Only our own sets are named. */
function parseTerse(text: string): SetState[] {
  return text.split(/\n\n/).flatMap((block) => {
    const name = /^Name: (.+)$/m.exec(block)?.[1];
    const type = /^Type: (.+)$/m.exec(block)?.[1];
    if (!name || !type || !/^cali[46]/.test(name)) return [];
    return [
      {
        name,
        type: type as SetType,
        maxElements: Number(/maxelem (\d+)/.exec(block)?.[1] ?? 0),
        entries: Number(/^Number of entries: (\d+)$/m.exec(block)?.[1] ?? 0),
      },
    ];
  });
}

function parseSave(text: string): Set<string> {
  const members = new Set<string>();
  for (const line of text.split('\n')) if (line.startsWith('add ')) members.add(line.split(' ')[2]);
  return members;
}
