import { type Addr, addrBytes, bitsOf, type Family, familyOf, type Prefix, prefixAddr, prefixLength } from './ip.ts';

interface Node<V> {
  readonly children: [Node<V> | undefined, Node<V> | undefined];
  entry: { readonly prefix: Prefix; value: V } | undefined;
}

const node = <V>(): Node<V> => ({ children: [undefined, undefined], entry: undefined });

/**
 * Prefixes with longest-prefix match, both families in one object. A plain binary trie: it holds pools, blocks and connected
 * networks, hundreds of entries, not a routing table (that is bgp/rib's).
 */
export class PrefixTrie<V> {
  readonly #roots: Record<Family, Node<V>> = { 4: node(), 6: node() };
  #size = 0;

  get size(): number {
    return this.#size;
  }

  set(key: Prefix, value: V): void {
    let at = this.#roots[familyOf(key)];
    for (const bit of bitsOfPrefix(key)) {
      const next = at.children[bit] ?? node<V>();
      at.children[bit] = next;
      at = next;
    }
    if (!at.entry) this.#size++;
    at.entry = { prefix: key, value };
  }

  get(key: Prefix): V | undefined {
    let at: Node<V> | undefined = this.#roots[familyOf(key)];
    for (const bit of bitsOfPrefix(key)) at = at?.children[bit];
    return at?.entry?.value;
  }

  delete(key: Prefix): boolean {
    const path: { from: Node<V>; bit: 0 | 1 }[] = [];
    let at: Node<V> | undefined = this.#roots[familyOf(key)];
    for (const bit of bitsOfPrefix(key)) {
      if (!at) return false;
      path.push({ from: at, bit });
      at = at.children[bit];
    }
    if (!at?.entry) return false;
    at.entry = undefined;
    this.#size--;
    // Prune the branch that has become empty, from the leaf up.
    for (const { from, bit } of path.reverse()) {
      const child = from.children[bit];
      if (child && (child.entry || child.children[0] || child.children[1])) break;
      from.children[bit] = undefined;
    }
    return true;
  }

  /** The longest prefix that covers the address or prefix (an equal prefix counts). */
  longestMatch(key: Addr | Prefix): { prefix: Prefix; value: V } | undefined {
    let best: { prefix: Prefix; value: V } | undefined;
    for (const entry of this.covering(key)) best = entry;
    return best;
  }

  /** Every prefix that covers the key, shortest first. */
  *covering(key: Addr | Prefix): IterableIterator<{ prefix: Prefix; value: V }> {
    let at: Node<V> | undefined = this.#roots[familyOf(key)];
    if (at.entry) yield at.entry;
    for (const bit of bitsOfPrefix(key)) {
      at = at.children[bit];
      if (!at) return;
      if (at.entry) yield at.entry;
    }
  }

  /** Every entry at or below the prefix, in address order. */
  *within(key: Prefix): IterableIterator<{ prefix: Prefix; value: V }> {
    let at: Node<V> | undefined = this.#roots[familyOf(key)];
    for (const bit of bitsOfPrefix(key)) at = at?.children[bit];
    if (at) yield* walk(at);
  }

  *entries(): IterableIterator<{ prefix: Prefix; value: V }> {
    yield* walk(this.#roots[4]);
    yield* walk(this.#roots[6]);
  }
}

function* walk<V>(at: Node<V>): IterableIterator<{ prefix: Prefix; value: V }> {
  if (at.entry) yield at.entry;
  if (at.children[0]) yield* walk(at.children[0]);
  if (at.children[1]) yield* walk(at.children[1]);
}

function* bitsOfPrefix(key: Addr | Prefix): IterableIterator<0 | 1> {
  const isPrefix = key.includes('/');
  const bytes = addrBytes(isPrefix ? prefixAddr(key as Prefix) : (key as Addr));
  const length = isPrefix ? prefixLength(key as Prefix) : bitsOf(familyOf(key));
  for (let i = 0; i < length; i++) yield ((bytes[i >> 3] >> (7 - (i & 7))) & 1) as 0 | 1;
}
