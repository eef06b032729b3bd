import { type Family, OperationalError } from '#core';
import type { SetBackend, SetState } from '../types.ts';
import type { NftSocket } from './index.ts';
import { elementsOf, MemberReader, shapeOf, typeOf } from './keys.ts';
import { Members } from './members.ts';
import type { KernelSet, NftReader } from './read.ts';
import { Transaction } from './transaction.ts';
import { SET_FLAG } from './wire.ts';

const NAME = /^cali[46]0[A-Za-z0-9._:-]{1,25}$/;

/** Sets of our own nftables table, behind the names that ipset has. */
export function createNftSets(socket: NftSocket): SetBackend {
  const known = new Map<string, Members>();

  async function stateOf(name: string) {
    const found = (await socket.reader(familyOf(name)).sets()).find((set) => set.name === inKernel(name));
    return found && { type: typeOf(found) };
  }
  async function load(name: string): Promise<Members | undefined> {
    const state = await stateOf(name);
    if (!state) return void known.delete(name);
    const found = new MemberReader(state.type, familyOf(name));
    const members = new Members(state.type);
    await socket.reader(familyOf(name)).elements(inKernel(name), (element) => {
      found.add(element);
      members.elements++;
    });
    members.confirm(members.change(found.members, new Set()));
    known.set(name, members);
    return members;
  }
  async function model(name: string): Promise<Members> {
    const found = known.get(name) ?? (await load(name));
    if (!found) throw new OperationalError('EXEC', `there is no set ${name}`);
    return found;
  }

  /** Members of a set: as many as we know of, if the kernel holds as many elements as stand for those; else they are counted. */
  async function count(set: KernelSet, reader: NftReader): Promise<number> {
    const members = known.get(set.name.replaceAll('/', ':'));
    const isInterval = (set.flags & SET_FLAG.INTERVAL) !== 0;
    if (members?.type === typeOf(set) && set.count === (isInterval ? members.elements >> 1 : members.elements))
      return members.all.size;
    let [elements, found] = [0, 0];
    await reader.elements(set.name, ({ isEnd }) => {
      elements++;
      if (!isEnd) found++;
    });
    // What is covered by others is a member too, although the kernel does not hold it.
    return members?.type === typeOf(set) && members.elements === elements ? members.all.size : found;
  }

  return {
    async list() {
      const states: SetState[] = [];
      for (const family of [4, 6] as const) {
        const reader = socket.reader(family);
        for (const set of await reader.sets()) {
          const name = set.name.replaceAll('/', ':');
          if (!NAME.test(name)) continue;
          states.push({ name, type: typeOf(set), maxElements: undefined, entries: await count(set, reader) });
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
      const set = inKernel(name);
      const current = await stateOf(name);
      const fresh = new Members(type);
      const change = fresh.change(members, new Set());
      const transaction = new Transaction(family);
      transaction.addTable();
      if (current && current.type !== type) transaction.deleteSet(set);
      transaction.addSet(set, shapeOf(type, family));
      if (current?.type === type) transaction.flushSet(set);
      const elements = elementsOf(change.add, type, family);
      transaction.addElements(set, elements);
      await socket.commit(transaction);
      fresh.confirm(change);
      fresh.elements = elements.length;
      known.set(name, fresh);
    },
    async change(name, added, removed) {
      const family = familyOf(name);
      const members = await model(name);
      const change = members.change(added, removed);
      try {
        const [old, fresh] = [change.remove, change.add].map((list) => elementsOf(list, members.type, family));
        const transaction = new Transaction(family);
        transaction.deleteElements(inKernel(name), old);
        transaction.addElements(inKernel(name), fresh);
        await socket.commit(transaction);
        members.elements += fresh.length - old.length;
      } catch (error) {
        // What the kernel holds now is not what was thought.
        known.delete(name);
        throw error;
      }
      members.confirm(change);
    },
    async destroy(name) {
      const transaction = new Transaction(familyOf(name));
      transaction.deleteSet(inKernel(name));
      await socket.commit(transaction);
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
