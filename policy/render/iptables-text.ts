import { assertNever, Bug, err, type Family, OperationalError, ok, type Result } from '#core';
import type { Action, Chain, ChainRule, CtState, Match, PortRange } from '../types.ts';
import { isBare } from './bare.ts';
import { setName } from './names.ts';
import { PROTOCOL } from './phrases.ts';
import {
  hashed,
  hex,
  ifaceRef,
  integer,
  logPrefix,
  netRef,
  type PrintedRule,
  type Printing,
  printable,
  rateRef,
  refuse,
} from './values.ts';

/**
 * Chains as the lines of iptables-restore. This is the only place where a value becomes rule text, so it is the only place that must
 * not be fooled: each value is checked against what it may consist of, and a wrong one is refused (VALIDATION), never quoted and hoped for.
 */

/** Rules of a chain of ours. What leads on is known by its text, which is what iptables prints of it, to the letter. */
const printRules = (chain: string, rules: readonly ChainRule[], family: Family): PrintedRule[] =>
  hashed(chain, rules, (rule) => {
    const parts = printParts(rule, family);
    return isBare(rule) ? joined(parts.matches, parts.action) : commented(parts);
  });

/**
 * Always true, costs nothing where the connection's state is asked for anyway, and nobody else says it: it tells a rule of ours among strangers' where
 * a comment would take a quarter of what the rule costs every packet of an established flow.
 */
const NAME_TAG = '! --ctstatus NONE';
/** Whether a rule without comment in a chain of the kernel is ours: it leads to a chain of ours, or carries the tag. */
export const isOursByText = (text: string): boolean =>
  /(?:^| )-[jg] cali-[^ ]+$/.test(text) || text.includes(` ${NAME_TAG} `);

/** Rules of ours in a chain of the kernel, each with what tells it from strangers'. */
export const printHook = (chain: string, rules: readonly ChainRule[], family: Family): PrintedRule[] =>
  hashed(chain, rules, (rule) => {
    const parts = printParts(rule, family);
    const bare = joined(parts.matches, parts.action);
    if (isBare(rule) && isOursByText(bare)) return bare;
    return isBare(rule) && asksOnlyState(rule) ? joined(parts.matches, NAME_TAG, parts.action) : commented(parts);
  });

const asksOnlyState = ({ match }: ChainRule): boolean =>
  match
    .filter(({ m }) => m !== 'in' && m !== 'out')
    .map(({ m }) => m)
    .join() === 'ctstate';

const commented = ({ matches, comment, action }: Parts): Printing => ({
  body: [matches, comment, action].join('\0'),
  text: (hash) => joined(matches, `-m comment --comment "cali:${hash}${comment && ` ${comment}`}"`, action),
});
const joined = (...parts: string[]): string => parts.filter((part) => part !== '').join(' ');

const printed = new WeakMap<Chain, Map<Family, PrintedRule[]>>();
/** A chain's rules; remembers the answer for as long as the chain lives. */
export function printChain(chain: Chain, family: Family): PrintedRule[] {
  const families = printed.get(chain) ?? new Map<Family, PrintedRule[]>();
  printed.set(chain, families);
  const rules = families.get(family) ?? printRules(chain.name, chain.rules, family);
  families.set(family, rules);
  return rules;
}

interface Parts {
  readonly matches: string;
  readonly comment: string;
  readonly action: string;
}

/**
 * The comment stands after the matches and is one: iptables-nft calls a function for every comment of a rule that a packet comes to, so a rule
 * that does not match should not come to it.
 */
function printParts(rule: ChainRule, family: Family): Parts {
  const matches = inOrder(rule.match).map((m) => printMatch(m, family, rule));
  return {
    matches: matches.join(' '),
    comment: printable((rule.comments ?? []).join('; '), COMMENT_MAX),
    action: printAction(rule.action, family),
  };
}
const inOrder = (match: readonly Match[]): readonly Match[] =>
  match.length < 2 ? match : match.toSorted((a, b) => RANK[a.m] - RANK[b.m]);

/** XT_MAX_COMMENT_LEN less its end, `cali:`, the hash and a space. */
const COMMENT_MAX = 255 - 22;
/** Interfaces, protocol (the port matches need it before them), then what costs least. A limit counts what comes to it, so it stands last. */
const RANK: Readonly<Record<Match['m'], number>> = {
  in: 0,
  out: 1,
  protocol: 2,
  src: 3,
  dst: 3,
  mark: 3,
  icmp: 4,
  sports: 4,
  dports: 4,
  ctstate: 5,
  'ctdir-original': 5,
  dnatted: 5,
  'src-set': 6,
  'dst-set': 6,
  'src-port-set': 6,
  'dst-port-set': 6,
  'rpf-failed': 7,
  addrtype: 7,
  limit: 8,
  'connlimit-above': 8,
};

const chainRef = (name: string): string =>
  /^[A-Za-z0-9._/-]{1,28}$/.test(name) && !name.startsWith('-') ? name : refuse('chain', name);
const portsRef = (ports: readonly PortRange[]): string =>
  ports.map(([a, b]) => (a === b ? `${integer(a, 65535)}` : `${integer(a, 65535)}:${integer(b, 65535)}`)).join(',');

const PROTOCOL_NAMES: Record<number, string> = Object.fromEntries(
  Object.entries({ ...PROTOCOL, icmpv6: undefined, ipip: undefined }).flatMap(([name, n]) =>
    n === undefined ? [] : [[n, name]],
  ),
);
PROTOCOL_NAMES[PROTOCOL.icmpv6] = 'ipv6-icmp';
const protocolRef = (number: number): string => PROTOCOL_NAMES[number] ?? String(integer(number, 255));

/** In the order in which iptables prints them. */
const CT_STATES: readonly CtState[] = ['INVALID', 'NEW', 'RELATED', 'ESTABLISHED', 'UNTRACKED'];

/**
 * What asks for one port or range: the match of the protocol, which iptables-nft says natively, while `multiport` is a call (docs/adr/0008). One of them a
 * rule, because iptables-nft-save cannot tell two of them apart.
 */
function portModule({ match }: ChainRule): 'tcp' | 'udp' | undefined {
  const known = match.find((m) => m.m === 'protocol' && !m.negate);
  if (known?.m !== 'protocol' || match.filter(({ m }) => m === 'sports' || m === 'dports').length !== 1)
    return undefined;
  return known.protocol === PROTOCOL.tcp ? 'tcp' : known.protocol === PROTOCOL.udp ? 'udp' : undefined;
}

/** @param rule in which it stands */
function printMatch(match: Match, family: Family, rule: ChainRule): string {
  const not = 'negate' in match && match.negate ? '! ' : '';
  switch (match.m) {
    case 'in':
      return `${not}-i ${ifaceRef(match.iface)}`;
    case 'out':
      return `${not}-o ${ifaceRef(match.iface)}`;
    case 'protocol':
      return `${not}-p ${protocolRef(match.protocol)}`;
    case 'src':
      return `${not}-s ${netRef(match.net)}`;
    case 'dst':
      return `${not}-d ${netRef(match.net)}`;
    case 'src-set':
    case 'dst-set':
      return `-m set ${not}--match-set ${setName(family, match.set)} ${match.m.slice(0, 3)}`;
    case 'src-port-set':
    case 'dst-port-set': {
      const side = match.m.slice(0, 3);
      return `-m set ${not}--match-set ${setName(family, match.set)} ${side},${side}`;
    }
    case 'sports':
    case 'dports': {
      const module = match.ports.length === 1 ? portModule(rule) : undefined;
      if (module) return `-m ${module} ${not}--${match.m.slice(0, -1)} ${portsRef(match.ports)}`;
      return `-m multiport ${not}--${match.m} ${portsRef(match.ports)}`;
    }
    case 'icmp': {
      const [module, option] = family === 4 ? ['icmp', 'icmp-type'] : ['icmp6', 'icmpv6-type'];
      const code = match.code === undefined ? '' : `/${integer(match.code, 255)}`;
      return `-m ${module} ${not}--${option} ${integer(match.type, 255)}${code}`;
    }
    case 'mark':
      return `-m mark ${not}--mark ${hex(match.value)}/${hex(match.mask)}`;
    case 'ctstate':
      return `-m conntrack ${not}--ctstate ${CT_STATES.filter((state) => match.states.includes(state)).join(',')}`;
    case 'ctdir-original':
      return `-m conntrack --ctdir ${match.negate ? 'REPLY' : 'ORIGINAL'}`;
    case 'dnatted':
      return `-m conntrack ${not}--ctstate DNAT`;
    case 'rpf-failed':
      return '-m rpfilter --validmark --invert';
    case 'addrtype': {
      const limit = match.limitIface ? ` --limit-iface-${match.limitIface}` : '';
      return `-m addrtype ${not}--${match.side}-type ${match.type}${limit}`;
    }
    case 'limit':
      return `-m limit --limit ${rateRef(match.perSecond, 10_000)} --limit-burst ${integer(match.burst, 10_000)}`;
    case 'connlimit-above':
      return `-m connlimit --connlimit-above ${integer(match.count, 0xffffffff)} --connlimit-mask 0 --connlimit-${match.side === 'src' ? 's' : 'd'}addr`;
    default:
      return assertNever(match);
  }
}

function printAction(action: Action, family: Family): string {
  switch (action.do) {
    case 'accept':
    case 'drop':
    case 'return':
      return `-j ${action.do.toUpperCase()}`;
    case 'notrack':
      return '-j CT --notrack';
    case 'reject':
      if (action.with === 'tcp-reset') return '-j REJECT --reject-with tcp-reset';
      return `-j REJECT --reject-with ${family === 4 ? 'icmp-port-unreachable' : 'icmp6-port-unreachable'}`;
    case 'jump':
      return `-j ${chainRef(action.chain)}`;
    case 'goto':
      return `-g ${chainRef(action.chain)}`;
    case 'map':
      throw new Bug('a verdict map was rendered for iptables');
    case 'mark':
      return `-j MARK --set-xmark ${hex(action.value)}/${hex(action.mask)}`;
    case 'log':
      return action.group === undefined
        ? `-j LOG --log-prefix "${logPrefix(action, 29)}" --log-level 5`
        : `-j NFLOG --nflog-group ${integer(action.group, 65535)} --nflog-prefix "${logPrefix(action, 63)}"`;
    case 'masquerade':
      return `-j MASQUERADE${action.ports ? ` --to-ports ${dashed(action.ports)}` : ''}${action.randomFully ? ' --random-fully' : ''}`;
    case 'snat':
    case 'dnat': {
      const address = family === 6 && action.ports ? `[${netRef(action.to)}]` : netRef(action.to);
      const ports = action.ports ? `:${dashed(action.ports)}` : '';
      const random = action.randomFully ? ' --random-fully' : '';
      return `-j ${action.do.toUpperCase()} --to-${action.do === 'snat' ? 'source' : 'destination'} ${address}${ports}${random}`;
    }
    case 'dscp':
      return `-j DSCP --set-dscp ${hex(integer(action.value, 63))}`;
    case 'none':
      return '';
    default:
      return assertNever(action);
  }
}

const dashed = ([a, b]: PortRange): string => `${integer(a, 65535)}-${integer(b, 65535)}`;

/** Whether a chain can be printed; the reason otherwise. */
export function checkChain(chain: Chain, family: Family): Result<PrintedRule[], string> {
  try {
    chainRef(chain.name);
    return ok(printChain(chain, family));
  } catch (error) {
    if (error instanceof OperationalError) return err(error.message);
    throw error;
  }
}
