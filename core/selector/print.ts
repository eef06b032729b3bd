import { assertNever } from '../errors.ts';
import type { SelectorNode } from './ast.ts';

/**
 * The canonical text of a tree: one space around operators, chains in parentheses, sets sorted. Equal trees have equal texts, and the text
 * parses back to the tree, provided that no string holds both kinds of quote (a parsed one cannot).
 */
export function printTree(node: SelectorNode): string {
  switch (node.op) {
    case 'all':
    case 'global':
      return `${node.op}()`;
    case 'has':
      return `has(${node.label})`;
    case '==':
    case '!=':
    case 'contains':
    case 'starts with':
    case 'ends with':
      return `${node.label} ${node.op} ${quote(node.value)}`;
    case 'in':
    case 'not in':
      return `${node.label} ${node.op} {${node.values.map(quote).join(', ')}}`;
    case '!':
      return `!${printTree(node.term)}`;
    case '&&':
    case '||':
      return `(${node.terms.map(printTree).join(` ${node.op} `)})`;
    default:
      return assertNever(node);
  }
}

const quote = (value: string): string => (value.includes('"') ? `'${value}'` : `"${value}"`);
