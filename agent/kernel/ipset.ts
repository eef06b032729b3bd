import { createHash } from 'node:crypto';
import { type Family, type Milliseconds, OperationalError } from '#core';
import type { SetType } from '#policy';
import type { Command, Runner } from './runner.ts';
import type { SetBackend, SetState, SetWrite } from './types.ts';

const TIMEOUT = 60_000;
/** So many sets are asked for one by one, in one process; what more there are comes with all that the kernel has. */
const ASKED_BY_NAME = 256;
/** Sets, and members, that one command is given; and commands that run at the same time. */
const COMMAND_SETS = 500;
const COMMAND_MEMBERS = 25_000;
const AT_ONCE = 2;
const PROMPT = 'ipset> ';
const NAME = /^cali[46][0t][A-Za-z0-9._:-]{1,25}$/;
const MEMBER = /^[0-9a-fA-F.:]{2,45}(\/[0-9]{1,3})?(,(tcp|udp|sctp|udplite|[0-9]{1,3}):[0-9]{1,5})?$/;

/** ipset behind plain values. Names and members are checked here, because a line of `ipset restore` is a command. */
export function createIpset(options: {
  readonly runner: Runner;
  /** Words before each command, such as `ip netns exec NAME`. */
  readonly prefix?: readonly string[];
  /** Time after which a command is killed. */
  readonly timeout?: Milliseconds;
}): SetBackend {
  const { runner, prefix = [], timeout = TIMEOUT } = options;

  async function ipset(args: readonly string[], stdin?: string): Promise<string> {
    const argv = [...prefix, 'ipset', ...args] as unknown as Command['argv'];
    const result = await runner.run({ argv, timeout, ...(stdin !== undefined && { stdin }) });
    if (result.ended === 'timeout') throw new OperationalError('TIMEOUT', `ipset ${args[0]} did not end in time`);
    if (result.code === 0) return result.stdout;
    throw new OperationalError('EXEC', `ipset ${args[0]} failed: ${result.stderr.trim().slice(0, 300)}`);
  }
  const restore = (lines: readonly string[]) => ipset(['restore', '-exist'], `${lines.join('\n')}\n`);

  return {
    async list() {
      return parseTerse(await ipset(['list', '-t']));
    },
    async members(names) {
      for (const name of names) checked(NAME, name);
      // One command for many: a process for each would take longer than all the rest.
      if (names.length === 0) return new Map();
      const found = parseSave(
        names.length > ASKED_BY_NAME
          ? await ipset(['save'])
          : await ipset(['-'], `${names.map((n) => `save ${n}`).join('\n')}\nquit\n`),
      );
      return new Map(names.flatMap((name) => (found.has(name) ? [[name, found.get(name)!]] : [])));
    },
    async write(writes) {
      const commands = commandsOf(writes);
      const work = async () => {
        for (const part of commands) await restore(part.flatMap(linesOf));
      };
      // All have to end before anybody writes again, whatever one of them says.
      const done = await Promise.allSettled(Array.from({ length: AT_ONCE }, work));
      for (const { reason } of done.filter((d) => d.status === 'rejected')) throw reason;
    },
    async destroy(name) {
      await ipset(['destroy', checked(NAME, name)]);
    },
  };
}

/**
 * The writes in parts, one for each command, the largest first within each. The program keeps the sets that it was told of in a list and walks it for
 * every member; ten thousand sets with a million members take it 39 s at once, 5 s in parts, 3 s two at a time (docs/BENCH.md).
 */
function* commandsOf(writes: readonly SetWrite[]): Iterable<SetWrite[]> {
  const bySize = (part: SetWrite[]) => part.sort((a, b) => sizeOf(b) - sizeOf(a));
  let part: SetWrite[] = [];
  let size = 0;
  for (const write of writes) {
    if (part.length === COMMAND_SETS || (part.length > 0 && size + sizeOf(write) > COMMAND_MEMBERS)) {
      yield bySize(part);
      [part, size] = [[], 0];
    }
    part.push(write);
    size += sizeOf(write);
  }
  if (part.length > 0) yield bySize(part);
}
const sizeOf = (write: SetWrite): number =>
  write.op === 'create' ? write.members.size : write.added.size + write.removed.size;

function linesOf(write: SetWrite): string[] {
  const name = checked(NAME, write.name);
  const add = (to: string, members: ReadonlySet<string>) => [...members].map((m) => `add ${to} ${checked(MEMBER, m)}`);
  if (write.op === 'change')
    return [...[...write.removed].map((m) => `del ${name} ${checked(MEMBER, m)}`), ...add(name, write.added)];
  const { type, family, members, maxElements, current } = write;
  const create = (as: string) => createLine(as, type, family, maxElements);
  // The kernel swaps only sets of one type. One of another type that no rule uses can go; else the kernel says that it is in use.
  if (current?.type !== type) return [...(current ? [`destroy ${name}`] : []), create(name), ...add(name, members)];
  // Made beside and swapped in: whoever uses the set sees the old members or the new ones, never half of them.
  const temporary = temporaryName(family, name);
  // It may be there from an attempt that ended in the middle, with members of that time.
  const fresh = [create(temporary), `flush ${temporary}`];
  return [...fresh, ...add(temporary, members), `swap ${temporary} ${name}`, `destroy ${temporary}`];
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

/** Members by set, of a million lines maybe: none is taken apart further than it must. Where commands are read from standard input, each is asked for by a prompt. */
function parseSave(text: string): Map<string, Set<string>> {
  const sets = new Map<string, Set<string>>();
  let name = '';
  let members: Set<string> | undefined;
  for (let at = 0, end = 0; at < text.length; at = end + 1) {
    end = text.indexOf('\n', at);
    if (end < 0) end = text.length;
    while (text.startsWith(PROMPT, at)) at += PROMPT.length;
    const isAdd = text.startsWith('add ', at);
    if (!isAdd && !text.startsWith('create ', at)) continue;
    const start = at + (isAdd ? 4 : 7);
    // Lines of one set follow each other.
    if (!isAdd || !text.startsWith(`${name} `, start)) {
      name = text.slice(start, text.indexOf(' ', start));
      if (!isAdd) sets.set(name, new Set());
      members = sets.get(name);
    }
    if (!isAdd) continue;
    const from = start + name.length + 1;
    const space = text.indexOf(' ', from);
    members?.add(text.slice(from, space < 0 || space > end ? end : space));
  }
  return sets;
}
