import { createHash } from 'node:crypto';
import { type Family, OperationalError } from '#core';
import type { SetType } from '#policy';
import type { MessageWriter } from '../netlink/message.ts';
import type { SetWrite } from '../types.ts';
import { MEMBER_MOST, writeFormerMember, writeMember } from './members.ts';
import { type Shape, writeChange, writeCreate, writeDestroy, writeSwap } from './wire.ts';

/** One message that a write of a set needs. */
export interface Step {
  /** The set that is written; the message may be about a temporary one. */
  readonly name: string;
  /** For people. */
  readonly what: string;
  /** errno names by which the kernel says that there is nothing to do. */
  readonly fine: readonly string[];
  encode(w: MessageWriter, seq: number): void;
}
/** Steps of a set in the order in which they are done; those of a phase only if the kernel has refused none of the phase before. */
export type Phases = readonly (readonly Step[])[];

/** Members in one message, so that it stays below 64 kB, the most that a list of attributes can have. */
const MEMBERS = 1000;
/** Bytes that a message has at most. */
export const MESSAGE_MOST = MEMBERS * MEMBER_MOST + 256;
const NAME = /^cali[46][0t][A-Za-z0-9._:-]{1,25}$/;

/** Throws VALIDATION for a name that is none of ours. */
export function checkedName(name: string): string {
  if (NAME.test(name)) return name;
  throw new OperationalError('VALIDATION', `${JSON.stringify(name.slice(0, 60))} cannot be the name of a set`);
}
export const familyOfSet = (name: string): Family => (name.startsWith('cali6') ? 6 : 4);

/** What has to be done for a write. Throws VALIDATION, as do its steps when they are encoded. */
export function phasesOf(write: SetWrite, revisionOf: (type: SetType, family: Family) => number): Phases {
  const name = checkedName(write.name);
  if (write.op === 'change')
    return [[...change(name, 'del', name, write.removed), ...change(name, 'add', name, write.added)]];
  const { type, family, members, current } = write;
  const create = (as: string) => createStep(name, as, write, revisionOf(type, family));
  if (!current) return [[create(name), ...change(name, 'add', name, members)]];
  // The kernel swaps only sets of one type. One of another type that no rule uses can go; else the kernel says that it is in use.
  if (current.type !== type)
    return [[destroyStep(name, name, []), create(name)], [...change(name, 'add', name, members)]];
  // Made beside and swapped in: whoever uses the set sees the old members or the new ones, never half of them. The temporary set may be there
  // from an attempt that ended in the middle.
  const temporary = temporaryName(family, name);
  return [
    [destroyStep(name, temporary, ['ENOENT']), create(temporary)],
    [...change(name, 'add', temporary, members)],
    [swapStep(name, temporary), destroyStep(name, temporary, [])],
  ];
}

/** Destroys a set, which may be the temporary one of `of`. */
export const destroyStep = (of: string, name: string, fine: readonly string[]): Step => ({
  name: of,
  what: `destroy ${name}`,
  fine,
  encode: (w, seq) => writeDestroy(w, name, seq),
});
const createStep = (of: string, name: string, shape: Shape, revision: number): Step => ({
  name: of,
  what: `create ${name} ${shape.type}`,
  fine: [],
  encode: (w, seq) => writeCreate(w, name, shape, revision, seq),
});
const swapStep = (name: string, temporary: string): Step => ({
  name,
  what: `swap ${temporary} ${name}`,
  fine: [],
  encode: (w, seq) => writeSwap(w, temporary, name, seq),
});

/** As many messages as the members need. They are encoded once, in this order. */
function* change(of: string, op: 'add' | 'del', name: string, members: ReadonlySet<string>): Iterable<Step> {
  const family = familyOfSet(name);
  const put = op === 'add' ? writeMember : writeFormerMember;
  const rest = members.values();
  for (let at = 0; at < members.size; at += MEMBERS) {
    const count = Math.min(MEMBERS, members.size - at);
    yield {
      name: of,
      what: `${op} ${count} members ${op === 'add' ? 'to' : 'from'} ${name}`,
      fine: [],
      encode: (w, seq) =>
        writeChange(
          w,
          op,
          name,
          () => {
            for (let i = 0; i < count; i++) put(w, rest.next().value!, family);
          },
          seq,
        ),
    };
  }
}

const temporaryName = (family: Family, name: string): string =>
  `cali${family}t${createHash('sha256').update(name).digest('hex').slice(0, 20)}`;
