import { type Clock, type Milliseconds, OperationalError } from '#core';
import { BoundedCalls } from '../bounded-calls.ts';
import { errnoName } from '../netlink/libc.ts';
import type { Datagram, Message, MessageWriter } from '../netlink/message.ts';
import { Requester } from '../netlink/request.ts';
import type { Failure } from '../types.ts';
import { MESSAGE_MOST, type Step } from './steps.ts';
import { writeList, writeSave } from './wire.ts';

const TIMEOUT = 60_000;
type Each<T> = (d: Datagram, m: Message) => T | null;

/**
 * What is asked of ip_set, over one socket. Every request that may take long is made from a worker thread: the kernel does the work inside the call, under a
 * lock that a stranger may hold.
 */
export class IpsetSocket {
  readonly #calls: BoundedCalls;
  readonly #make: () => Requester;
  #requests: Requester | undefined;

  constructor(clock: Clock, timeout: Milliseconds = TIMEOUT, make = () => new Requester(12)) {
    const late = () => new OperationalError('TIMEOUT', 'the kernel did not do in time what ipset asked of it');
    this.#calls = new BoundedCalls(clock, timeout, late);
    this.#make = make;
  }
  /** Makes the socket, in the network namespace of now; else the first request does. @throws OperationalError KERNEL */
  open(): this {
    this.#requests ??= this.#make();
    return this;
  }
  close(): void {
    this.#requests?.close();
  }

  /** All sets, without members. A kernel without ip_set has none. */
  headers<T>(each: Each<T>): Promise<T[]> {
    return this.#bounded((requests) => requests.dump(writeList, each, ['EINVAL'], true));
  }
  /** Messages of one set with its members, or of all. */
  contents<T>(name: string | undefined, each: Each<T>): Promise<T[]> {
    const ask = (w: MessageWriter, seq: number) => writeSave(w, name, seq);
    return this.#bounded((requests) => requests.dump(ask, each, ['ENOENT'], name === undefined));
  }
  /** Does all of it in order, whatever becomes of the parts; resolves with one refusal for each set that had any. */
  async write(steps: readonly Step[]): Promise<Failure[]> {
    const refused = await this.#bounded((requests) =>
      requests.writeColumns({
        count: steps.length,
        encode: (index, w, seq) => {
          steps[index].encode(w, seq);
          return null;
        },
        fine: (index) => steps[index].fine,
        messageMost: MESSAGE_MOST,
        inWorker: true,
      }),
    );
    const failures = new Map<string, Failure>();
    for (const { index, error, detail } of refused) {
      const { name, what } = steps[index];
      const text = `${wordsFor(error)}${detail && ` (${detail})`}, at '${what}'`;
      if (!failures.has(name)) failures.set(name, { key: name, error, detail: text });
    }
    return [...failures.values()];
  }
  /** One question; rejects with EXEC, naming it, if it is refused. */
  async ask<T>(what: string, encode: (w: MessageWriter, seq: number) => void, decode: (d: Datagram, m: Message) => T) {
    const answer = await this.#bounded((requests) => requests.ask(encode, (d, m) => ({ told: decode(d, m) })));
    if ('told' in answer) return answer.told;
    throw new OperationalError('EXEC', `${wordsFor(errnoName(answer.refused.errno))}, at '${what}'`);
  }

  #bounded<T>(work: (requests: Requester) => Promise<T>): Promise<T> {
    return this.#calls.run(() => work(this.open().#requests!));
  }
}

/** Errors that only ip_set has (enum ipset_errno, and those of hash types), and what others mean here. */
const WORDS: ReadonlyMap<string, string> = new Map([
  ['EINVAL', 'the kernel has no ip_set (modprobe ip_set)'],
  ['ENOENT', 'there is no such set'],
  ['EEXIST', 'there is such a set already'],
  ...(
    [
      [4097, 'the kernel did not understand'],
      [4098, 'the kernel has no such type of set (modprobe ip_set_hash_ip, ip_set_hash_net, ip_set_hash_ipport)'],
      [4099, 'the kernel has no room for another set'],
      [4100, 'the set is in use'],
      [4102, 'the sets are of different types'],
      [4103, 'there is such a set already, of another kind'],
      [4104, 'no such prefix length'],
      [4108, 'the set is in use'],
      [4352, 'the set is full'],
      [4353, 'a member that no set of the type can have'],
      [4354, 'no such protocol'],
    ] as const
  ).map(([errno, words]) => [errnoName(errno), words] as const),
]);
const wordsFor = (error: string): string => WORDS.get(error) ?? error;
