import type { SetType } from '#policy';
import type { Datagram, Message } from '../netlink/message.ts';
import { afOf } from '../netlink/route.ts';
import type { SetState } from '../types.ts';
import { MemberReader } from './members.ts';
import { familyOfSet } from './steps.ts';
import { ATTR, NFGENMSG, SET } from './wire.ts';

/**
 * A set as it is listed, without members. One of the other family than its name says is of another type, too: no rule can ask it, and the kernel does
 * not swap it with one of ours.
 */
export function stateOf(d: Datagram, m: Message): SetState {
  let [name, type, maxElements, entries, family] = ['', '', 0, 0, 0];
  d.attributes(m.start + NFGENMSG, m.end, (attr, at, end) => {
    if (attr === ATTR.NAME) name = d.text(at, end);
    else if (attr === ATTR.TYPE) type = d.text(at, end);
    else if (attr === ATTR.FAMILY) family = d.bytes[at];
    else if (attr === ATTR.DATA)
      d.attributes(at, end, (of, value) => {
        if (of === SET.MAX_ELEMENTS) maxElements = d.view.getUint32(value);
        else if (of === SET.ELEMENTS) entries = d.view.getUint32(value);
      });
  });
  if (family !== afOf(familyOfSet(name))) type += ` of family ${family}`;
  return { name, type: type as SetType, maxElements, entries };
}

/** The latest revision of a type that the kernel has, of its answer. */
export function revisionOf(d: Datagram, m: Message): number {
  let revision = 0;
  d.attributes(m.start + NFGENMSG, m.end, (attr, at) => {
    if (attr === ATTR.REVISION) revision = d.bytes[at];
  });
  return revision;
}

/** Takes a listing, message by message, and tells the members of those sets that are asked for; others are passed over unread. */
export class MemberListing {
  readonly #wanted: ReadonlySet<string>;
  readonly #tell: (name: string, members: ReadonlySet<string>) => void;
  readonly #reader = new MemberReader();
  #name = '';
  #members: Set<string> | undefined;

  constructor(wanted: ReadonlySet<string>, tell: (name: string, members: ReadonlySet<string>) => void) {
    this.#wanted = wanted;
    this.#tell = tell;
  }

  /** A set has a message or several; the first one says what it is. */
  add(d: Datagram, m: Message): void {
    let name = '';
    let isFirst = false;
    let [from, to] = [0, 0];
    d.attributes(m.start + NFGENMSG, m.end, (attr, at, end) => {
      if (attr === ATTR.NAME) name = d.text(at, end);
      else if (attr === ATTR.TYPE) isFirst = true;
      else if (attr === ATTR.MEMBERS) [from, to] = [at, end];
    });
    if (isFirst) {
      this.end();
      this.#name = name;
      this.#members = this.#wanted.has(name) ? new Set() : undefined;
    }
    const members = name === this.#name ? this.#members : undefined;
    if (members) d.attributes(from, to, (_, at, end) => members.add(this.#reader.read(d, at, end)));
  }
  /** The last set is complete as well. */
  end(): void {
    if (this.#members) this.#tell(this.#name, this.#members);
    this.#members = undefined;
  }
}
