import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InheritedLabels, labelsOf, parseSelector, Selector, selector, selectorTree } from '#core';

const { chain, compare, compareBytes, has, inSet, not } = selectorTree;
const canonical = (text: string): string => selector(text).text;
const matches = (text: string, labels: Record<string, string>): boolean => selector(text).matches(labelsOf(labels));

describe('canonical form', () => {
  test.each([
    ['', 'all()'],
    [' \t ', 'all()'],
    ['all()', 'all()'],
    ['all( \t)', 'all()'],
    ['global()', 'global()'],
    ['has(a)', 'has(a)'],
    ['has(\ta/b.c-d_E )', 'has(a/b.c-d_E)'],
    ["a=='1'&&!( b in {\"y\",'x'} )", '(a == "1" && !b in {"x", "y"})'],
    ['a == "b"', 'a == "b"'],
    ["a != 'b'", 'a != "b"'],
    ['a == \'say "hi"\'', 'a == \'say "hi"\''],
    [`a == "it's"`, `a == "it's"`],
    ['a contains"x"', 'a contains "x"'],
    ['a starts with "x"', 'a starts with "x"'],
    ['a startswith "x"', 'a starts with "x"'],
    ['a starts \t with"x"', 'a starts with "x"'],
    ["a endswith ''", 'a ends with ""'],
    ['a in{"y","x","y"}', 'a in {"x", "y"}'],
    ['a in {"x",}', 'a in {"x"}'],
    ['a in {}', 'a in {}'],
    ['a not in { }', 'a not in {}'],
    ['a notin {"x"}', 'a not in {"x"}'],
    ['!!a == "b"', 'a == "b"'],
    ['! !!has(a)', '!has(a)'],
    ['!(!has(a))', 'has(a)'],
    ['!(has(a) && has(b))', '!(has(a) && has(b))'],
    ['((has(a)))', 'has(a)'],
    ['has(a) && has(b) || has(c)', '((has(a) && has(b)) || has(c))'],
    ['has(a) || has(b) && has(c)', '(has(a) || (has(b) && has(c)))'],
    ['has(a) && has(b) && has(c)', '(has(a) && has(b) && has(c))'],
    ['(has(a) && has(b)) && has(c)', '((has(a) && has(b)) && has(c))'],
    ['in == "x"', 'in == "x"'],
    ['has == "x"', 'has == "x"'],
    ['all == "x" && global == "y"', '(all == "x" && global == "y")'],
    ['contains contains "x"', 'contains contains "x"'],
    ['not not in {"x"}', 'not not in {"x"}'],
    ['not in {"x"}', 'not in {"x"}'],
    ['starts starts with "x"', 'starts starts with "x"'],
    ['-.-/_9 == "x"', '-.-/_9 == "x"'],
    ['a == "line\nbreak"', 'a == "line\nbreak"'],
  ])('%j is %j', (text, expected) => {
    expect(canonical(text)).toBe(expected);
  });

  test('sets are sorted by the bytes of UTF-8, where code points beyond 16 bits come last', () => {
    expect(canonical('a in {"\u{1F600}", "\uFFFD", "z"}')).toBe('a in {"z", "\uFFFD", "\u{1F600}"}');
  });
});

describe('what is refused, and where', () => {
  test.each([
    ['a', /operator after label a, found the end at character 2/],
    ['a b', /operator after label a, found "b" at character 3/],
    ['a = "b"', /operator after label/],
    ['a == b', /expected a string in quotes, found "b" at character 6/],
    ['"a" == "b"', /expected a label/],
    ['a == "b', /not terminated/],
    ['a == \'b"', /not terminated/],
    ['has(a', /expected '\)'/],
    ['has()', /expected a label/],
    ['has (a)', /operator after label has/],
    ['all (', /operator after label all/],
    ['all(a)', /expected '\)'/],
    ['(has(a)', /expected '\)'/],
    ['has(a))', /the end, found "\)" at character 7/],
    ['has(a) & has(b)', /expected '&&'/],
    ['has(a) | has(b)', /expected '&&'/],
    ['has(a) &&', /expected a label/],
    ['|| has(a)', /expected a label/],
    ['has(a) has(b)', /expected '&&'/],
    ['all()x', /expected '&&'/],
    ['a in "x"', /expected '\{'/],
    ['a in {,}', /expected '\}'/],
    ['a in {"x" "y"}', /expected '\}'/],
    ['a in {"x",,}', /expected '\}'/],
    ['a in {x}', /expected '\}'/],
    ['a inx {"b"}', /operator after label/],
    ['a containsx "b"', /operator after label/],
    ['a starts "b"', /operator after label/],
    ['a ! = "b"', /operator after label/],
    ['a\n== "b"', /operator after label/],
    ['%', /expected a label, a function or a parenthesis, found "%" at character 1/],
    ['!', /expected a label/],
    ['()', /expected a label/],
    ['é == "x"', /expected a label/],
    [`${'a'.repeat(513)} == "x"`, /longer than 512/],
    [`has(${'a'.repeat(513)})`, /longer than 512/],
    ['('.repeat(501), /parentheses within each other/],
    [`a == "${'x'.repeat(70_000)}"`, /more than 65536/],
  ])('%j', (text, message) => {
    const parsed = parseSelector(text);
    expect(parsed.ok ? parsed.value.text : parsed.error).toMatch(message);
  });

  test('limits are not reached by what they allow', () => {
    expect(parseSelector(`${'a'.repeat(512)} == "x"`).ok).toBe(true);
    expect(parseSelector(`${'('.repeat(500)}has(a)${')'.repeat(500)}`).ok).toBe(true);
    expect(canonical(`${'!'.repeat(60_001)}has(a)`)).toBe('!has(a)');
  });

  test('the throwing form is for constants', () => {
    expect(() => selector('a')).toThrow(TypeError);
  });
});

describe('evaluation', () => {
  test.each([
    ['all()', {}, true],
    ['global()', {}, true],
    ['has(a)', { a: '' }, true],
    ['has(a)', {}, false],
    ['a == "1"', { a: '1' }, true],
    ['a == "1"', { a: '2' }, false],
    ['a == ""', {}, false],
    ['a == ""', { a: '' }, true],
    ['a != "1"', {}, true],
    ['a != "1"', { a: '1' }, false],
    ['a != "1"', { a: '2' }, true],
    ['!a == "1"', {}, true],
    ['a in {"1","2"}', { a: '2' }, true],
    ['a in {"1","2"}', { a: '3' }, false],
    ['a in {"1","2"}', {}, false],
    ['a in {}', { a: '' }, false],
    ['a not in {"1"}', {}, true],
    ['a not in {"1"}', { a: '1' }, false],
    ['a not in {}', { a: '1' }, true],
    ['a contains "b"', { a: 'abc' }, true],
    ['a contains "x"', { a: 'abc' }, false],
    ['a contains ""', { a: '' }, true],
    ['a contains ""', {}, false],
    ['a starts with "ab"', { a: 'abc' }, true],
    ['a starts with "bc"', { a: 'abc' }, false],
    ['a starts with ""', {}, false],
    ['a ends with "bc"', { a: 'abc' }, true],
    ['a ends with "ab"', { a: 'abc' }, false],
    ['a ends with ""', {}, false],
    ['has(a) && has(b)', { a: '1' }, false],
    ['has(a) && has(b)', { a: '1', b: '1' }, true],
    ['has(a) || has(b)', { b: '1' }, true],
    ['has(a) || has(b)', {}, false],
    ['!(has(a) || has(b))', {}, true],
    ['has(constructor)', {}, false],
    ['__proto__ == "x"', {}, false],
  ])('%s of %j is %s', (text, labels, expected) => {
    expect(matches(text, labels as Record<string, string>)).toBe(expected);
  });

  test('inherited labels: own win, then the earlier parent', () => {
    const labels = new InheritedLabels(labelsOf({ a: 'own' }), [
      new Map([
        ['a', 'first'],
        ['b', 'first'],
      ]),
      new Map([
        ['b', 'second'],
        ['c', ''],
      ]),
    ]);
    expect(['a', 'b', 'c', 'd'].map((name) => labels.get(name))).toEqual(['own', 'first', '', undefined]);
  });

  test('a prefix goes before every label name and nowhere else', () => {
    const text = 'has(a) && !(b in {"b"} || c starts with "c") && all() && global()';
    expect(selector(text).prefixed('pcns.').text).toBe(
      '(has(pcns.a) && !(pcns.b in {"b"} || pcns.c starts with "c") && all() && global())',
    );
  });
});

const label = fc.oneof(
  fc.constantFrom('a', 'b', 'in', 'not', 'has', 'all', 'global', 'starts', 'with', 'contains'),
  fc.stringMatching(/^[a-zA-Z0-9_./-]{1,12}$/),
);
const value = fc.oneof(fc.constantFrom('', '1', 'x', "it's", 'say "x"'), fc.string({ maxLength: 8 })).map(oneQuoteOnly);
function oneQuoteOnly(text: string): string {
  return text.includes('"') ? text.replaceAll("'", '') : text;
}
const { tree } = fc.letrec<{ tree: selectorTree.SelectorNode }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    fc.constantFrom(selectorTree.ALL, selectorTree.GLOBAL),
    label.map(has),
    fc
      .tuple(label, fc.constantFrom('==', '!=', 'contains', 'starts with', 'ends with'), value)
      .map((t) => compare(...t)),
    fc.tuple(label, fc.constantFrom('in', 'not in'), fc.array(value, { maxLength: 4 })).map((t) => inSet(...t)),
    tie('tree').map(not),
    fc
      .tuple(fc.constantFrom('&&', '||'), fc.array(tie('tree'), { minLength: 1, maxLength: 4 }))
      .map((t) => chain(...t)),
  ),
}));

/** A second, plain reading of what a tree means. */
function holds(node: selectorTree.SelectorNode, labels: Map<string, string>): boolean {
  const found = 'label' in node ? labels.get(node.label) : undefined;
  switch (node.op) {
    case 'all':
    case 'global':
      return true;
    case '!':
      return !holds(node.term, labels);
    case '&&':
      return node.terms.every((term) => holds(term, labels));
    case '||':
      return node.terms.some((term) => holds(term, labels));
    case 'has':
      return found !== undefined;
    case '!=':
      return found !== node.value;
    case '==':
      return found === node.value;
    case 'in':
      return found !== undefined && node.values.includes(found);
    case 'not in':
      return found === undefined || !node.values.includes(found);
    case 'contains':
      return found !== undefined && found.indexOf(node.value) >= 0;
    case 'starts with':
      return found !== undefined && found.slice(0, node.value.length) === node.value;
    case 'ends with':
      return found !== undefined && (node.value === '' || found.slice(-node.value.length) === node.value);
  }
}

describe('properties', () => {
  test('what is printed parses back to the same tree', () => {
    fc.assert(
      fc.property(tree, (root) => {
        const { text } = new Selector(root);
        expect(selector(text).root).toEqual(root);
      }),
      { numRuns: 500 },
    );
  });

  test('the compiled form says what the tree means', () => {
    const labels = fc.array(fc.tuple(label, value), { maxLength: 6 }).map((entries) => new Map(entries));
    fc.assert(
      fc.property(tree, labels, (root, found) => {
        expect(new Selector(root).matches(found)).toBe(holds(root, found));
      }),
      { numRuns: 500 },
    );
  });

  test('any text is either read or refused with a position, never thrown', () => {
    const piece = fc.constantFrom(
      'has(',
      'all(',
      'global(',
      ')',
      '(',
      '!',
      '&&',
      '||',
      ' ',
      '\t',
      '\n',
      'a',
      'in',
      'not',
      '{',
      '}',
      ',',
      '"x"',
      "'",
      '"',
      '==',
      '!=',
      'starts',
      'with',
      '=',
      '&',
      '\0',
      'é',
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join('')),
    );
    fc.assert(
      fc.property(text, (input) => {
        const parsed = parseSelector(input);
        if (parsed.ok) expect(canonical(parsed.value.text)).toBe(parsed.value.text);
        else expect(parsed.error).toMatch(/ at character \d+$/);
      }),
      { numRuns: 3000 },
    );
  });

  test('the order of values is the order of their bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (a, b) => {
        expect(Math.sign(compareBytes(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
    );
  });
});
