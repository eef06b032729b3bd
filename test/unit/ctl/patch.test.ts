import { describe, expect, test } from 'vitest';
import { jsonPatch, mergePatch, strategicPatch } from '../../../ctl/patch.ts';

describe('RFC 7396', () => {
  // The examples of its appendix A.
  test.each([
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('%j with %j is %j', (target, patch, result) => {
    expect(mergePatch(target, patch)).toEqual(result);
  });

  test('a name of the language is a name like any other', () => {
    const merged = mergePatch({}, JSON.parse('{"__proto__": {"polluted": true}}'));
    expect(JSON.stringify(merged)).toBe('{"__proto__":{"polluted":true}}');
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});

describe('strategic merge', () => {
  test.each([
    [{ a: { b: 1, c: 2 } }, { a: { b: 3 } }, { a: { b: 3, c: 2 } }],
    [{ a: { b: 1, c: 2 } }, { a: { $patch: 'replace', b: 3 } }, { a: { b: 3 } }],
    [{ a: { b: 1 }, x: 1 }, { a: { $patch: 'delete' } }, { x: 1 }],
    [{ a: [1, 2] }, { a: [3] }, { a: [3] }],
    [{ a: 1 }, { a: null }, {}],
  ])('%j with %j is %j', (target, patch, result) => {
    expect(strategicPatch(target, patch)).toEqual({ ok: true, value: result });
  });
  test('directives that mean nothing here are refused', () => {
    expect(strategicPatch({}, { a: { $patch: 'x' } })).toMatchObject({ ok: false });
    expect(strategicPatch({}, { '$deleteFromPrimitiveList/a': [1] })).toMatchObject({ ok: false });
  });
});

describe('RFC 6902', () => {
  test.each([
    [{ a: 1 }, [{ op: 'add', path: '/b', value: 2 }], { a: 1, b: 2 }],
    [{ a: [1, 3] }, [{ op: 'add', path: '/a/1', value: 2 }], { a: [1, 2, 3] }],
    [{ a: [1] }, [{ op: 'add', path: '/a/-', value: 2 }], { a: [1, 2] }],
    [{ a: 1, b: 2 }, [{ op: 'remove', path: '/b' }], { a: 1 }],
    [{ a: [1, 2] }, [{ op: 'remove', path: '/a/0' }], { a: [2] }],
    [{ a: 1 }, [{ op: 'replace', path: '/a', value: 2 }], { a: 2 }],
    [{ a: [1, 2] }, [{ op: 'replace', path: '/a/1', value: 9 }], { a: [1, 9] }],
    [{ a: 1 }, [{ op: 'move', from: '/a', path: '/b' }], { b: 1 }],
    [{ a: { x: 1 } }, [{ op: 'copy', from: '/a', path: '/b' }], { a: { x: 1 }, b: { x: 1 } }],
    [
      { 'a/b': 1, 'm~n': 2 },
      [
        { op: 'replace', path: '/a~1b', value: 3 },
        { op: 'test', path: '/m~0n', value: 2 },
      ],
      { 'a/b': 3, 'm~n': 2 },
    ],
  ])('%j with %j is %j', (target, patch, result) => {
    expect(jsonPatch(target, patch)).toEqual({ ok: true, value: result });
  });

  test.each([
    [{ a: 1 }, [{ op: 'test', path: '/a', value: 2 }], 'test failed'],
    [{ a: 1 }, [{ op: 'replace', path: '/b', value: 2 }], "nothing is at 'b'"],
    [{ a: 1 }, [{ op: 'remove', path: '/b/c' }], "nothing is at 'b'"],
    [{ a: [] }, [{ op: 'add', path: '/a/1', value: 2 }], 'not a place'],
    [{ a: 1 }, [{ op: 'zap', path: '/a' }], "'zap' is unknown"],
    [{ a: 1 }, [{ op: 'add' }], 'has no path'],
    [{ a: 1 }, { a: 2 }, 'a list of operations'],
  ])('%j with %j is refused: %s', (target, patch, message) => {
    const before = structuredClone(target);
    expect(jsonPatch(target, patch)).toEqual({ ok: false, error: expect.stringContaining(message) });
    expect(target).toEqual(before);
  });
});
