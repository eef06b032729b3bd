import { type Family, familyOf, parseAddr, parseCidr, parsePrefix } from '#core';

/** Why a value is not accepted; the caller adds where it was given. */
export class Refused extends Error {}

export const text = (t: string): string => t;
export const list = (t: string): string[] =>
  t
    .split(',')
    .map((s) => s.trim())
    .filter(Boolean);
export const oneOf =
  <T extends string>(...words: readonly T[]) =>
  (t: string): T => {
    const found = words.find((word) => word.toLowerCase() === t.toLowerCase());
    if (!found) throw new Refused(`must be one of ${words.join(', ')}`);
    return found;
  };
export const truth = (t: string): boolean => {
  if (/^(true|1|yes|on)$/i.test(t)) return true;
  if (/^(false|0|no|off|)$/i.test(t)) return false;
  throw new Refused('must be true or false');
};
export const nodeName = (t: string): string => {
  const name = t.trim();
  if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name) || name.length > 253)
    throw new Refused('must be a lower-case DNS name of at most 253 characters');
  return name;
};
export const asNumber = (t: string): number => {
  const dotted = /^(\d{1,5})\.(\d{1,5})$/.exec(t);
  const value = dotted ? Number(dotted[1]) * 65536 + Number(dotted[2]) : Number(t);
  if (!/^\d+(\.\d+)?$/.test(t) || !Number.isInteger(value) || value < 1 || value > 4294967295)
    throw new Refused('must be an AS number, 1 to 4294967295');
  return value;
};
export const routerId = (t: string): string => {
  const parsed = parseAddr(t);
  if (t !== 'hash' && !(parsed.ok && !t.includes(':'))) throw new Refused("must be an IPv4 address or 'hash'");
  return t;
};
/** Empty: what the resource says, else autodetected; `autodetect`; `none`; or an address with its prefix length. */
export const nodeAddress =
  (family: 4 | 6) =>
  (t: string): string => {
    if (t === '' || t === 'autodetect' || t === 'none') return t;
    const parsed = parseCidr(t);
    if (!parsed.ok || parsed.value.addr.includes(':') !== (family === 6))
      throw new Refused(`must be an IPv${family} address with its prefix length, 'autodetect' or 'none'`);
    return t;
  };
export const detection = (t: string): string => {
  if (!/^(first-found|(can-reach|interface|skip-interface|cidr)=.+)$/.test(t))
    throw new Refused('must be first-found, can-reach=HOST, interface=REGEX, skip-interface=REGEX or cidr=CIDR[,CIDR]');
  const [method, argument] = [t.slice(0, t.indexOf('=')), t.slice(t.indexOf('=') + 1)];
  for (const word of argument.split(',').map((w) => w.trim())) {
    if (method === 'cidr' && !parsePrefix(word).ok)
      throw new Refused(`has ${JSON.stringify(word)}, which is no network`);
    if (method.endsWith('interface') && !isRegex(word))
      throw new Refused(`has ${JSON.stringify(word)}, which is no regular expression`);
  }
  return t;
};
function isRegex(text: string): boolean {
  try {
    return new RegExp(text) instanceof RegExp;
  } catch {
    return false;
  }
}
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}
/** IPv6 stands in brackets, and IPv4 may: who puts an address in from a variable need not know its family. */
export const listenAddress = (t: string): ListenAddress => {
  const m = /^(?:\[([0-9a-fA-F:.]+)\]|([^:]*)):(\d{1,5})$/.exec(t);
  const port = m ? Number(m[3]) : -1;
  if (!m || port > 65535) throw new Refused('must be ADDRESS:PORT, for example 127.0.0.1:9091 or [::1]:9091');
  return { host: m[1] ?? (m[2] || '0.0.0.0'), port };
};
export const prefixes = (t: string): string[] => {
  const all = list(t);
  if (all.length === 0 || all.some((p) => !/^[a-zA-Z0-9_.-]{1,14}$/.test(p)))
    throw new Refused('must be interface name prefixes of 1 to 14 characters, separated by commas');
  return all;
};

/** A network of the family; `none` is the same as not given. */
export const poolCidr =
  (family: Family) =>
  (t: string): string => {
    if (t === 'none') return '';
    const parsed = parsePrefix(t);
    if (!parsed.ok || !t.includes('/') || familyOf(parsed.value) !== family)
      throw new Refused(`must be an IPv${family} network such as ${family === 4 ? '10.65.0.0/16' : 'fd00:65::/48'}`);
    return parsed.value;
  };
export const whole =
  (least: number, most: number) =>
  (t: string): number => {
    if (!/^[0-9]{1,9}$/.test(t) || Number(t) < least || Number(t) > most)
      throw new Refused(`must be a whole number, ${least} to ${most}`);
    return Number(t);
  };
