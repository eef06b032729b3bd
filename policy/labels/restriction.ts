import { assertNever, type SelectorNode } from '#core';

/**
 * What must hold of one label for a selector to match at all: its value is one of a few (an empty set: nothing can match), or it is present.
 * A restriction is necessary, not sufficient: it finds candidates, the whole selector decides.
 */
export type Restriction = ReadonlySet<string> | 'present';
/** Restrictions by label name; a name that is not in the map is unrestricted. */
export type Restrictions = ReadonlyMap<string, Restriction>;

const NONE: Restrictions = new Map();
/** No labels whatsoever can match: said of the empty name, which no label has. */
const IMPOSSIBLE: Restrictions = new Map([['', new Set<string>()]]);

/** The restrictions that follow from a selector. */
export function restrictionsOf(node: SelectorNode, negated = false): Restrictions {
  switch (node.op) {
    case 'all':
    case 'global':
      return negated ? IMPOSSIBLE : NONE;
    case '!':
      return restrictionsOf(node.term, !negated);
    case '&&':
    case '||': {
      const terms = node.terms.map((term) => restrictionsOf(term, negated));
      return (node.op === '&&') === !negated ? both(terms) : either(terms);
    }
    case 'has':
      return negated ? NONE : new Map([[node.label, 'present']]);
    case '==':
      return negated ? NONE : new Map([[node.label, new Set([node.value])]]);
    case '!=':
      return negated ? new Map([[node.label, new Set([node.value])]]) : NONE;
    case 'in':
      return negated ? NONE : new Map([[node.label, new Set(node.values)]]);
    case 'not in':
      return negated ? new Map([[node.label, new Set(node.values)]]) : NONE;
    case 'contains':
    case 'starts with':
    case 'ends with':
      return negated ? NONE : new Map([[node.label, 'present']]);
    default:
      return assertNever(node);
  }
}

/** Whether the restrictions say that nothing can match. */
export function isImpossible(restrictions: Restrictions): boolean {
  for (const restriction of restrictions.values()) if (restriction !== 'present' && restriction.size === 0) return true;
  return false;
}

function both(terms: readonly Restrictions[]): Restrictions {
  const result = new Map<string, Restriction>();
  for (const term of terms)
    for (const [name, restriction] of term) {
      const known = result.get(name);
      result.set(name, known === undefined ? restriction : narrower(known, restriction));
    }
  return result;
}

function narrower(a: Restriction, b: Restriction): Restriction {
  if (a === 'present') return b;
  if (b === 'present') return a;
  return new Set([...a].filter((value) => b.has(value)));
}

/** A name is restricted by an alternative only if every branch that can match restricts it. */
function either(terms: readonly Restrictions[]): Restrictions {
  const possible = terms.filter((term) => !isImpossible(term));
  if (possible.length === 0) return IMPOSSIBLE;
  const [first, ...others] = possible;
  const result = new Map<string, Restriction>();
  for (const [name, restriction] of first) {
    let wide: Restriction | undefined = restriction;
    for (const other of others) {
      const there: Restriction | undefined = other.get(name);
      wide = wide === undefined || there === undefined ? undefined : wider(wide, there);
    }
    if (wide !== undefined) result.set(name, wide);
  }
  return result;
}

const wider = (a: Restriction, b: Restriction): Restriction =>
  a === 'present' || b === 'present' ? 'present' : new Set([...a, ...b]);
