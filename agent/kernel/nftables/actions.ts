import { addrBytes, assertNever, type Family, OperationalError, parseAddr } from '#core';
import { type Action, type ChainRule, isBare, logPrefix, nftChain, type PortRange, type Table } from '#policy';
import {
  bigHalf,
  bitwise,
  type Expression,
  hostWord,
  lookup,
  META,
  meta,
  needProtocol,
  payload,
  REG,
  type RuleBody,
  TCP,
} from './expressions.ts';
import { type Attr, DATA, dataOf, VERDICT } from './wire.ts';

/** nf_tables verdicts, as unsigned words. */
const CODE = { drop: 0, accept: 1, jump: 0xffff_fffd, goto: 0xffff_fffc, return: 0xffff_fffb } as const;
const REJECT = { ICMP_UNREACHABLE: 0, TCP_RESET: 1 } as const;
const PORT_UNREACHABLE = { 4: 3, 6: 4 } as const;
const NAT = { snat: 0, dnat: 1 } as const;
const NF = { 4: 2, 6: 10 } as const;
/** NF_NAT_RANGE_PROTO_SPECIFIED, NF_NAT_RANGE_PROTO_RANDOM_FULLY */
const RANGE = { PORTS: 2, FULLY_RANDOM: 16 } as const;
const LOG_NOTICE = 5;
const COUNTER: Expression = ['counter', []];

/** What the rule does, and before it the counter; a rule that only leads on has none. */
export function addAction(body: RuleBody, rule: ChainRule, table: Table, chain: string, family: Family): void {
  const { expressions } = body;
  if (rule.action.do === 'reject' && rule.action.with === 'tcp-reset') expressions.push(...needProtocol(rule, TCP));
  if (!isBare(rule)) expressions.push(COUNTER);
  expressions.push(...actionOf(rule.action, table, chain, family));
}

function actionOf(action: Action, table: Table, chain: string, family: Family): Expression[] {
  switch (action.do) {
    case 'accept':
    case 'drop':
    case 'return':
      return [immediate(0, verdict(action.do))];
    case 'jump':
    case 'goto':
      return [immediate(0, verdict(action.do, nftChain(table, action.chain)))];
    case 'map':
      return [
        meta(action.side === 'in' ? META.IIFNAME : META.OIFNAME),
        lookup(nftChain(table, chain), { verdict: true }),
      ];
    case 'notrack':
      return [['notrack', []]];
    case 'reject':
      return [rejectWith(action.with, family)];
    case 'mark':
      return setMark(action.value, action.mask);
    case 'log':
      return [logOf(action)];
    case 'masquerade':
      return translate('masq', [], action, { ports: [2, 3], flags: 1 });
    case 'snat':
    case 'dnat':
      return translateTo(action, family);
    case 'dscp':
      return setCodePoint(action.value, family);
    case 'none':
      return [];
    default:
      return assertNever(action);
  }
}

const immediate = (register: number, data: readonly Attr[]): Expression => [
  'immediate',
  [
    [1, register],
    [2, data],
  ],
];
/** A verdict as data of an expression or of an element. */
export function verdict(code: keyof typeof CODE, chain?: string): readonly Attr[] {
  const attrs: Attr[] = [[VERDICT.CODE, CODE[code]]];
  if (chain !== undefined) attrs.push([VERDICT.CHAIN, chain]);
  return [[DATA.VERDICT, attrs]];
}

function rejectWith(how: 'icmp-port-unreachable' | 'tcp-reset', family: Family): Expression {
  const isReset = how === 'tcp-reset';
  const attrs: Attr[] = [
    [1, isReset ? REJECT.TCP_RESET : REJECT.ICMP_UNREACHABLE],
    [2, Uint8Array.of(isReset ? 0 : PORT_UNREACHABLE[family])],
  ];
  return ['reject', attrs];
}

/** (mark & ~mask) ^ value, where value has no bits outside mask. */
const setMark = (value: number, mask: number): Expression[] => [
  meta(META.MARK),
  bitwise(hostWord(~mask >>> 0), hostWord(value)),
  [
    'meta',
    [
      [2, META.MARK],
      [3, REG],
    ],
  ],
];

function logOf(action: Action & { do: 'log' }): Expression {
  const prefix: Attr = [2, logPrefix(action, 127)];
  return ['log', action.group === undefined ? [prefix, [5, LOG_NOTICE]] : [[1, bigHalf(action.group)], prefix]];
}

function translateTo(action: Action & { do: 'snat' | 'dnat' }, family: Family): Expression[] {
  const to = parseAddr(action.to);
  if (!to.ok) throw new OperationalError('VALIDATION', `address ${JSON.stringify(action.to)} cannot stand in a rule`);
  const attrs: Attr[] = [
    [1, NAT[action.do]],
    [2, NF[family]],
    [3, REG],
  ];
  return [immediate(REG, dataOf(addrBytes(to.value))), ...translate('nat', attrs, action, { ports: [5, 6], flags: 7 })];
}

function translate(
  name: 'masq' | 'nat',
  attrs: readonly Attr[],
  { ports, randomFully }: { ports?: PortRange; randomFully?: boolean },
  at: { ports: readonly [from: number, to: number]; flags: number },
): Expression[] {
  const flags = (ports ? RANGE.PORTS : 0) | (randomFully ? RANGE.FULLY_RANDOM : 0);
  const loads = ports ? [immediate(2, dataOf(bigHalf(ports[0]))), immediate(3, dataOf(bigHalf(ports[1])))] : [];
  const range: Attr[] = ports
    ? [
        [at.ports[0], 2],
        [at.ports[1], 3],
      ]
    : [];
  return [...loads, [name, [...attrs, ...range, ...(flags ? [[at.flags, flags] as const] : [])]]];
}

/** Six bits of the second byte of an IPv4 header, which has a checksum; of the first two bytes of an IPv6 header, which has none. */
function setCodePoint(value: number, family: Family): Expression[] {
  const [mask, bits] =
    family === 4
      ? [Uint8Array.of(0xff, 0x03), Uint8Array.of(0, value << 2)]
      : [Uint8Array.of(0xf0, 0x3f), Uint8Array.of(value >> 2, (value & 3) << 6)];
  const [NETWORK, INET_CHECKSUM, CHECKSUM_OFFSET] = [1, 1, 10];
  const write: Attr[] = [
    [5, REG],
    [2, NETWORK],
    [3, 0],
    [4, 2],
    [6, family === 4 ? INET_CHECKSUM : 0],
    [7, family === 4 ? CHECKSUM_OFFSET : 0],
  ];
  return [payload(NETWORK, 0, 2), bitwise(mask, bits), ['payload', write]];
}
