import { hash as digest } from 'node:crypto';
import { OperationalError, parseCidr } from '#core';
import type { ChainRule } from '../types.ts';

/** What may stand in the text of a rule, for every printer: each value is checked against what it may consist of, and a wrong one is refused. */

export interface PrintedRule {
  /** 16 characters, unique to the rule, its place and what stands before it; of a rule that is known by its text, the text. */
  readonly hash: string;
  /** Without what names the chain. */
  readonly text: string;
}

/** A rule whose text takes a hash, or one that is known by its text. */
export type Printing = { readonly body: string; text(hash: string): string } | string;

/** Hashes run from rule to rule, so they tell a moved rule from one in its place. */
export function hashed(
  chain: string,
  rules: readonly ChainRule[],
  print: (rule: ChainRule) => Printing,
): PrintedRule[] {
  let previous = '';
  return rules.map((rule) => {
    const printing = print(rule);
    if (typeof printing === 'string') {
      previous = printing;
      return { hash: printing, text: printing };
    }
    const { body, text } = printing;
    const hash = digest('sha224', `${chain}\0${previous}\0${body}`, 'base64url').slice(0, 16);
    previous = hash;
    return { hash, text: text(hash) };
  });
}

/** Everything but harmless characters becomes `_`: a comment or prefix informs, it may not decide where a line ends. */
export const printable = (text: string, max: number): string =>
  (HARMLESS.test(text) ? text : text.replaceAll('"', "'").replace(HARMFUL, '_')).slice(0, max);
const HARMLESS = /^[A-Za-z0-9 ,.:;=()<>&|*+/@#%_!'{}[\]-]*$/;
const HARMFUL = /[^A-Za-z0-9 ,.:;=()<>&|*+/@#%_!'{}[\]-]/g;

/** The prefix of a log line: what names the policy is cut to the room there is, the number of the rule never. */
export function logPrefix({ prefix, rule }: { readonly prefix: string; readonly rule: number }, max: number): string {
  const end = ` ${integer(rule, 0xffff)}: `;
  return `${printable(prefix, max - end.length)}${end}`;
}

export function refuse(what: string, value: string): never {
  throw new OperationalError('VALIDATION', `${what} ${JSON.stringify(value.slice(0, 80))} cannot stand in a rule`);
}
export const ifaceRef = (name: string): string =>
  /^[A-Za-z0-9_.-]{1,15}\+?$/.test(name) ? name : refuse('interface', name);
/** The name itself, without wildcard. */
export const exactInterface = (name: string): string =>
  name.endsWith('+') ? refuse('interface', name) : ifaceRef(name);
export function netRef(text: string): string {
  const parsed = parseCidr(text);
  return parsed.ok ? text : refuse('network', text);
}
export const integer = (value: number, most: number): number =>
  Number.isInteger(value) && value >= 0 && value <= most ? value : refuse('number', String(value));
export const hex = (value: number): string => `0x${integer(value, 0xffffffff).toString(16)}`;

const UNITS = { second: 1, minute: 60, hour: 3600, day: 86_400 } as const;
export interface Rate {
  readonly count: number;
  readonly unit: keyof typeof UNITS;
  /** Seconds of the unit. */
  readonly seconds: number;
}
/** In the smallest unit that makes it a whole number, at most `most`. */
export function rateOf(perSecond: number, most: number): Rate {
  for (const [unit, seconds] of Object.entries(UNITS)) {
    const count = Math.round(perSecond * seconds);
    if (count >= 1 && Math.abs(count - perSecond * seconds) < 1e-6 * count)
      return { count: integer(count, most), unit: unit as Rate['unit'], seconds };
  }
  return refuse('rate', String(perSecond));
}
export function rateRef(perSecond: number, most: number): string {
  const { count, unit } = rateOf(perSecond, most);
  return `${count}/${unit}`;
}
