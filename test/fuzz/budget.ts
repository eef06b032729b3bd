/**
 * How long to fuzz and where to begin. A test run is bounded and repeats itself; `npm run fuzz` sets FUZZ_FACTOR and a fresh FUZZ_SEED, which a
 * failure prints so that it can be run again.
 */
export const factor = Number(process.env.FUZZ_FACTOR ?? 1);
export const seed = Number(process.env.FUZZ_SEED ?? 1);

/** Milliseconds that a test may take, in proportion. */
export const timeout = 120_000 * Math.max(1, factor);

/** xorshift32: the same numbers for the same seed, on every machine. */
export function randomFrom(start: number): (below: number) => number {
  let state = (start ^ 0x9e3779b9) | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
