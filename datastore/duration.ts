import { err, type Milliseconds, ok, type Result } from '#core';

const UNITS: Record<string, Milliseconds> = {
  ns: 1e-6,
  us: 1e-3,
  '\u00b5s': 1e-3,
  '\u03bcs': 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Reads a Go duration (`90s`, `1m30s`, `1.5h`, `0`, `-1s`) as milliseconds, which may be a fraction. */
export function parseDuration(text: string): Result<Milliseconds, string> {
  const bad = () => err(`must be a duration such as 90s or 1m30s; ${JSON.stringify(text.slice(0, 40))} is not`);
  const sign = text[0] === '-' ? -1 : 1;
  const body = /^[+-]/.test(text) ? text.slice(1) : text;
  if (body === '0') return ok(0);
  if (body === '' || body.length > 100) return bad();
  const part = /([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/y;
  let total = 0;
  while (part.lastIndex < body.length) {
    const match = part.exec(body);
    if (!match) return bad();
    total += Number(match[1]) * UNITS[match[2]];
  }
  // Go keeps durations in 64 bits of nanoseconds.
  if (total > 9_223_372_036_854) return bad();
  return ok(sign * total);
}
