import { type Family, OperationalError } from '#core';
import { type Datagram, F, type Message } from '../netlink/message.ts';
import type { Requester } from '../netlink/request.ts';
import { NFT_TABLE } from './transaction.ts';
import {
  type Attr,
  answerAttrs,
  attrsOf,
  CHAIN,
  DATA,
  ELEMENT,
  ELEMENTS,
  INTERVAL_END,
  MSG,
  NFGENMSG,
  RULE,
  SET,
  SET_FLAG,
  VERDICT,
  writeAttrs,
  writeMessage,
} from './wire.ts';

/** A rule of our table: its handle, and the hash in its comment; null: it has none of ours. */
export interface KernelRule {
  readonly chain: string;
  readonly handle: bigint;
  readonly hash: string | null;
}
export interface KernelSet {
  readonly name: string;
  readonly flags: number;
  readonly keyType: number;
  /** Elements, or pairs of them in a set of intervals, rounded down; kernels before 6.16 do not say. */
  readonly count: number | undefined;
}
/** An element as the kernel has it; in a set of intervals, where one begins or ends. */
export interface KernelElement {
  readonly key: Uint8Array;
  readonly isEnd: boolean;
  /** The chain that a verdict goes to. */
  readonly chain: string | undefined;
}

const TRIES = 5;

/** Our table of one family as the kernel has it, read over one socket. */
export class NftReader {
  readonly #requests: Requester;
  readonly #family: Family;
  /** Generations of the ruleset that answers came from: more than one, and they do not belong together. */
  readonly #generations = new Set<number>();

  constructor(requests: Requester, family: Family) {
    this.#requests = requests;
    this.#family = family;
  }

  /** What `work` reads, of one moment: read again if the ruleset changed in the middle. */
  async ofOneMoment<T>(work: (reader: this) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      this.#generations.clear();
      const found = await work(this);
      if (this.#generations.size <= 1) return found;
      if (tries === TRIES) throw new OperationalError('KERNEL', 'the ruleset changes faster than it can be read');
    }
  }

  chains(): Promise<string[]> {
    return this.#dump(MSG.GETCHAIN, [], (d, m) => {
      const attrs = answerAttrs(d, m);
      return textOf(d, attrs.get(CHAIN.TABLE)) === NFT_TABLE ? textOf(d, attrs.get(CHAIN.NAME)) : null;
    });
  }
  /** In order; of one chain, or of all. */
  rules(chain?: string): Promise<KernelRule[]> {
    const filter: Attr[] = [[RULE.TABLE, NFT_TABLE]];
    if (chain !== undefined) filter.push([RULE.CHAIN, chain]);
    return this.#dump(MSG.GETRULE, filter, ruleOf);
  }
  sets(): Promise<KernelSet[]> {
    return this.#dump(MSG.GETSET, [[SET.TABLE, NFT_TABLE]], (d, m) => {
      const attrs = answerAttrs(d, m);
      if (textOf(d, attrs.get(SET.TABLE)) !== NFT_TABLE) return null;
      const [flags, keyType] = [numberOf(d, attrs.get(SET.FLAGS)), numberOf(d, attrs.get(SET.KEY_TYPE))];
      if (flags & SET_FLAG.ANONYMOUS) return null;
      const count = attrs.has(SET.COUNT) ? numberOf(d, attrs.get(SET.COUNT)) : undefined;
      return { name: textOf(d, attrs.get(SET.NAME)), flags, keyType, count };
    });
  }
  /** Calls back for each element of the set; the key lies in a buffer that is used again. */
  async elements(set: string, each: (element: KernelElement) => void): Promise<void> {
    const filter: Attr[] = [
      [ELEMENTS.TABLE, NFT_TABLE],
      [ELEMENTS.SET, set],
    ];
    await this.#dump(MSG.GETSETELEM, filter, (d, m) => {
      const list = answerAttrs(d, m).get(ELEMENTS.LIST);
      if (list) d.attributes(...list, (_, at, end) => each(elementOf(d, at, end)));
      return null;
    });
  }
  /** Interface to chain, of each verdict map. */
  async verdictMaps(): Promise<Map<string, Map<string, string>>> {
    const maps = new Map<string, Map<string, string>>();
    for (const { name, flags } of await this.sets()) {
      if (!(flags & SET_FLAG.MAP)) continue;
      const targets = new Map<string, string>();
      await this.elements(name, ({ key, chain }) => targets.set(untilZero(key), chain ?? ''));
      maps.set(name, targets);
    }
    return maps;
  }

  #dump<T>(type: number, filter: readonly Attr[], decode: (d: Datagram, m: Message) => T | null): Promise<T[]> {
    return this.#requests.dump(
      (w, seq) => writeMessage(w, type, F.DUMP, this.#family, seq, (into) => writeAttrs(into, filter)),
      (d, m) => {
        // The resource id of an answer is the lower half of the generation.
        this.#generations.add(d.u16(m.start + 2));
        return decode(d, m);
      },
      ['ENOENT'],
    );
  }
}

type Range = readonly [at: number, end: number];

const textOf = (d: Datagram, range: Range | undefined): string => (range ? d.text(...range) : '');
const numberOf = (d: Datagram, range: Range | undefined): number => (range ? d.view.getUint32(range[0]) : 0);
const untilZero = (key: Uint8Array): string => {
  const end = key.indexOf(0);
  return Buffer.from(end < 0 ? key : key.subarray(0, end)).toString('latin1');
};

/** Walked by hand: a table may have a hundred thousand rules, and most of each answer is its expressions. */
function ruleOf(d: Datagram, m: Message): KernelRule | null {
  let chain = '';
  let handle = 0n;
  let hash: string | null = null;
  let isOurs = false;
  d.attributes(m.start + NFGENMSG, m.end, (type, at, end) => {
    if (type === RULE.TABLE) isOurs = d.text(at, end) === NFT_TABLE;
    else if (type === RULE.CHAIN) chain = d.text(at, end);
    else if (type === RULE.HANDLE) handle = d.view.getBigUint64(at);
    else if (type === RULE.USERDATA) hash = hashOf(d, at, end);
  });
  return isOurs ? { chain, handle, hash } : null;
}

const HASH = /^cali:([A-Za-z0-9_-]{16})(?: |$)/;
/** User data are types and lengths of one byte each; type 0 is the comment. */
function hashOf(d: Datagram, start: number, end: number): string | null {
  for (let at = start; at + 2 <= end; at += 2 + d.bytes[at + 1])
    if (d.bytes[at] === 0) return HASH.exec(d.text(at + 2, Math.min(end, at + 2 + d.bytes[at + 1])))?.[1] ?? null;
  return null;
}

function elementOf(d: Datagram, start: number, end: number): KernelElement {
  let key: Uint8Array = new Uint8Array();
  let isEnd = false;
  let chain: string | undefined;
  d.attributes(start, end, (type, at, stop) => {
    // A nested value: its own header stands before the bytes.
    if (type === ELEMENT.KEY) key = d.bytes.subarray(at + 4, at + d.u16(at));
    else if (type === ELEMENT.FLAGS) isEnd = (d.view.getUint32(at) & INTERVAL_END) !== 0;
    else if (type === ELEMENT.DATA) {
      const verdict = attrsOf(d, at, stop).get(DATA.VERDICT);
      chain = verdict && textOf(d, attrsOf(d, ...verdict).get(VERDICT.CHAIN));
    }
  });
  return { key, isEnd, chain };
}
