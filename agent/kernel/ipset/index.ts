import { FAMILIES, type Family, OperationalError } from '#core';
import type { SetType } from '#policy';
import type { Failure, SetBackend, SetState } from '../types.ts';
import { MemberListing, revisionOf, stateOf } from './read.ts';
import type { IpsetSocket } from './socket.ts';
import { checkedName, destroyStep, phasesOf } from './steps.ts';
import { writeTypeQuery } from './wire.ts';

/** So many sets are asked for one by one, for each of which the kernel looks through the names of all; more come with all that it has. */
const ASKED_BY_NAME = 256;

/** ip_set spoken directly (docs/adr/0014). Names and members are checked where they are encoded. */
export function createIpset(socket: IpsetSocket): SetBackend {
  const revisions = new Map<string, number>();

  /** Types that the writes are of: the kernel wants to be told a revision of the type, and says which it has. */
  async function learnRevision(type: SetType, family: Family): Promise<void> {
    const key = `${type} ${family}`;
    if (revisions.has(key)) return;
    const ask = `type ${type}`;
    revisions.set(key, await socket.ask(ask, (w, seq) => writeTypeQuery(w, type, family, seq), revisionOf));
  }

  return {
    list: async () => (await socket.headers(stateOf)).filter(isOurs),
    async members(names, tell) {
      const listing = new MemberListing(new Set(names.map(checkedName)), tell);
      const each = (...message: Parameters<MemberListing['add']>) => {
        listing.add(...message);
        return null;
      };
      if (names.length > ASKED_BY_NAME) await socket.contents(undefined, each);
      else for (const name of names) await socket.contents(name, each);
      listing.end();
    },
    async write(writes) {
      for (const write of writes) if (write.op === 'create') await learnRevision(write.type, write.family);
      const plans = writes.map((write) => phasesOf(write, (type, family) => revisions.get(`${type} ${family}`)!));
      const failures = new Map<string, Failure>();
      for (let phase = 0; plans.some((plan) => phase < plan.length); phase++) {
        const steps = plans.flatMap((plan) => plan[phase] ?? []).filter(({ name }) => !failures.has(name));
        for (const failure of await socket.write(steps)) failures.set(failure.key, failure);
      }
      return [...failures.values()];
    },
    async destroy(name) {
      const [failure] = await socket.write([destroyStep(name, checkedName(name), [])]);
      if (failure) throw new OperationalError('EXEC', failure.detail);
    },
  };
}

const isOurs = ({ name }: SetState): boolean => FAMILIES.some((family) => name.startsWith(`cali${family}`));
