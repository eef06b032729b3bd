import type { Span } from '../store.ts';

/** Characters of a text that stand for themselves in JSON: printable ASCII but the quote and the backslash. */
const PLAIN = new Uint8Array(256);
for (let c = 0x20; c < 0x7f; c++) PLAIN[c] = c === 0x22 || c === 0x5c ? 0 : 1;

const [QUOTE, COMMA, COLON, ZERO] = [0x22, 0x2c, 0x3a, 0x30];
const OBJECT = { open: 0x7b, close: 0x7d };
const LIST = { open: 0x5b, close: 0x5d };
const NULL = [...Buffer.from('null')];

/** Places for texts that were seen; a newer text takes the place of an older one. */
const PLACES = 1 << 16;
/** A text longer than this is not looked for among those that were seen. */
const SHORT = 96;
/** Digits of a number that is whole without a doubt. */
const DIGITS = 9;

/**
 * A reader of JSON as programs write it: no blanks between tokens, no escapes, ASCII only, whole numbers. It reads bytes where they lie, so that what nobody
 * wants costs a look at each byte and nothing more; texts that come again and again are the same string each time. On anything else that JSON
 * may hold, and on what is no JSON, it gives up: `isPlain` is false from then on, and what it gave means nothing.
 */
export class PlainJson {
  #isPlain = false;
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;
  readonly #seen: (string | undefined)[] = new Array(PLACES);
  /** Places of words, which are never given away. */
  readonly #words = new Set<number>();

  /** @param words texts that are asked for by the caller: each is found as the caller's own string, which is quick to compare */
  constructor(words: readonly string[]) {
    for (const word of words) {
      const buffer = Buffer.from(`"${word}"`);
      this.begin({ buffer, from: 0, to: buffer.length });
      const place = this.#text() & (PLACES - 1);
      this.#seen[place] = word;
      this.#words.add(place);
    }
  }

  /** Begins to read a value. */
  begin({ buffer, from, to }: Span): void {
    this.#bytes = buffer;
    this.#at = from;
    this.#end = to;
    this.#isPlain = true;
  }

  /** Whether everything was read and was what was asked for. */
  get isDone(): boolean {
    return this.#isPlain && this.#at === this.#end;
  }

  giveUp(): void {
    this.#isPlain = false;
    this.#at = this.#end;
  }

  /** Enters an object; whether it has a field. After the value of each, `anotherField` tells whether there is one more. */
  object(): boolean {
    return this.#enter(OBJECT.open, OBJECT.close);
  }
  anotherField(): boolean {
    return this.#another(OBJECT.close);
  }
  /** Enters a list; whether it has an item. After each, `anotherItem` tells whether there is one more. */
  list(): boolean {
    return this.#enter(LIST.open, LIST.close);
  }
  anotherItem(): boolean {
    return this.#another(LIST.close);
  }

  /** The name of a field. */
  name(): string {
    const name = this.text();
    if (this.#bytes[this.#at++] !== COLON) this.giveUp();
    return name;
  }

  /** A text that others are likely to have too. */
  text(): string {
    const from = this.#at + 1;
    const hash = this.#text();
    if (!this.#isPlain) return '';
    const length = this.#at - 1 - from;
    if (length > SHORT) return this.#bytes.toString('latin1', from, from + length);
    const place = hash & (PLACES - 1);
    const seen = this.#seen[place];
    if (seen !== undefined && seen.length === length && this.#stands(seen, from)) return seen;
    const text = this.#bytes.toString('latin1', from, from + length);
    if (!this.#words.has(place)) this.#seen[place] = text;
    return text;
  }

  /** A text that is unlikely to come again. */
  ownText(): string {
    const from = this.#at + 1;
    this.#pass();
    return this.#isPlain ? this.#bytes.toString('latin1', from, this.#at - 1) : '';
  }

  /** A whole number that is not negative. */
  number(): number {
    const from = this.#at;
    let value = 0;
    let digit = this.#bytes[from] - ZERO;
    while (digit >= 0 && digit <= 9 && this.#at < this.#end) {
      value = value * 10 + digit;
      digit = this.#bytes[++this.#at] - ZERO;
    }
    const length = this.#at - from;
    if (length === 0 || length > DIGITS || (length > 1 && this.#bytes[from] === ZERO)) this.giveUp();
    return value;
  }

  /** Passes over a text, a number or null. */
  skip(): void {
    const byte = this.#bytes[this.#at];
    if (byte === QUOTE) this.#pass();
    else if (byte !== NULL[0]) this.number();
    else if (NULL.every((letter, i) => this.#bytes[this.#at + i] === letter)) this.#at += NULL.length;
    else this.giveUp();
  }

  #enter(open: number, close: number): boolean {
    if (this.#at >= this.#end || this.#bytes[this.#at++] !== open) this.giveUp();
    if (!this.#isPlain || this.#bytes[this.#at] !== close) return this.#isPlain;
    this.#at++;
    return false;
  }

  #another(close: number): boolean {
    if (this.#at >= this.#end) this.giveUp();
    if (!this.#isPlain) return false;
    const byte = this.#bytes[this.#at++];
    if (byte !== COMMA && byte !== close) this.giveUp();
    return byte === COMMA;
  }

  /** Passes over a text. */
  #pass(): void {
    const bytes = this.#bytes;
    let at = this.#at;
    if (bytes[at] === QUOTE) at++;
    else this.giveUp();
    while (PLAIN[bytes[at]] === 1) at++;
    this.#close(at);
  }

  /** Passes over a text and gives its hash (FNV-1a, its halves mixed). */
  #text(): number {
    const bytes = this.#bytes;
    let at = this.#at;
    let hash = 0x811c9dc5;
    if (bytes[at] !== QUOTE) this.giveUp();
    else {
      let byte = bytes[++at];
      while (PLAIN[byte] === 1) {
        hash = Math.imul(hash ^ byte, 0x01000193);
        byte = bytes[++at];
      }
      this.#close(at);
    }
    return hash ^ (hash >>> 15);
  }

  /** @param at where the quote after a text should be */
  #close(at: number): void {
    if (this.#isPlain && at < this.#end && this.#bytes[at] === QUOTE) this.#at = at + 1;
    else this.giveUp();
  }

  #stands(text: string, from: number): boolean {
    const bytes = this.#bytes;
    for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== bytes[from + i]) return false;
    return true;
  }
}
