import { ALL, chain, compare, GLOBAL, has, inSet, not, type SelectorNode } from './ast.ts';
import { SelectorLexer } from './lexer.ts';

/** Parentheses within parentheses, at most: a bound on recursion, far above what people write. */
export const MAX_DEPTH = 500;

/** Reads a whole selector; empty text is `all()`. Throws SelectorSyntaxError. */
export function parseTree(text: string): SelectorNode {
  const lexer = new SelectorLexer(text);
  if (lexer.atEnd) return ALL;
  const tree = parseOr(lexer, 0);
  if (!lexer.atEnd) lexer.fail("expected '&&', '||' or the end");
  return tree;
}

function parseOr(lexer: SelectorLexer, depth: number): SelectorNode {
  const terms = [parseAnd(lexer, depth)];
  while (lexer.take('||')) terms.push(parseAnd(lexer, depth));
  return chain('||', terms);
}

function parseAnd(lexer: SelectorLexer, depth: number): SelectorNode {
  const terms = [parseUnary(lexer, depth)];
  while (lexer.take('&&')) terms.push(parseUnary(lexer, depth));
  return chain('&&', terms);
}

function parseUnary(lexer: SelectorLexer, depth: number): SelectorNode {
  let negated = false;
  while (lexer.take('!')) negated = !negated;
  const term = parsePrimary(lexer, depth);
  return negated ? not(term) : term;
}

function parsePrimary(lexer: SelectorLexer, depth: number): SelectorNode {
  if (lexer.take('(')) {
    if (depth >= MAX_DEPTH) lexer.fail(`more than ${MAX_DEPTH} parentheses within each other`);
    const inner = parseOr(lexer, depth + 1);
    lexer.expect(')');
    return inner;
  }
  const label = lexer.label();
  if (label === '') lexer.fail('expected a label, a function or a parenthesis');
  if (isFunction(label) && lexer.takeAttached('(')) return parseFunction(lexer, label);
  return parseComparison(lexer, label);
}

type FunctionName = 'has' | 'all' | 'global';
const isFunction = (word: string): word is FunctionName => word === 'has' || word === 'all' || word === 'global';

function parseFunction(lexer: SelectorLexer, name: FunctionName): SelectorNode {
  const label = name === 'has' ? lexer.label() : undefined;
  if (label === '') lexer.fail('expected a label');
  lexer.expect(')');
  if (label !== undefined) return has(label);
  return name === 'all' ? ALL : GLOBAL;
}

function parseComparison(lexer: SelectorLexer, label: string): SelectorNode {
  const op = lexer.operator();
  if (op === undefined) return lexer.fail(`expected operator after label ${label.slice(0, 64)}`);
  if (op === 'in' || op === 'not in') return inSet(label, op, parseSet(lexer));
  return compare(label, op, lexer.string() ?? lexer.fail('expected a string in quotes'));
}

function parseSet(lexer: SelectorLexer): string[] {
  lexer.expect('{');
  const values: string[] = [];
  for (;;) {
    const value = lexer.string();
    if (value === undefined) break;
    values.push(value);
    if (!lexer.take(',')) break;
  }
  lexer.expect('}');
  return values;
}
