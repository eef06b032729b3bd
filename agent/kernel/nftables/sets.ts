import { type Family, OperationalError, realClock } from '#core';
import type { SetType } from '#policy';
import { forEach, inSlices, type Sliced } from '../../slices.ts';
import type { SetBackend, SetState, SetWrite } from '../types.ts';
import type { Element } from './elements.ts';
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

  async function load(name: string, type: SetType, before?: Members): Promise<Members> {
    const found = new MemberReader(type, familyOf(name));
    const now = new Members(type);
    await socket.reader(familyOf(name)).elements(inKernel(name), (element) => {
      found.add(element);
      now.elements++;
    });
    now.confirm(await inSlices(realClock, now.change(found.members, NONE)));
    // The kernel does not hold what others cover; it is a member as long as they are.
    const hidden = [...(before?.all ?? [])].filter((m) => !now.all.has(m) && now.isCovered(m));
    now.confirm(await inSlices(realClock, now.change(new Set(hidden), NONE)));
    known.set(name, now);
    return now;
  }
  async function reload(name: string): Promise<void> {
    const type = known.get(name)?.type;
    known.delete(name);
    if (type) await load(name, type);
  }

  function* create(transaction: Transaction, write: SetWrite & { op: 'create' }): Sliced<() => void> {
    const { name, type, family, members, current } = write;
    const set = inKernel(name);
    const fresh = new Members(type);
    const made = yield* fresh.change(members, NONE);
    const elements = yield* elementsIn(made.add, type, family);
    if (current && current.type !== type) transaction.deleteSet(set);
    transaction.addSet(set, shapeOf(type, family));
    if (current?.type === type) transaction.flushSet(set);
    transaction.addElements(set, elements);
    return () => {
      fresh.confirm(made);
      fresh.elements = elements.length;
      known.set(name, fresh);
    };
  }
  function* change(transaction: Transaction, write: SetWrite & { op: 'change' }): Sliced<() => void> {
    const { name, added, removed } = write;
    const members = known.get(name);
    if (!members) throw new OperationalError('EXEC', `set ${name} was not read`);
    const made = yield* members.change(added, removed);
    const old = yield* elementsIn(made.remove, members.type, familyOf(name));
    const fresh = yield* elementsIn(made.add, members.type, familyOf(name));
    transaction.deleteElements(inKernel(name), old);
    transaction.addElements(inKernel(name), fresh);
    return () => {
      members.confirm(made);
      members.elements += fresh.length - old.length;
    };
  }
  /** What is true when the transaction is done. */
  function* compose(transaction: Transaction, writes: readonly SetWrite[]): Sliced<(() => void)[]> {
    const done: (() => void)[] = [];
    if (writes.some(({ op }) => op === 'create')) transaction.addTable();
    for (const write of writes) {
      done.push(yield* write.op === 'create' ? create(transaction, write) : change(transaction, write));
      yield;
    }
    return done;
  }

  async function writeFamily(family: Family, writes: readonly SetWrite[]): Promise<void> {
    const transaction = new Transaction(family);
    let done: readonly (() => void)[];
    try {
      done = await inSlices(realClock, compose(transaction, writes));
      await socket.commit(transaction);
    } catch (error) {
      // What was noted of members is ahead of the kernel now.
      for (const { name, op } of writes) if (op === 'change') await reload(name);
      throw error;
    }
    for (const confirm of done) confirm();
  }

  /**
   * Members of a set: as many as we know of, if the kernel holds as many elements as stand for those; else they are counted. Of a set whose members were not read the
   * kernel's number is told, where it gives one: nothing is compared with that, and they will be read.
   */
  async function count(set: KernelSet, reader: NftReader): Promise<number> {
    const members = known.get(set.name.replaceAll('/', ':'));
    if (!members && set.count !== undefined) return set.count;
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
    async members(names, tell) {
      const kernel = new Map<string, SetType>();
      for (const family of new Set(names.map(familyOf)))
        for (const set of await socket.reader(family).sets()) kernel.set(set.name, typeOf(set));
      for (const name of names) {
        const type = kernel.get(inKernel(name));
        const before = known.get(name);
        known.delete(name);
        if (type) tell(name, (await load(name, type, before)).all);
      }
    },
    async write(writes) {
      for (const family of [4, 6] as const)
        await writeFamily(
          family,
          writes.filter(({ name }) => familyOf(name) === family),
        );
      return [];
    },
    async destroy(name) {
      const transaction = new Transaction(familyOf(name));
      transaction.deleteSet(inKernel(name));
      await socket.commit(transaction);
      known.delete(name);
    },
  };
}

const NONE: ReadonlySet<string> = new Set();

function* elementsIn(members: readonly string[], type: SetType, family: Family): Sliced<Element[]> {
  const all: Element[] = [];
  yield* forEach(members, (member) => all.push(...elementsOf([member], type, family)));
  return all;
}

const familyOf = (name: string): Family => (name.startsWith('cali6') ? 6 : 4);

/** nft takes no colon in a name, and no name of ours has a slash of its own. */
function inKernel(name: string): string {
  if (NAME.test(name)) return name.replaceAll(':', '/');
  throw new OperationalError('VALIDATION', `${JSON.stringify(name.slice(0, 60))} cannot be the name of a set`);
}
