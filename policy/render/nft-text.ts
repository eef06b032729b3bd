import { assertNever, type Family, OperationalError } from '#core';
import type { Action, Chain, ChainRule, Match, PortRange, SetId, Table } from '../types.ts';
import { isBare } from './bare.ts';
import { setName } from './names.ts';
import { hashed, hex, ifaceRef, integer, logPrefix, netRef, type PrintedRule, printable, rateRef } from './values.ts';

/**
 * Chains as nft writes them: what a person reads in golden files and in the report of a refused rule, and what the hashes are made of. As in
 * iptables-text.ts, a value that may not stand in a rule is refused (VALIDATION). The kernel is told the same in its own language
 * (agent/kernel/nftables); a test holds the two together. The tables of iptables become chains of one table: `filter-cali-FORWARD` is what
 * `cali-FORWARD` of table filter is there.
 */
export function printNftRules(table: Table, chain: string, rules: readonly ChainRule[], family: Family): PrintedRule[] {
  return hashed(chain, rules, (rule) => {
    const matches = cheapFirst(rule.match)
      .map((m) => printMatch(m, family))
      .join(' ');
    const comment = printable((rule.comments ?? []).join('; '), COMMENT_MAX);
    const action = printAction(rule.action, table, chain, family);
    return {
      body: [matches, comment, action].join('\0'),
      text: (hash) =>
        [matches, isBare(rule) ? '' : 'counter', action, `comment "cali:${hash}${comment && ` ${comment}`}"`]
          .filter((part) => part !== '')
          .join(' '),
    };
  });
}

const printed = new WeakMap<Chain, Map<string, PrintedRule[]>>();
/** As `printNftRules`; remembers the answer for as long as the chain lives. */
export function printNftChain(table: Table, chain: Chain, family: Family): PrintedRule[] {
  const known = printed.get(chain) ?? new Map<string, PrintedRule[]>();
  printed.set(chain, known);
  const key = `${table} ${family}`;
  const rules = known.get(key) ?? printNftRules(table, chain.name, chain.rules, family);
  known.set(key, rules);
  return rules;
}

/**
 * Matches as they stand in a rule of nftables. The kernel evaluates them in order and leaves the rule at the first that fails, so the cheap ones come
 * first. Measured (docs/BENCH.md): an address or a conntrack state takes 5 to 10 ns, a mark or a protocol 25, the name of an interface 80, because it
 * is copied; the reverse path 180, but no valid packet comes further. A limit counts what comes to it, so it stands last.
 */
export const cheapFirst = (matches: readonly Match[]): Match[] => [...matches].sort((a, b) => COST[a.m] - COST[b.m]);

const COST: Readonly<Record<Match['m'], number>> = {
  src: 0,
  dst: 0,
  ctstate: 1,
  'ctdir-original': 1,
  dnatted: 1,
  mark: 2,
  protocol: 3,
  icmp: 4,
  sports: 4,
  dports: 4,
  'src-set': 5,
  'dst-set': 5,
  'src-port-set': 5,
  'dst-port-set': 5,
  'rpf-failed': 6,
  in: 7,
  out: 7,
  addrtype: 8,
  limit: 9,
  'connlimit-above': 9,
};

/** NFTNL_UDATA_COMMENT_MAXLEN less its end, `cali:`, the hash and a space. */
const COMMENT_MAX = 127 - 22;

/** What a chain of one of iptables' tables is called in our own table. */
export function nftChain(table: Table, name: string): string {
  if (/^[A-Za-z0-9._/-]{1,28}$/.test(name)) return `${table}-${name}`;
  throw new OperationalError('VALIDATION', `chain ${JSON.stringify(name.slice(0, 80))} cannot stand in a rule`);
}
/** nft takes no colon in a name; no name of ours has a slash of its own. */
export const nftSet = (family: Family, id: SetId): string => setName(family, id).replaceAll(':', '/');

const iface = (name: string): string => `"${ifaceRef(name).replace(/\+$/, '*')}"`;
const portOrRange = ([a, b]: PortRange): string => (a === b ? `${integer(a, 65535)}` : dashed([a, b]));
const ports = (ranges: readonly PortRange[]): string =>
  ranges.length === 1 ? portOrRange(ranges[0]) : `{ ${ranges.map(portOrRange).join(', ')} }`;
const dashed = ([a, b]: PortRange): string => `${integer(a, 65535)}-${integer(b, 65535)}`;

function printMatch(match: Match, family: Family): string {
  const ip = family === 4 ? 'ip' : 'ip6';
  const not = 'negate' in match && match.negate ? '!= ' : '';
  switch (match.m) {
    case 'in':
    case 'out':
      return `${match.m === 'in' ? 'iifname' : 'oifname'} ${not}${iface(match.iface)}`;
    case 'protocol':
      return `meta l4proto ${not}${integer(match.protocol, 255)}`;
    case 'src':
    case 'dst':
      return `${ip} ${match.m[0]}addr ${not}${netRef(match.net)}`;
    case 'src-set':
    case 'dst-set':
      return `${ip} ${match.m[0]}addr ${not}@${nftSet(family, match.set)}`;
    case 'src-port-set':
    case 'dst-port-set': {
      const side = match.m[0];
      return `${ip} ${side}addr . meta l4proto . th ${side}port ${not}@${nftSet(family, match.set)}`;
    }
    case 'sports':
    case 'dports':
      return `th ${match.m.slice(0, -1)} ${not}${ports(match.ports)}`;
    case 'icmp':
      return printIcmp(match, family === 4 ? 'icmp' : 'icmpv6');
    case 'mark':
      return `meta mark & ${hex(match.mask)} ${match.negate ? '!=' : '=='} ${hex(match.value)}`;
    case 'ctstate':
      return `ct state ${match.negate ? '! ' : ''}${match.states.join(',').toLowerCase()}`;
    case 'ctdir-original':
      return `ct direction ${match.negate ? 'reply' : 'original'}`;
    case 'dnatted':
      return match.negate ? 'ct status & dnat == 0' : 'ct status dnat';
    case 'rpf-failed':
      return 'fib saddr . mark . iif oif missing';
    case 'addrtype':
      return printAddressType(match, not);
    case 'limit':
      return `limit rate ${rateRef(match.perSecond, 0xffffffff)} burst ${integer(match.burst, 10_000)} packets`;
    case 'connlimit-above':
      return `ct count over ${integer(match.count, 0xffffffff)}`;
    default:
      return assertNever(match);
  }
}

function printAddressType({ side, type, limitIface }: Match & { m: 'addrtype' }, not: string): string {
  const iface = limitIface === undefined ? '' : limitIface === 'in' ? ' . iif' : ' . oif';
  return `fib ${side[0]}addr${iface} type ${not}${type.toLowerCase()}`;
}

function printIcmp({ type, code, negate }: Match & { m: 'icmp' }, word: string): string {
  const t = integer(type, 255);
  if (code === undefined) return `${word} type ${negate ? '!= ' : ''}${t}`;
  const c = integer(code, 255);
  // Not both, which is more than not either.
  return negate
    ? `meta l4proto ${word === 'icmp' ? 1 : 58} @th,0,16 != ${hex((t << 8) | c)}`
    : `${word} type ${t} ${word} code ${c}`;
}

function printAction(action: Action, table: Table, chain: string, family: Family): string {
  switch (action.do) {
    case 'accept':
    case 'drop':
    case 'return':
    case 'notrack':
      return action.do;
    case 'reject':
      if (action.with === 'tcp-reset') return 'reject with tcp reset';
      return `reject with ${family === 4 ? 'icmp' : 'icmpv6'} port-unreachable`;
    case 'jump':
    case 'goto':
      return `${action.do} ${nftChain(table, action.chain)}`;
    case 'map':
      return `${action.side === 'in' ? 'iifname' : 'oifname'} vmap @${nftChain(table, chain)}`;
    case 'mark':
      return printMark(action.value, action.mask);
    case 'log':
      return action.group === undefined
        ? `log prefix "${logPrefix(action, 127)}" level notice`
        : `log prefix "${logPrefix(action, 127)}" group ${integer(action.group, 65535)}`;
    case 'masquerade':
      return `masquerade${action.ports ? ` to :${dashed(action.ports)}` : ''}${action.randomFully ? ' fully-random' : ''}`;
    case 'snat':
    case 'dnat': {
      const address = family === 6 && action.ports ? `[${netRef(action.to)}]` : netRef(action.to);
      return `${action.do} to ${address}${action.ports ? `:${dashed(action.ports)}` : ''}${action.randomFully ? ' fully-random' : ''}`;
    }
    case 'dscp':
      return `${family === 4 ? 'ip' : 'ip6'} dscp set ${integer(action.value, 63)}`;
    case 'none':
      return '';
    default:
      return assertNever(action);
  }
}

/** What is in the verdict map that a rule of the chain looks into, by interface; it is named as its chain is. */
export function verdictMap({ rules }: Chain): ReadonlyMap<string, string> | undefined {
  for (const { action } of rules) if (action.do === 'map') return action.targets;
  return undefined;
}

/** (mark & ~mask) | value. */
function printMark(value: number, mask: number): string {
  const keep = `meta mark & ${hex(~mask >>> 0)}`;
  if (value === 0) return `meta mark set ${keep}`;
  return value === mask ? `meta mark set meta mark | ${hex(value)}` : `meta mark set ${keep} | ${hex(value)}`;
}
