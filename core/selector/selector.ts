import { err, ok, type Result } from '../result.ts';
import { mapLeaves, type SelectorNode } from './ast.ts';
import { SelectorSyntaxError } from './lexer.ts';
import { parseTree } from './parser.ts';
import { compilePredicate, type Labels, type Predicate } from './predicate.ts';
import { printTree } from './print.ts';

export { compareBytes, type SelectorNode, type SetOperator, type TextOperator } from './ast.ts';

/**
 * Texts longer than this are refused unread. Calico's schema allows 1 024 characters on write; what older clusters hold may be longer and
 * is tolerated.
 */
export const MAX_SELECTOR = 65_536;

/** A selector that has been read: its tree, its canonical text, and whether labels match it. Immutable. */
export class Selector {
  readonly root: SelectorNode;
  /** Canonical form: equal selectors have equal texts, whatever their spelling. */
  readonly text: string;
  #predicate: Predicate | undefined;

  constructor(root: SelectorNode) {
    this.root = root;
    this.text = printTree(root);
  }

  matches(labels: Labels): boolean {
    this.#predicate ??= compilePredicate(this.root);
    return this.#predicate(labels);
  }

  /** The same selector about labels whose names begin with `prefix`: `pcns.` for namespaces, `pcsa.` for service accounts. */
  prefixed(prefix: string): Selector {
    return new Selector(
      mapLeaves(this.root, (leaf) => ('label' in leaf ? { ...leaf, label: prefix + leaf.label } : leaf)),
    );
  }

  toString(): string {
    return this.text;
  }
}

/** Texts seen lately: the same few selectors come again with every resource that uses them. */
const recent = new Map<string, Selector>();
const RECENT = 4096;

/** Reads a selector (calico-compatible grammar); empty text is `all()`. The error says what is wrong and at which character, from 1. */
export function parseSelector(text: string): Result<Selector, string> {
  const known = recent.get(text);
  if (known) return ok(known);
  if (text.length > MAX_SELECTOR) return err(`selector has ${text.length} characters, more than ${MAX_SELECTOR}`);
  try {
    const selector = new Selector(parseTree(text));
    remember(text, selector);
    return ok(selector);
  } catch (error) {
    if (!(error instanceof SelectorSyntaxError)) throw error;
    return err(`${error.message} at character ${error.at + 1}`);
  }
}

/** For constants and values already validated; throws TypeError on bad text. */
export function selector(text: string): Selector {
  const parsed = parseSelector(text);
  if (!parsed.ok) throw new TypeError(parsed.error);
  return parsed.value;
}

/** A record of labels, as resources carry them, as something to match. */
export const labelsOf = (record: Readonly<Record<string, string>> | undefined): Labels => ({
  get: (name) => (record && Object.hasOwn(record, name) ? record[name] : undefined),
});

/** Whether a selector, as text, matches; one that cannot be read matches nothing. */
export function selectorMatches(text: string, labels: Labels): boolean {
  const parsed = parseSelector(text);
  return parsed.ok && parsed.value.matches(labels);
}

/**
 * Own labels first, then those of each parent in order: what a name means is looked up when asked for, so that a change of a parent costs
 * its children nothing.
 */
export class InheritedLabels implements Labels {
  readonly #sources: readonly Labels[];
  constructor(own: Labels, parents: readonly Labels[]) {
    this.#sources = [own, ...parents];
  }
  get(name: string): string | undefined {
    for (const source of this.#sources) {
      const value = source.get(name);
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

function remember(text: string, parsed: Selector): void {
  if (recent.size >= RECENT) recent.delete(recent.keys().next().value as string);
  recent.set(text, parsed);
}
