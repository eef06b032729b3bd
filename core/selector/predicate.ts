import { assertNever } from '../errors.ts';
import type { SelectorNode } from './ast.ts';

/** Anything that knows the value of a label; undefined: the label is absent. A `Map` is one. An empty value is present. */
export interface Labels {
  get(name: string): string | undefined;
}
export type Predicate = (labels: Labels) => boolean;

/**
 * The tree as one closure per node. On a missing label `!=` and `not in` hold and every other comparison does not. `global()` by itself
 * holds for everything: what it means depends on where it stands, so whoever gives it meaning replaces it first.
 */
export function compilePredicate(node: SelectorNode): Predicate {
  switch (node.op) {
    case 'all':
    case 'global':
      return () => true;
    case '!': {
      const term = compilePredicate(node.term);
      return (labels) => !term(labels);
    }
    case '&&': {
      const terms = node.terms.map(compilePredicate);
      return (labels) => {
        for (const term of terms) if (!term(labels)) return false;
        return true;
      };
    }
    case '||': {
      const terms = node.terms.map(compilePredicate);
      return (labels) => {
        for (const term of terms) if (term(labels)) return true;
        return false;
      };
    }
    default:
      return compileComparison(node);
  }
}

function compileComparison(node: Extract<SelectorNode, { label: string }>): Predicate {
  const { label } = node;
  switch (node.op) {
    case 'has':
      return (labels) => labels.get(label) !== undefined;
    case '==':
      return (labels) => labels.get(label) === node.value;
    case '!=':
      return (labels) => labels.get(label) !== node.value;
    case 'contains':
      return (labels) => labels.get(label)?.includes(node.value) === true;
    case 'starts with':
      return (labels) => labels.get(label)?.startsWith(node.value) === true;
    case 'ends with':
      return (labels) => labels.get(label)?.endsWith(node.value) === true;
    case 'in': {
      const values = new Set<string | undefined>(node.values);
      return (labels) => values.has(labels.get(label));
    }
    case 'not in': {
      const values = new Set<string | undefined>(node.values);
      return (labels) => !values.has(labels.get(label));
    }
    default:
      return assertNever(node);
  }
}
