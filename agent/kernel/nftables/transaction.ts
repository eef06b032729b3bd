import type { Family } from '#core';
import type { Chain, ChainRule, PrintedRule, Table } from '#policy';
import type { Sliced } from '../../slices.ts';
import { F, type MessageWriter } from '../netlink/message.ts';
import { addAction } from './actions.ts';
import { type Element, listsOf, type SetShape, setAttrs } from './elements.ts';
import { addMatches, type RuleBody } from './expressions.ts';
import {
  type Attr,
  CHAIN,
  ELEMENTS,
  HOOK,
  LIST_ELEMENT,
  MSG,
  RULE,
  SET,
  TABLE,
  writeAttrs,
  writeBegin,
  writeEnd,
  writeMessage,
} from './wire.ts';

/** Our table, one in each family; nothing of anybody else is in it, so our rules need no place among others. */
export const NFT_TABLE = 'tsnet';

/** A base chain: where the kernel calls it. */
export interface BaseChain {
  readonly type: 'filter' | 'nat' | 'route';
  /** NF_INET_PRE_ROUTING 0 to NF_INET_POST_ROUTING 4. */
  readonly hook: number;
  readonly priority: number;
}

/** A rule to write, and where: behind all others of its chain, or in the place of one. */
export interface RuleWrite {
  readonly table: Table;
  /** As it is called in the kernel. */
  readonly chain: string;
  /** As policy calls it. */
  readonly name: Chain['name'];
  readonly rule: ChainRule;
  readonly printed: PrintedRule;
  readonly instead?: bigint;
}

const NF_ACCEPT = 1;
/** Room for any one message: elements are split before 64 kB, and a rule is smaller. */
const MESSAGE_MOST = 80_000;

/**
 * Changes of our table of one family, all of them or none. They are collected as functions that write them, because the numbers of the messages
 * belong to the socket; what a message says is kept for the report of a refusal.
 */
export class Transaction {
  readonly #family: Family;
  readonly #steps: { readonly what: () => string; write(w: MessageWriter, seq: number): void }[] = [];
  #sets = 0;

  constructor(family: Family) {
    this.#family = family;
  }
  get isEmpty(): boolean {
    return this.#steps.length === 0;
  }
  get length(): number {
    return this.#steps.length;
  }

  addTable(): void {
    this.#add('add table', MSG.NEWTABLE, F.CREATE, [[TABLE.NAME, NFT_TABLE]]);
  }
  deleteTable(): void {
    this.#add('delete table', MSG.DELTABLE, 0, [[TABLE.NAME, NFT_TABLE]]);
  }
  addChain(name: string, base?: BaseChain): void {
    const attrs: Attr[] = [
      [CHAIN.TABLE, NFT_TABLE],
      [CHAIN.NAME, name],
    ];
    if (base)
      attrs.push(
        [
          CHAIN.HOOK,
          [
            [HOOK.NUMBER, base.hook],
            [HOOK.PRIORITY, base.priority >>> 0],
          ],
        ],
        [CHAIN.POLICY, NF_ACCEPT],
        [CHAIN.TYPE, base.type],
      );
    this.#add(`add chain ${name}`, MSG.NEWCHAIN, F.CREATE, attrs);
  }
  deleteChain(name: string): void {
    this.#add(`delete chain ${name}`, MSG.DELCHAIN, 0, [
      [CHAIN.TABLE, NFT_TABLE],
      [CHAIN.NAME, name],
    ]);
  }
  /** Deletes all rules of the chain. */
  flushChain(chain: string): void {
    this.#add(`flush chain ${chain}`, MSG.DELRULE, 0, [
      [RULE.TABLE, NFT_TABLE],
      [RULE.CHAIN, chain],
    ]);
  }
  deleteRule(chain: string, handle: bigint): void {
    this.#add(`delete rule ${chain} handle ${handle}`, MSG.DELRULE, 0, [
      [RULE.TABLE, NFT_TABLE],
      [RULE.CHAIN, chain],
      [RULE.HANDLE, handle],
    ]);
  }
  writeRule(write: RuleWrite): void {
    const { table, chain, name, rule, printed, instead } = write;
    const body: RuleBody = { expressions: [], sets: [] };
    addMatches(body, rule, this.#family, () => ++this.#sets);
    addAction(body, rule, table, name, this.#family);
    for (const set of body.sets) {
      this.#addSet(set.name, set.shape, set.id);
      this.#elements(MSG.NEWSETELEM, set.name, set.elements, set.id);
    }
    const flags = instead === undefined ? F.CREATE | F.APPEND : F.REPLACE;
    this.#step(
      () => `rule ${chain} ${printed.text}`,
      MSG.NEWRULE,
      flags,
      (w) => {
        writeAttrs(w, [
          [RULE.TABLE, NFT_TABLE],
          [RULE.CHAIN, chain],
          ...(instead === undefined ? [] : [[RULE.HANDLE, instead] as const]),
          [
            RULE.EXPRESSIONS,
            body.expressions.map(
              (e) =>
                [
                  LIST_ELEMENT,
                  [
                    [1, e[0]],
                    [2, e[1]],
                  ],
                ] as const,
            ),
          ],
          [RULE.USERDATA, commentOf(printed)],
        ]);
      },
    );
  }
  addSet(name: string, shape: SetShape): void {
    this.#addSet(name, shape, ++this.#sets);
  }
  deleteSet(name: string): void {
    this.#add(`delete set ${name}`, MSG.DELSET, 0, [
      [SET.TABLE, NFT_TABLE],
      [SET.NAME, name],
    ]);
  }
  addElements(set: string, elements: readonly Element[]): void {
    this.#elements(MSG.NEWSETELEM, set, elements);
  }
  deleteElements(set: string, elements: readonly Element[]): void {
    this.#elements(MSG.DELSETELEM, set, elements);
  }
  /** Deletes all elements of the set. */
  flushSet(set: string): void {
    this.#add(`flush set ${set}`, MSG.DELSETELEM, 0, [
      [ELEMENTS.TABLE, NFT_TABLE],
      [ELEMENTS.SET, set],
    ]);
  }

  #addSet(name: string, shape: SetShape, id: number): void {
    this.#add(`add set ${name}`, MSG.NEWSET, F.CREATE, setAttrs(NFT_TABLE, name, shape, id));
  }
  #elements(type: number, set: string, elements: readonly Element[], id?: number): void {
    const verb = type === MSG.NEWSETELEM ? 'add' : 'delete';
    // How many messages it takes is known only when they are written, so that one step may write several.
    if (elements.length === 0) return;
    this.#steps.push({
      what: () => `${verb} ${elements.length} elements of ${set}`,
      write: (w, seq) =>
        listsOf(elements, (list) => {
          w.reserve(MESSAGE_MOST);
          writeMessage(w, type, type === MSG.NEWSETELEM ? F.CREATE : 0, this.#family, seq, (into) => {
            writeAttrs(into, [
              [ELEMENTS.TABLE, NFT_TABLE],
              [ELEMENTS.SET, set],
              ...(id === undefined ? [] : [[ELEMENTS.SET_ID, id] as const]),
            ]);
            list(into);
          });
        }),
    });
  }
  #add(what: string, type: number, flags: number, attrs: readonly Attr[]): void {
    this.#step(
      () => what,
      type,
      flags,
      (w) => writeAttrs(w, attrs),
    );
  }
  #step(what: () => string, type: number, flags: number, attrs: (w: MessageWriter) => void): void {
    this.#steps.push({ what, write: (w, seq) => writeMessage(w, type, flags, this.#family, seq, attrs) });
  }

  /** Writes all of it; the steps have the numbers after `first`. Returns the number of the last one, which the kernel is asked to confirm. */
  *encode(w: MessageWriter, first: number): Sliced<number> {
    writeBegin(w, first);
    for (const [i, step] of this.#steps.entries()) {
      yield;
      w.reserve(MESSAGE_MOST);
      step.write(w, first + 1 + i);
    }
    w.addFlags(w.start, F.ACK);
    w.reserve(MESSAGE_MOST);
    const last = first + this.#steps.length;
    writeEnd(w, last + 1);
    return last;
  }
  /** What the step of that number was, for people. */
  describe(first: number, seq: number): string {
    return this.#steps[seq - first - 1]?.what() ?? 'the transaction';
  }
}

/** NFTNL_UDATA_RULE_COMMENT: type, length, text and a zero byte. */
function commentOf({ text }: PrintedRule): Uint8Array {
  const comment = Buffer.from(`${/ ?comment "([^"]*)"$/.exec(text)?.[1] ?? ''}\0`);
  return Buffer.concat([Uint8Array.of(0, comment.length), comment]);
}
