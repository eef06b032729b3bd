import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Addr, addr } from '#core';
import {
  addCommunity,
  addrToId,
  asPathItems,
  COMMUNITY,
  communityText,
  countAs,
  forExternalPeer,
  hasCommunity,
  idToAddr,
  neighbourAs,
  originAs,
  originate,
  parseCommunity,
  prependAs,
  reflected,
  removeCommunity,
  withLocalPref,
  withOtc,
} from '../../../bgp/attributes.ts';
import { asPathLength } from '../../../bgp/wire/as-path.ts';
import type { PathAttributes } from '../../../bgp/wire/types.ts';
import { addrOf, asNumber, attributesOf, uint32 } from './wire/arbitrary.ts';

const hop = addr('10.0.0.1') as Addr;
const any = attributesOf(addrOf(4));

describe('AS_PATH', () => {
  test('prepending joins a sequence, and stands before a set', () => {
    const one = prependAs(originate(hop), [1]);
    expect(one.asPath).toEqual([{ type: 'sequence', asNumbers: [1] }]);
    expect(prependAs(one, [3, 2]).asPath).toEqual([{ type: 'sequence', asNumbers: [3, 2, 1] }]);
    const set = originate(hop, { asPath: [{ type: 'set', asNumbers: [7, 8] }] });
    expect(prependAs(set, [1]).asPath).toEqual([
      { type: 'sequence', asNumbers: [1] },
      { type: 'set', asNumbers: [7, 8] },
    ]);
    expect(prependAs(one, [])).toBe(one);
  });
  test('prepending lengthens the path by as many, and changes nothing else', () => {
    fc.assert(
      fc.property(any, fc.array(asNumber, { maxLength: 5 }), (value, list) => {
        const { asPath, ...rest } = prependAs(value, list);
        expect(asPathLength(asPath)).toBe(asPathLength(value.asPath) + list.length);
        expect({ ...rest, asPath: value.asPath }).toEqual(value);
        if (list.length > 0) expect(neighbourAs(asPath)).toBe(list[0]);
      }),
    );
  });
  test('an AS is counted wherever it stands; the ends are those of sequences', () => {
    const path: PathAttributes['asPath'] = [
      { type: 'sequence', asNumbers: [1, 2, 1] },
      { type: 'set', asNumbers: [1, 9] },
    ];
    expect([countAs(path, 1), countAs(path, 9), countAs(path, 5)]).toEqual([3, 1, 0]);
    expect([neighbourAs(path), originAs(path), asPathLength(path)]).toEqual([1, null, 4]);
    expect([neighbourAs([]), originAs([]), neighbourAs([path[1]])]).toEqual([null, null, null]);
    expect(originAs([path[1], path[0]])).toBe(1);
    expect(asPathItems(path)).toEqual([1, 2, 1, { set: [1, 9] }]);
  });
});

describe('towards a peer', () => {
  test('what belongs to the AS stays inside it', () => {
    fc.assert(
      fc.property(any, (value) => {
        const out = forExternalPeer(value);
        expect(out).toMatchObject({ localPref: null, med: null, originatorId: null, clusterList: [] });
        const { localPref, med, originatorId, clusterList } = value;
        expect({ ...out, localPref, med, originatorId, clusterList }).toEqual(value);
      }),
    );
  });
  test('reflection keeps the first originator and puts the cluster in front', () => {
    const once = reflected(originate(hop), 5, 100);
    expect(once).toMatchObject({ originatorId: 5, clusterList: [100] });
    expect(reflected(once, 6, 101)).toMatchObject({ originatorId: 5, clusterList: [101, 100] });
  });
  test('an equal local preference and an existing OTC give the same object', () => {
    const value = originate(hop, { localPref: 100, otc: 65001 });
    expect(withLocalPref(value, 100)).toBe(value);
    expect(withLocalPref(value, null).localPref).toBeNull();
    expect(withOtc(value, 65002)).toBe(value);
    expect(withOtc(originate(hop), 65002).otc).toBe(65002);
  });
});

describe('communities', () => {
  test.each([
    ['65000:1', 65000 * 65536 + 1],
    ['65535:0', COMMUNITY.gracefulShutdown],
    ['65535:65281', COMMUNITY.noExport],
    ['4200000000:0:4294967295', [4200000000, 0, 4294967295]],
  ])('%s', (text, value) => {
    expect(parseCommunity(text)).toEqual({ ok: true, value });
    expect(communityText(value as number | [number, number, number])).toBe(text);
  });
  test.each(['', '1', '65536:1', '1:65536', '1:2:3:4', '4294967296:1:1', '-1:2', '1:', 'a:b', '01:2', '1:2 '])(
    "'%s' is none",
    (text) => {
      expect(parseCommunity(text).ok).toBe(false);
    },
  );
  test('added once, in order, and removed again', () => {
    fc.assert(
      fc.property(any, uint32, fc.tuple(uint32, uint32, uint32), (value, standard, large) => {
        const more = addCommunity(addCommunity(value, standard), large);
        expect(hasCommunity(more, standard) && hasCommunity(more, large)).toBe(true);
        expect(addCommunity(addCommunity(more, standard), large)).toBe(more);
        expect([...more.communities].sort((a, b) => a - b)).toEqual(more.communities);
        const less = removeCommunity(more, standard);
        expect(hasCommunity(less, standard)).toBe(false);
        if (!hasCommunity(value, standard)) expect(less.communities).toEqual(value.communities);
      }),
    );
  });
});

test('identifiers are the numbers that addresses spell', () => {
  expect(addrToId(addr('192.168.0.255'))).toBe(0xc0a800ff);
  fc.assert(
    fc.property(uint32, (id) => {
      expect(addrToId(idToAddr(id))).toBe(id);
    }),
  );
});
