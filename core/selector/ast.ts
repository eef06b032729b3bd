/** A comparison of a label with one string. */
export type TextOperator = '==' | '!=' | 'contains' | 'starts with' | 'ends with';
/** A comparison of a label with a set of strings. */
export type SetOperator = 'in' | 'not in';

/**
 * A selector as a tree. Trees made by the constructors below are in normal form: values of a set sorted by byte and unique, no
 * double negation, no chain of one term; so equal trees print the same and a printed tree parses back to itself.
 */
export type SelectorNode =
  | { readonly op: 'all' }
  | { readonly op: 'global' }
  | { readonly op: 'has'; readonly label: string }
  | { readonly op: TextOperator; readonly label: string; readonly value: string }
  | { readonly op: SetOperator; readonly label: string; readonly values: readonly string[] }
  | { readonly op: '!'; readonly term: SelectorNode }
  | { readonly op: '&&' | '||'; readonly terms: readonly SelectorNode[] };

export const ALL: SelectorNode = { op: 'all' };
export const GLOBAL: SelectorNode = { op: 'global' };

export const has = (label: string): SelectorNode => ({ op: 'has', label });
export const compare = (label: string, op: TextOperator, value: string): SelectorNode => ({ op, label, value });

/** Membership of a label's value in a set; the values may come in any order and repeated. */
export const inSet = (label: string, op: SetOperator, values: readonly string[]): SelectorNode => ({
  op,
  label,
  values: [...new Set(values)].sort(compareBytes),
});

/** Negation; a double one cancels out. */
export const not = (term: SelectorNode): SelectorNode => (term.op === '!' ? term.term : { op: '!', term });

/** A chain of terms; one term alone stands for itself. Chains are not flattened: nesting is kept as Calico prints it. */
export const chain = (op: '&&' | '||', terms: readonly SelectorNode[]): SelectorNode =>
  terms.length === 1 ? terms[0] : { op, terms };

/** The tree with every node that has no terms of its own replaced by what `change` makes of it. */
export function mapLeaves(node: SelectorNode, change: (leaf: SelectorNode) => SelectorNode): SelectorNode {
  switch (node.op) {
    case '!':
      return not(mapLeaves(node.term, change));
    case '&&':
    case '||':
      return {
        op: node.op,
        terms: node.terms.map((term) => mapLeaves(term, change)),
      };
    default:
      return change(node);
  }
}

/** Order of the UTF-8 bytes, which is the order of code points and not JavaScript's own order of strings. */
export function compareBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x === y) continue;
    // A surrogate stands for a code point above every other unit.
    const [sx, sy] = [isSurrogate(x), isSurrogate(y)];
    return sx === sy ? x - y : sx ? 1 : -1;
  }
  return a.length - b.length;
}

const isSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff;
