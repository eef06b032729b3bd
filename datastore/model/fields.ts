import * as z from 'zod';
import { type Addr, familyOf, parseAddr, parseCidr, parsePrefix, parseSelector, selectorTree } from '#core';
import { parseAsNumber } from '../as-number.ts';
import { parseDuration } from '../duration.ts';

/**
 * The vocabulary that schemas are written in: one word per sort of value that Calico's resources have (calico-datastore.md 2.0).
 *
 * A schema describes; it never changes a value and never drops an unknown field. An empty text and null count as absent, because Go writes
 * both for what was never set. A limit (length, count, pattern of taste) is enforced on write and tolerated on read, since older releases did not enforce it.
 */

/** Says what is wrong with a text, or nothing. */
export type Check = (text: string) => string | null;

/** Marks an issue that a reader tolerates. */
export const LIMIT = { limit: true };

/** What an issue list of zod takes. */
type Issues = { push(issue: { code: 'custom'; message: string; input: unknown; params?: object }): void };

function judge(value: string, check: Check, limit: Check | undefined, issues: Issues): void {
  const message = check(value);
  if (message) issues.push({ code: 'custom', message, input: value });
  const over = !message && limit?.(value);
  if (over) issues.push({ code: 'custom', message: over, input: value, params: LIMIT });
}

/** A text that passes the check; required, hence not empty. What only `limit` refuses is tolerated on read. */
export const text = <T extends string = string>(check: Check = () => null, limit?: Check): z.ZodType<T> =>
  z.string().check((ctx) => {
    judge(ctx.value, (value) => (value === '' ? 'is required' : check(value)), limit, ctx.issues);
  }) as unknown as z.ZodType<T>;

/** As `text`, but it may be empty, null or absent. */
export const maybe = <T extends string = string>(check: Check = () => null, limit?: Check): z.ZodType<T | undefined> =>
  opt(
    z.string().check((ctx) => {
      if (ctx.value !== '') judge(ctx.value, check, limit, ctx.issues);
    }),
  ) as unknown as z.ZodType<T | undefined>;

/** Absent or null is fine too. */
export const opt = <T>(schema: z.ZodType<T>): z.ZodType<T | undefined> =>
  schema.nullish() as unknown as z.ZodType<T | undefined>;

/** An object with at least these fields; others are left alone. The type parameter makes a forgotten or misspelt field a compile error. */
export const object = <T extends object>(shape: { [F in keyof Required<T>]: z.ZodType<T[F]> }): z.ZodType<T> =>
  z.looseObject(shape as z.ZodRawShape) as unknown as z.ZodType<T>;

/** A list, on write at most `max` long. */
export const list = <T>(item: z.ZodType<T>, max = Number.POSITIVE_INFINITY): z.ZodType<T[] | undefined> =>
  z
    .array(item)
    .check((ctx) => {
      if (ctx.value.length > max)
        ctx.issues.push({ code: 'custom', message: `has more than ${max} entries`, input: ctx.value, params: LIMIT });
    })
    .nullish() as unknown as z.ZodType<T[] | undefined>;

export const bool: z.ZodType<boolean | undefined> = opt(z.boolean());

/** A number, whole or not. */
export const real: z.ZodType<number | undefined> = opt(z.number());

/** A whole number within bounds, inclusive. */
export const int = (min: number, max: number): z.ZodType<number> =>
  z.number().check((ctx) => {
    if (!Number.isInteger(ctx.value) || ctx.value < min || ctx.value > max)
      ctx.issues.push({ code: 'custom', message: `must be a whole number from ${min} to ${max}`, input: ctx.value });
  });

/** Text to text, as in labels; keys are checked elsewhere. */
export const textMap: z.ZodType<Record<string, string> | undefined> = opt(z.record(z.string(), z.string()));

/** One of the words, in exactly this spelling. */
export const word =
  (...words: readonly string[]): Check =>
  (value) =>
    words.includes(value) ? null : `must be one of ${words.join(', ')}; '${shown(value)}' is not`;

/** One of the words, in any letter case. */
export const anyCase =
  (...words: readonly string[]): Check =>
  (value) =>
    words.some((w) => w.toLowerCase() === value.toLowerCase())
      ? null
      : `must be one of ${words.join(', ')}; '${shown(value)}' is not`;

export const matching =
  (pattern: RegExp, what: string): Check =>
  (value) =>
    pattern.test(value) ? null : `must be ${what}; '${shown(value)}' is not`;

/** An address without a length, of the family if one is given. */
export const address =
  (family?: 4 | 6): Check =>
  (value) => {
    const parsed = parseAddr(value);
    if (!parsed.ok) return `must be an IP address; '${shown(value)}' is not`;
    return wrongFamily(parsed.value, family);
  };

/** An address or CIDR; host bits may be set. */
export const cidr =
  (family?: 4 | 6): Check =>
  (value) => {
    const parsed = parseCidr(value);
    return parsed.ok ? wrongFamily(parsed.value.addr, family) : parsed.error;
  };

/** An address or CIDR without host bits. */
export const net =
  (family?: 4 | 6): Check =>
  (value) => {
    const parsed = parsePrefix(value);
    return parsed.ok ? wrongFamily(parsed.value, family) : parsed.error;
  };

/** A CIDR whose length is written out, without host bits. */
export const maskedNet =
  (family?: 4 | 6): Check =>
  (value) =>
    value.includes('/') ? net(family)(value) : `must be a CIDR with a prefix length; '${shown(value)}' has none`;

function wrongFamily(value: string, family?: 4 | 6): string | null {
  return !family || familyOf(value as Addr) === family ? null : `must be IPv${family}; '${shown(value)}' is not`;
}

export const mac = matching(/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/, 'a MAC address such as 66:0a:11:22:33:44');
export const interfaceName = matching(/^[a-zA-Z0-9_.-]{1,15}$/, 'an interface name of at most 15 of [a-zA-Z0-9_.-]');
export const interfacePattern: Check = (value) =>
  /^[a-zA-Z0-9_.*-]{1,15}$/.test(value)
    ? null
    : `must be an interface name or pattern of at most 15 of [a-zA-Z0-9_.*-]; '${shown(value)}' is not`;

const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const RESOURCE_NAME = new RegExp(`^${LABEL}(\\.${LABEL})*$`);

/** The name of any resource: lower-case DNS labels joined with dots, at most 253 bytes. */
export const resourceName: Check = (value) =>
  RESOURCE_NAME.test(value) && value.length <= 253
    ? null
    : `must be lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit, at most 253 bytes; '${shown(value)}' is not`;

/** A selector that parses; `global()` has a meaning only in a rule's namespaceSelector. Use with `selectorLimit`. */
export const selector: Check = (value) => {
  const parsed = parseSelector(value);
  if (!parsed.ok) return parsed.error;
  return hasGlobal(parsed.value.root) ? 'global() is only for the namespaceSelector of a rule' : null;
};

function hasGlobal(root: selectorTree.SelectorNode): boolean {
  let found = false;
  selectorTree.mapLeaves(root, (leaf) => {
    found ||= leaf.op === 'global';
    return leaf;
  });
  return found;
}

/** The longest selector that the schema of 3.32 and later takes. */
export const selectorLimit: Check = (value) => (value.length > 1024 ? 'is longer than 1024 characters' : null);

/** An optional selector. */
export const maybeSelector: z.ZodType<string | undefined> = maybe(selector, selectorLimit);

/** A Go duration: `90s`, `1m30s`. */
export const duration: Check = (value) => {
  const parsed = parseDuration(value);
  return parsed.ok ? null : parsed.error;
};

/** A number, or a number as plain or dotted text. */
export const asNumber: z.ZodType<number | string | undefined> = opt(
  z.union([z.number(), z.string()]).check((ctx) => {
    const parsed = parseAsNumber(ctx.value);
    if (!parsed.ok) ctx.issues.push({ code: 'custom', message: parsed.error, input: ctx.value });
  }),
);

/** As `asNumber`; 0 stands for "none", as older clients write it. */
export const zeroOrAsNumber: z.ZodType<number | string | undefined> = opt(
  z.union([z.literal(0), asNumber]),
) as z.ZodType<number | string | undefined>;

/** Untrusted text as it may stand in a message: bounded, control characters escaped. */
export function shown(value: string, most = 80): string {
  const cut = value.length > most ? `${value.slice(0, most)}…` : value;
  return cut.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
