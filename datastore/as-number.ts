import { err, ok, type Result } from '#core';

/**
 * Reads an AS number in any form that Calico stores: a JSON number, its decimal text, or the dotted text of RFC 5396
 * (`"1.10"` is 65546). Valid are 1 to 4294967295; RFC 7607 forbids 0.
 */
export function parseAsNumber(value: number | string): Result<number, string> {
  const number = typeof value === 'number' ? value : fromText(value);
  if (Number.isInteger(number) && number >= 1 && number <= 0xffffffff) return ok(number);
  return err(
    `must be an AS number from 1 to 4294967295, or dotted as 1.10; ${JSON.stringify(String(value).slice(0, 40))} is not`,
  );
}

function fromText(text: string): number {
  const dotted = /^([0-9]{1,5})\.([0-9]{1,5})$/.exec(text);
  if (dotted) {
    const [high, low] = [Number(dotted[1]), Number(dotted[2])];
    return high <= 0xffff && low <= 0xffff ? high * 65536 + low : Number.NaN;
  }
  return /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN;
}
