import { type Family, hostPrefix, OperationalError, type Prefix, PrefixTrie, parseAddr, parsePrefix } from '#core';
import type { SetType } from '#policy';
import { type NftOptions, nftCommand, nftTable } from './nftables.ts';
import type { SetBackend, SetState } from './types.ts';

const NAME = /^cali[46]0[A-Za-z0-9._:-]{1,25}$/;
const ADDRESS = /^[0-9a-fA-F.:]{2,45}(\/[0-9]{1,3}|-[0-9a-fA-F.:]{2,45})?$/;
const PORT = /^([0-9a-fA-F.:]{2,45}),(tcp|udp|sctp|udplite|[0-9]{1,3}):([0-9]{1,5})$/;
/** Elements in one line; nft reads a line whole. */
const LINE = 5000;

/**
 * Members as they were asked for, and what of them the kernel holds. An interval set takes no network inside another, so only those that no
 * other member covers are written; when such a one goes, what it covered comes forth.
 */
class Members {
  readonly type: SetType;
  readonly all = new Set<string>();
  readonly written = new Set<string>();
  readonly #nets = new PrefixTrie<string>();

  constructor(type: SetType) {
    this.type = type;
  }

  /** What has to be written for a change. */
  change(added: ReadonlySet<string>, removed: ReadonlySet<string>): { add: string[]; remove: string[] } {
    for (const member of removed) this.#put(member, false);
    for (const member of added) this.#put(member, true);
    const add = new Set<string>();
    const remove = new Set<string>();
    for (const changed of [...removed, ...added])
      for (const member of this.#concerned(changed)) {
        const effective = this.all.has(member) && !this.isCovered(member);
        if (effective && !this.written.has(member)) add.add(member);
        if (!effective && this.written.has(member)) remove.add(member);
      }
    return { add: [...add], remove: [...remove] };
  }
  confirm({ add, remove }: { add: readonly string[]; remove: readonly string[] }): void {
    for (const member of remove) this.written.delete(member);
    for (const member of add) this.written.add(member);
  }

  #put(member: string, present: boolean): void {
    if (present) this.all.add(member);
    else this.all.delete(member);
    const net = this.#net(member);
    if (net && present) this.#nets.set(net, member);
    else if (net) this.#nets.delete(net);
  }
  #net(member: string): Prefix | undefined {
    if (this.type === 'hash:ip,port') return undefined;
    const prefix = parsePrefix(member);
    if (prefix.ok) return prefix.value;
    const address = parseAddr(member);
    return address.ok ? hostPrefix(address.value) : undefined;
  }
  #concerned(member: string): string[] {
    const net = this.#net(member);
    return net ? [member, ...[...this.#nets.within(net)].map((e) => e.value)] : [member];
  }
  /** Whether another member covers it. */
  isCovered(member: string): boolean {
    const net = this.#net(member);
    const widest = net && this.#nets.covering(net).next().value;
    return widest !== undefined && widest.value !== member;
  }
}

/** Sets of our own nftables table, behind the names that ipset has. */
export function createNftSets(options: NftOptions): SetBackend {
  const nft = nftCommand(options);
  const known = new Map<string, Members>();

  async function read(name: string): Promise<{ type: SetType; elements: Set<string> } | undefined> {
    const text = await nft(['list', 'set', ...nftTable(familyOf(name)).split(' '), inKernel(name)]);
    return text === null ? undefined : parseSets(text).get(name);
  }
  async function model(name: string): Promise<Members> {
    const found = known.get(name) ?? (await load(name));
    if (!found) throw new OperationalError('EXEC', `there is no set ${name}`);
    return found;
  }
  async function load(name: string): Promise<Members | undefined> {
    const state = await read(name);
    if (!state) return void known.delete(name);
    const members = new Members(state.type);
    members.confirm(members.change(state.elements, new Set()));
    known.set(name, members);
    return members;
  }

  return {
    async list() {
      const states: SetState[] = [];
      for (const family of [4, 6] as const) {
        const text = await nft(['list', 'sets', 'table', ...nftTable(family).split(' ')]);
        for (const [name, { type, elements }] of parseSets(text ?? '')) {
          const members = known.get(name);
          // What is covered by others is a member too, although the kernel does not hold it.
          const isOurs = members?.type === type && members.written.size === elements.size;
          states.push({ name, type, maxElements: undefined, entries: isOurs ? members.all.size : elements.size });
        }
      }
      return states;
    },
    async members(name) {
      const before = known.get(name);
      const now = await load(name);
      if (!now) return new Set();
      // The kernel does not hold what others cover; it is a member as long as they are.
      const hidden = [...(before?.all ?? [])].filter((m) => !now.all.has(m) && now.isCovered(m));
      now.confirm(now.change(new Set(hidden), new Set()));
      return new Set(now.all);
    },
    async create(name, type, family, members) {
      const set = `${nftTable(family)} ${inKernel(name)}`;
      const current = await read(name);
      const fresh = new Members(type);
      const change = fresh.change(members, new Set());
      const lines = [
        `add table ${nftTable(family)}`,
        ...(current && current.type !== type ? [`delete set ${set}`] : []),
        `add set ${set} { ${definition(type, family)} }`,
        `flush set ${set}`,
        ...elements('add', set, change.add),
      ];
      await nft(['-f', '-'], `${lines.join('\n')}\n`);
      fresh.confirm(change);
      known.set(name, fresh);
    },
    async change(name, added, removed) {
      const members = await model(name);
      const change = members.change(added, removed);
      const set = `${nftTable(familyOf(name))} ${inKernel(name)}`;
      const lines = [...elements('delete', set, change.remove), ...elements('add', set, change.add)];
      try {
        if (lines.length > 0) await nft(['-f', '-'], `${lines.join('\n')}\n`);
      } catch (error) {
        // What the kernel holds now is not what was thought.
        known.delete(name);
        throw error;
      }
      members.confirm(change);
    },
    async destroy(name) {
      await nft(['-f', '-'], `delete set ${nftTable(familyOf(name))} ${inKernel(name)}\n`);
      known.delete(name);
    },
  };
}

const familyOf = (name: string): Family => (name.startsWith('cali6') ? 6 : 4);

/** nft takes no colon in a name, and no name of ours has a slash of its own. */
function inKernel(name: string): string {
  if (NAME.test(name)) return name.replaceAll(':', '/');
  throw new OperationalError('VALIDATION', `${JSON.stringify(name.slice(0, 60))} cannot be the name of a set`);
}

function definition(type: SetType, family: Family): string {
  const address = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  if (type === 'hash:ip,port') return `type ${address} . inet_proto . inet_service;`;
  return type === 'hash:net' ? `type ${address}; flags interval;` : `type ${address};`;
}

function elements(verb: 'add' | 'delete', set: string, members: readonly string[]): string[] {
  const lines: string[] = [];
  for (let at = 0; at < members.length; at += LINE)
    lines.push(
      `${verb} element ${set} { ${members
        .slice(at, at + LINE)
        .map(element)
        .join(', ')} }`,
    );
  return lines;
}

function element(member: string): string {
  if (ADDRESS.test(member)) return member;
  const [, address, protocol, port] = PORT.exec(member) ?? [];
  if (address !== undefined) return `${address} . ${protocol} . ${port}`;
  throw new OperationalError('VALIDATION', `${JSON.stringify(member.slice(0, 60))} cannot stand in a set`);
}

/** What `nft list sets` prints, by the names that ipset has. */
export function parseSets(text: string): Map<string, { type: SetType; elements: Set<string> }> {
  const found = new Map<string, { type: SetType; elements: Set<string> }>();
  for (const block of text.split(/^\tset /m).slice(1)) {
    const name = block.slice(0, block.indexOf(' ')).replaceAll('/', ':');
    const kind = /^\t\ttype (.+)$/m.exec(block)?.[1] ?? '';
    const isInterval = /^\t\tflags .*interval/m.test(block);
    const type = kind.includes(' . ') ? 'hash:ip,port' : isInterval ? 'hash:net' : 'hash:ip';
    const list = /elements = \{([^}]*)\}/.exec(block)?.[1] ?? '';
    const elements = list.split(',').map((e) => memberOf(e.trim()));
    found.set(name, { type, elements: new Set(elements.filter((e) => e !== '')) });
  }
  return found;
}

function memberOf(element: string): string {
  const [address, protocol, port] = element.split(' . ');
  return port === undefined ? element : `${address},${protocol}:${port}`;
}
