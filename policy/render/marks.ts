import { err, ok, type Result } from '#core';

/** The bits of the packet mark that the chains use; their places are Calico's, so that both read the same on one node. */
export interface Marks {
  /** The packet was allowed. */
  readonly accept: number;
  /** The tier was left by Pass. */
  readonly pass: number;
  /** Two bits for match blocks (rule.ts). */
  readonly scratch0: number;
  readonly scratch1: number;
}

/** Takes bits from the mask, lowest first: accept, pass, one that Calico calls drop and tsnet leaves alone, and two scratch bits. */
export function allocateMarks(mask: number): Result<Marks, string> {
  const bits: number[] = [];
  for (let bit = 0; bit < 32; bit++) if ((mask >>> bit) & 1) bits.push((1 << bit) >>> 0);
  if (bits.length < 5) return err(`the mark mask 0x${(mask >>> 0).toString(16)} has ${bits.length} bits; 5 are needed`);
  const [accept, pass, , scratch0, scratch1] = bits;
  return ok({ accept, pass, scratch0, scratch1 });
}
