/**
 * A set that costs what it holds: nothing for none, a reference for one, an array for a few, a Set for many. The label index has hundreds of
 * thousands of them, nearly all with one element. The value is the set: every change gives back what to store instead.
 */
export type CompactSet<T extends object> = undefined | T | T[] | Set<T>;

/** Up to so many elements are looked through one by one. */
const FEW = 12;

export function added<T extends object>(set: CompactSet<T>, element: T): CompactSet<T> {
  if (set === undefined) return element;
  if (set instanceof Set) return set.add(element);
  if (!Array.isArray(set)) return set === element ? set : [set, element];
  if (set.includes(element)) return set;
  if (set.length >= FEW) return new Set(set).add(element);
  set.push(element);
  return set;
}

export function removed<T extends object>(set: CompactSet<T>, element: T): CompactSet<T> {
  if (set === element || set === undefined) return undefined;
  if (set instanceof Set) {
    set.delete(element);
    return set.size === 0 ? undefined : set;
  }
  if (!Array.isArray(set)) return set;
  const at = set.indexOf(element);
  if (at < 0) return set;
  set[at] = set[set.length - 1];
  set.pop();
  return set.length === 0 ? undefined : set;
}

export function sizeOf<T extends object>(set: CompactSet<T>): number {
  if (set === undefined) return 0;
  if (set instanceof Set) return set.size;
  return Array.isArray(set) ? set.length : 1;
}
