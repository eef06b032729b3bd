/** Ways to spoil bytes: those that broke parsers before. */

type Random = (below: number) => number;

const INTERESTING = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 32, 33, 64, 127, 128, 129, 192, 254, 255];

/** A changed copy of `bytes`; `other` lends a piece now and then. */
export function mutate(bytes: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  let out = bytes;
  for (let times = 1 + random(4); times > 0; times--) out = CHANGES[random(CHANGES.length)](out, other, random);
  return out;
}

type Change = (bytes: Uint8Array, other: Uint8Array, random: Random) => Uint8Array;

const set: (value: (old: number, random: Random) => number) => Change = (value) => (bytes, _other, random) => {
  const out = bytes.slice();
  const at = random(out.length || 1);
  if (out.length > 0) out[at] = value(out[at], random);
  return out;
};

/** `bytes` with `[from, to)` replaced. */
const splice = (bytes: Uint8Array, from: number, to: number, by: Uint8Array): Uint8Array => {
  const out = new Uint8Array(from + by.length + bytes.length - to);
  out.set(bytes.subarray(0, from));
  out.set(by, from);
  out.set(bytes.subarray(to), from + by.length);
  return out;
};

const piece = (bytes: Uint8Array, random: Random): Uint8Array => {
  const from = random(bytes.length + 1);
  return bytes.slice(from, Math.min(bytes.length, from + random(24)));
};

const CHANGES: readonly Change[] = [
  set((old, random) => old ^ (1 << random(8))),
  set((_old, random) => random(256)),
  set((_old, random) => INTERESTING[random(INTERESTING.length)]),
  set((old, random) => old + (random(2) ? 1 : -1)),
  // Cut, insert, repeat, and take from another.
  (bytes, _other, random) => bytes.slice(0, random(bytes.length + 1)),
  (bytes, _other, random) => {
    const from = random(bytes.length + 1);
    return splice(bytes, from, Math.min(bytes.length, from + random(8)), new Uint8Array(0));
  },
  (bytes, _other, random) =>
    splice(
      bytes,
      ...twice(random(bytes.length + 1)),
      Uint8Array.from({ length: random(8) }, () => random(256)),
    ),
  (bytes, _other, random) => splice(bytes, ...twice(random(bytes.length + 1)), piece(bytes, random)),
  (bytes, other, random) => splice(bytes, ...twice(random(bytes.length + 1)), piece(other, random)),
];

const twice = (at: number): [number, number] => [at, at];
