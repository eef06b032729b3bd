import { bytesToAddr, familyOf, type Prefix, prefixAddr, prefixLength } from '#core';
import type { NlriColumns } from '../wire/nlri.ts';
import type { NlriBlock } from '../wire/types.ts';
import { addressWords } from './addresses.ts';

/** Between prefixes as integers and prefixes as people write them. */

export function prefixText({ family, addr, length }: NlriColumns, index: number): Prefix {
  if (family === 4) {
    const word = addr[index];
    return `${word >>> 24}.${(word >>> 16) & 0xff}.${(word >>> 8) & 0xff}.${word & 0xff}/${length[index]}` as Prefix;
  }
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let word = 0; word < 4; word++) view.setUint32(word * 4, addr[index * 4 + word]);
  return `${bytesToAddr(bytes)}/${length[index]}` as Prefix;
}

/** A block of this one prefix. */
export function blockOf(prefix: Prefix): NlriBlock {
  const addr = addressWords(prefixAddr(prefix));
  return { family: familyOf(prefix), count: 1, addr, length: Uint8Array.of(prefixLength(prefix)), pathId: null };
}
