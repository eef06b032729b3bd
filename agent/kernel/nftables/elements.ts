import type { Family } from '#core';
import { exactInterface, nftChain, type PortRange, type Table } from '#policy';
import type { MessageWriter } from '../netlink/message.ts';
import { verdict } from './actions.ts';
import { bigHalf, interfaceKey } from './expressions.ts';
import { type Attr, DATATYPE, ELEMENT, ELEMENTS, INTERVAL_END, LIST_ELEMENT, SET, SET_FLAG } from './wire.ts';

/** Of a set: what it is, for the kernel and for nft, which prints its keys by type. */
export interface SetShape {
  readonly flags: number;
  readonly keyType: number;
  /** Bytes. */
  readonly keyLength: number;
  /** Whether an element leads to a verdict. */
  readonly isMap?: boolean;
  /** Number of elements, where it will not change. */
  readonly size?: number;
}
/** A key; in a set of intervals, where one begins or (then with the first value after it) ends. */
export interface Element {
  readonly key: Uint8Array;
  readonly isEnd?: boolean;
  readonly data?: readonly Attr[];
}

/** A set that belongs to one rule and goes with it. */
export interface AnonymousSet {
  /** Tells it from others of the transaction. */
  readonly id: number;
  /** The kernel puts a number for `%d`. */
  readonly name: string;
  readonly shape: SetShape;
  readonly elements: readonly Element[];
}

export const setAttrs = (table: string, name: string, shape: SetShape, id: number): Attr[] => [
  [SET.TABLE, table],
  [SET.NAME, name],
  [SET.FLAGS, shape.flags | (shape.isMap ? SET_FLAG.MAP : 0)],
  [SET.KEY_TYPE, shape.keyType],
  [SET.KEY_LENGTH, shape.keyLength],
  ...(shape.isMap ? [[SET.DATA_TYPE, DATATYPE.VERDICT] as const, [SET.DATA_LENGTH, 0] as const] : []),
  ...(shape.size === undefined ? [] : [[SET.DESCRIPTION, [[1, shape.size]]] as const]),
  [SET.ID, id],
  [SET.USERDATA, KEY_BYTE_ORDER(shape)],
];
/** NFTNL_UDATA_SET_KEYBYTEORDER: names of interfaces are in the machine's order for nft, addresses and ports in the network's. */
const KEY_BYTE_ORDER = ({ isMap }: SetShape): Uint8Array => {
  const [HOST, NETWORK] = [1, 2];
  const value = new Uint8Array(Uint32Array.of(isMap ? HOST : NETWORK).buffer);
  return Uint8Array.of(0, 4, ...value);
};

/** Bytes of elements in one message: the length of an attribute is 16 bits. */
const LIST_MOST = 60_000;
/** No element of ours is larger. */
const ELEMENT_MOST = 400;

/** Calls back for as many messages as the elements need; each writes its list with the function it is given. */
export function listsOf(elements: readonly Element[], message: (list: (w: MessageWriter) => void) => void): void {
  let at = 0;
  while (at < elements.length)
    message((w) => {
      const start = w.length;
      w.nest(ELEMENTS.LIST | NESTED, () => {
        while (at < elements.length && w.length - start < LIST_MOST - ELEMENT_MOST) writeElement(w, elements[at++]);
      });
    });
}
const NESTED = 0x8000;

/** Written by hand and not from a list of attributes: there may be a million. */
function writeElement(w: MessageWriter, { key, isEnd, data }: Element): void {
  w.nest(LIST_ELEMENT | NESTED, () => {
    if (isEnd) w.attrBig32(ELEMENT.FLAGS, INTERVAL_END);
    w.u16(8 + key.length)
      .u16(ELEMENT.KEY | NESTED)
      .attr(1, key);
    if (data) w.nest(ELEMENT.DATA | NESTED, () => writeVerdict(w, data));
  });
}
function writeVerdict(w: MessageWriter, data: readonly Attr[]): void {
  for (const [type, value] of data)
    if (typeof value === 'number') w.attrBig32(type, value);
    else if (typeof value === 'string') w.text(type, value);
    else w.nest(type | NESTED, () => writeVerdict(w, value as readonly Attr[]));
}

/** Ports and ranges as one set; what overlaps or touches becomes one interval, as the kernel wants it. */
export function portElements(ports: readonly PortRange[]): Omit<AnonymousSet, 'id'> {
  const isInterval = ports.some(([from, to]) => from !== to);
  const elements = isInterval ? intervalsOf(merged(ports)) : [...new Set(ports.map(([port]) => port))].map(single);
  const flags = SET_FLAG.ANONYMOUS | SET_FLAG.CONSTANT | (isInterval ? SET_FLAG.INTERVAL : 0);
  return {
    name: '__set%d',
    shape: { flags, keyType: DATATYPE.SERVICE, keyLength: 2, size: elements.length },
    elements,
  };
}
const single = (port: number): Element => ({ key: bigHalf(port) });

function merged(ports: readonly PortRange[]): PortRange[] {
  const out: [number, number][] = [];
  for (const [from, to] of [...ports].sort((a, b) => a[0] - b[0])) {
    const last = out.at(-1);
    if (last && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else out.push([from, to]);
  }
  return out;
}
function intervalsOf(ports: readonly PortRange[]): Element[] {
  // The first interval of a set says where nothing begins; one that reaches the last value has no end.
  const before: Element[] = ports[0][0] > 0 ? [{ key: bigHalf(0), isEnd: true }] : [];
  const both = ([from, to]: PortRange): Element[] =>
    to === 0xffff ? [single(from)] : [single(from), { key: bigHalf(to + 1), isEnd: true }];
  return [...before, ...ports.flatMap(both)];
}

/** Interface to verdict. */
export const VERDICT_MAP: SetShape = { flags: 0, keyType: DATATYPE.INTERFACE, keyLength: 16, isMap: true };
export const verdictElement = (table: Table, iface: string, chain: string): Element => ({
  key: interfaceKey(exactInterface(iface)),
  data: verdict('goto', nftChain(table, chain)),
});
/** The same without what it leads to: enough to delete it. */
export const verdictKey = (iface: string): Element => ({ key: interfaceKey(exactInterface(iface)) });

export const addressKeyLength = (family: Family): number => (family === 4 ? 4 : 16);
