import type { SetOperator, TextOperator } from './ast.ts';

/** At most so many characters in a label name. */
export const MAX_LABEL = 512;

/** What is wrong, and where: `at` is the offset in characters, from 0. */
export class SelectorSyntaxError extends Error {
  readonly at: number;
  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

/** The operator words with their parts; blanks between the parts are optional (`notin`, `starts  with`). */
const WORDS: readonly { parts: readonly string[]; op: TextOperator | SetOperator }[] = [
  { parts: ['contains'], op: 'contains' },
  { parts: ['starts', 'with'], op: 'starts with' },
  { parts: ['ends', 'with'], op: 'ends with' },
  { parts: ['in'], op: 'in' },
  { parts: ['not', 'in'], op: 'not in' },
];

/**
 * Reads the text of a selector from left to right. The language has no token classes of its own: a word is an operator only right after
 * a label and a label everywhere else, so the parser says what it wants next.
 */
export class SelectorLexer {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get at(): number {
    return this.#at;
  }
  get atEnd(): boolean {
    this.#skipBlanks();
    return this.#at === this.#text.length;
  }

  /** Takes the symbol if it comes next. */
  take(symbol: string): boolean {
    this.#skipBlanks();
    if (!this.#text.startsWith(symbol, this.#at)) return false;
    this.#at += symbol.length;
    return true;
  }

  expect(symbol: string): void {
    if (!this.take(symbol)) this.fail(`expected '${symbol}'`);
  }

  /** A label name, or an empty string if none stands here. */
  label(): string {
    this.#skipBlanks();
    const start = this.#at;
    const end = this.#endOfLabel(start);
    if (end - start > MAX_LABEL) this.fail(`label is longer than ${MAX_LABEL} characters`);
    this.#at = end;
    return this.#text.slice(start, end);
  }

  /** Takes a parenthesis that touches the word before it, as in `has(`. */
  takeAttached(symbol: string): boolean {
    if (!this.#text.startsWith(symbol, this.#at)) return false;
    this.#at += symbol.length;
    return true;
  }

  /** The operator after a label. */
  operator(): TextOperator | SetOperator | undefined {
    if (this.take('==')) return '==';
    if (this.take('!=')) return '!=';
    this.#skipBlanks();
    for (const { parts, op } of WORDS) {
      const end = this.#endOfWords(parts);
      if (end === undefined) continue;
      this.#at = end;
      return op;
    }
    return undefined;
  }

  /** A quoted string without its quotes, or undefined if none begins here. There are no escapes. */
  string(): string | undefined {
    this.#skipBlanks();
    const quote = this.#text[this.#at];
    if (quote !== '"' && quote !== "'") return undefined;
    const end = this.#text.indexOf(quote, this.#at + 1);
    if (end < 0) this.fail('string is not terminated');
    const value = this.#text.slice(this.#at + 1, end);
    this.#at = end + 1;
    return value;
  }

  fail(message: string): never {
    const rest = this.#text.slice(this.#at, this.#at + 12);
    const found = rest === '' ? 'the end' : JSON.stringify(rest);
    throw new SelectorSyntaxError(`${message}, found ${found}`, this.#at);
  }

  #endOfWords(parts: readonly string[]): number | undefined {
    let at = this.#at;
    for (const part of parts) {
      at = this.#endOfBlanks(at);
      if (!this.#text.startsWith(part, at)) return undefined;
      at += part.length;
    }
    return this.#endOfLabel(at) === at ? at : undefined;
  }

  #skipBlanks(): void {
    this.#at = this.#endOfBlanks(this.#at);
  }

  #endOfBlanks(from: number): number {
    let at = from;
    while (this.#text[at] === ' ' || this.#text[at] === '\t') at++;
    return at;
  }

  #endOfLabel(from: number): number {
    let at = from;
    while (isLabelCharacter(this.#text.charCodeAt(at))) at++;
    return at;
  }
}

/** `-` to `9` is `-./0-9`; then letters and the underscore. */
const isLabelCharacter = (code: number): boolean =>
  (code >= 0x2d && code <= 0x39) || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a) || code === 0x5f;
