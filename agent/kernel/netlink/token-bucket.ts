import type { KernelBucket, TokenBucket } from '../types.ts';
import { type Datagram, LITTLE, type MessageWriter } from './message.ts';

/** TCA_TBF_* (linux/pkt_sched.h). */
const TBF = { PARMS: 1, RATE64: 4, PRATE64: 5, BURST: 6, PBURST: 7 } as const;
const WORD = 0xffff_ffff;
/** TC_LINKLAYER_ETHERNET: the kernel computes times itself and needs no table of them. */
const ETHERNET = 1;
/** struct tc_tbf_qopt: two tc_ratespec of 12 bytes, then limit, buffer and mtu. */
const RATESPEC = 12;

/** Appends the options of a `tbf`. The burst goes as bytes; how long it takes at the rate is the kernel's to compute. */
export function encodeBucket(w: MessageWriter, { rate, burst, limit, peak }: TokenBucket): void {
  const parameters = Buffer.alloc(2 * RATESPEC + 12);
  const word = (value: number, at: number) =>
    LITTLE ? parameters.writeUInt32LE(value, at) : parameters.writeUInt32BE(value, at);
  parameters[1] = ETHERNET;
  parameters[RATESPEC + 1] = ETHERNET;
  word(Math.min(rate, WORD), 8);
  word(Math.min(peak?.rate ?? 0, WORD), RATESPEC + 8);
  word(limit, 2 * RATESPEC);
  w.attr(TBF.PARMS, parameters).attr32(TBF.BURST, burst);
  if (rate > WORD) w.attr(TBF.RATE64, wide(rate));
  if (!peak) return;
  w.attr32(TBF.PBURST, peak.burst);
  if (peak.rate > WORD) w.attr(TBF.PRATE64, wide(peak.rate));
}
const wide = (value: number): Uint8Array => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);

export function decodeBucket(d: Datagram, start: number, end: number): KernelBucket {
  const found = { rate: 0, peakRate: 0, limit: 0, burstTicks: 0, peakTicks: 0 };
  d.attributes(start, end, (type, at) => {
    if (type === TBF.PARMS) {
      found.rate = d.u32(at + 8);
      found.peakRate = d.u32(at + RATESPEC + 8);
      found.limit = d.u32(at + 2 * RATESPEC);
      found.burstTicks = d.u32(at + 2 * RATESPEC + 4);
      found.peakTicks = d.u32(at + 2 * RATESPEC + 8);
    }
  });
  d.attributes(start, end, (type, at) => {
    if (type === TBF.RATE64) found.rate = Number(d.view.getBigUint64(at, LITTLE));
    else if (type === TBF.PRATE64) found.peakRate = Number(d.view.getBigUint64(at, LITTLE));
  });
  return found;
}

/** Whether the kernel's bucket is the wanted one: it tells a burst as the time that it takes. */
export function sameBucket(want: TokenBucket, have: KernelBucket): boolean {
  return (
    want.rate === have.rate &&
    want.limit === have.limit &&
    (want.peak?.rate ?? 0) === have.peakRate &&
    near(ticks(want.burst, want.rate), have.burstTicks) &&
    (!want.peak || near(ticks(want.peak.burst, want.peak.rate), have.peakTicks))
  );
}

/** A tick of the packet scheduler is 64 ns (PSCHED_SHIFT). */
const TICK_SHIFT = 6n;
const NANOSECONDS = 1_000_000_000n;

/**
 * How long so many bytes take at a rate of bytes a second, as the kernel computes it: by a factor of 32 bits and a shift
 * (psched_ratecfg_precompute in net/sched/sch_generic.c). Told in 32 bits; what is longer wraps.
 */
export function ticks(bytes: number, rate: number): number {
  let factor = NANOSECONDS;
  let shift = 0n;
  let multiplier = factor / BigInt(rate);
  while (multiplier < 1n << 31n && factor < 1n << 63n) {
    factor <<= 1n;
    shift++;
    multiplier = factor / BigInt(rate);
  }
  return Number(BigInt.asUintN(32, (BigInt(bytes) * multiplier) >> (shift + TICK_SHIFT)));
}

/** The last bits are a matter of rounding, which kernels do not all do alike. */
const near = (a: number, b: number): boolean => {
  const apart = Math.abs(a - b);
  return Math.min(apart, 2 ** 32 - apart) <= 2 + Math.max(a, b) / 10_000;
};
