import { addrBytes, assertNever, type Family, parseCidr } from '#core';
import { type ChainRule, type CtState, cheapFirst, type Match, nftSet, type PortRange, rateOf } from '#policy';
import { type AnonymousSet, portElements } from './elements.ts';
import { type Attr, dataOf } from './wire.ts';

/** One step of a rule as nf_tables runs it: load into a register, compare, look up, decide. */
export type Expression = readonly [name: string, attrs: readonly Attr[]];

/** What the expressions of a rule are, and the sets without name that must be there before it. */
export interface RuleBody {
  readonly expressions: Expression[];
  readonly sets: AnonymousSet[];
}

/** The register that all of our loads use; the 16 bytes of it are 32-bit registers 8 to 11. */
export const REG = 1;
/** Where the parts after an address stand in a concatenation: the next free 4 bytes. */
const AFTER_ADDRESS = { 4: [9, 10], 6: [2, 13] } as const;
const EQ = 0;
const NEQ = 1;
const [GTE, LTE] = [5, 3];

export const META = { MARK: 3, IIFNAME: 6, OIFNAME: 7, L4PROTO: 16 } as const;
const NETWORK = 1;
const TRANSPORT = 2;
const CT = { STATE: 0, DIRECTION: 1, STATUS: 2 } as const;
/** NF_CT_STATE_BIT of each state, and IPS_DST_NAT. */
const CT_STATE: Record<CtState, number> = { INVALID: 1, ESTABLISHED: 2, RELATED: 4, NEW: 8, UNTRACKED: 64 };
const IPS_DST_NAT = 1 << 5;
const FIB = { SOURCE: 1, DESTINATION: 2, MARK: 4, IIF: 8, OIF: 16, PRESENT: 32 } as const;
const FIB_RESULT = { OIF: 1, ADDRTYPE: 3 } as const;
const RTN = { UNICAST: 1, LOCAL: 2 } as const;
const ICMP = { 4: 1, 6: 58 } as const;
export const TCP = 6;

/** Numbers that the kernel keeps in its own order: marks, connection states. */
export const hostWord = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
export const bigHalf = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 0xff);

export const meta = (key: number, register = REG): Expression => [
  'meta',
  [
    [1, register],
    [2, key],
  ],
];
export const payload = (base: number, offset: number, length: number, register: number = REG): Expression => [
  'payload',
  [
    [1, register],
    [2, base],
    [3, offset],
    [4, length],
  ],
];
export const compare = (op: number, bytes: Uint8Array): Expression => [
  'cmp',
  [
    [1, REG],
    [2, op],
    [3, dataOf(bytes)],
  ],
];
export const bitwise = (mask: Uint8Array, xor: Uint8Array): Expression => [
  'bitwise',
  [
    [1, REG],
    [2, REG],
    [3, mask.length],
    [4, dataOf(mask)],
    [5, dataOf(xor)],
  ],
];
const masked = (mask: Uint8Array): Expression => bitwise(mask, new Uint8Array(mask.length));
const ct = (key: number): Expression => [
  'ct',
  [
    [1, REG],
    [2, key],
  ],
];
/** `into` names a set or map of the table; `set` is the number of a set of the same transaction. */
export const lookup = (into: string, { set, negate, verdict }: { set?: number; negate?: boolean; verdict?: boolean }) =>
  [
    'lookup',
    [
      [1, into],
      [2, REG],
      ...(verdict ? [[3, 0] as const] : []),
      ...(set === undefined ? [] : [[4, set] as const]),
      ...(negate ? [[5, 1] as const] : []),
    ],
  ] as const satisfies Expression;
const fib = (result: number, flags: number): Expression => [
  'fib',
  [
    [1, REG],
    [2, result],
    [3, flags],
  ],
];

/** A rule's matches in order. Values were checked when the rule was printed, which is where its hash comes from. */
export function addMatches(body: RuleBody, rule: ChainRule, family: Family, nextSet: () => number): void {
  for (const match of cheapFirst(rule.match))
    body.expressions.push(...expressionsOf(match, rule, family, body, nextSet));
}

/** Nothing, if the rule asks for the protocol itself. */
export function needProtocol(rule: ChainRule, protocol: number): Expression[] {
  const asked = rule.match.some((m) => m.m === 'protocol' && !m.negate && m.protocol === protocol);
  return asked ? [] : [meta(META.L4PROTO), compare(EQ, Uint8Array.of(protocol))];
}

function expressionsOf(
  match: Match,
  rule: ChainRule,
  family: Family,
  body: RuleBody,
  nextSet: () => number,
): Expression[] {
  const op = 'negate' in match && match.negate ? NEQ : EQ;
  switch (match.m) {
    case 'in':
    case 'out':
      return [meta(match.m === 'in' ? META.IIFNAME : META.OIFNAME), compare(op, interfaceKey(match.iface))];
    case 'protocol':
      return [meta(META.L4PROTO), compare(op, Uint8Array.of(match.protocol))];
    case 'src':
    case 'dst':
      return addressIn(match.m, match.net, op, family);
    case 'src-set':
    case 'dst-set':
      return [loadAddress(match.m, family), lookup(nftSet(family, match.set), { negate: match.negate })];
    case 'src-port-set':
    case 'dst-port-set': {
      const [protocol, port] = AFTER_ADDRESS[family];
      return [
        loadAddress(match.m, family),
        meta(META.L4PROTO, protocol),
        payload(TRANSPORT, match.m.startsWith('src') ? 0 : 2, 2, port),
        lookup(nftSet(family, match.set), { negate: match.negate }),
      ];
    }
    case 'sports':
    case 'dports':
      return portIn(match.m === 'sports' ? 0 : 2, match.ports, op, body, nextSet);
    case 'icmp': {
      const bytes = match.code === undefined ? [match.type] : [match.type, match.code];
      const load = payload(TRANSPORT, 0, bytes.length);
      return [...needProtocol(rule, ICMP[family]), load, compare(op, Uint8Array.from(bytes))];
    }
    case 'mark':
      return [meta(META.MARK), masked(hostWord(match.mask)), compare(op, hostWord(match.value))];
    case 'ctstate': {
      const bits = match.states.reduce((all, state) => all | CT_STATE[state], 0);
      return [ct(CT.STATE), ...anyBit(bits, match.negate)];
    }
    case 'ctdir-original':
      return [ct(CT.DIRECTION), compare(EQ, Uint8Array.of(match.negate ? 1 : 0))];
    case 'dnatted':
      return [ct(CT.STATUS), ...anyBit(IPS_DST_NAT, match.negate)];
    case 'rpf-failed': {
      const flags = FIB.SOURCE | FIB.MARK | FIB.IIF | FIB.PRESENT;
      return [fib(FIB_RESULT.OIF, flags), compare(EQ, hostWord(0))];
    }
    case 'addrtype': {
      const limit = match.limitIface === undefined ? 0 : match.limitIface === 'in' ? FIB.IIF : FIB.OIF;
      const flags = (match.side === 'src' ? FIB.SOURCE : FIB.DESTINATION) | limit;
      return [fib(FIB_RESULT.ADDRTYPE, flags), compare(op, hostWord(RTN[match.type]))];
    }
    case 'limit': {
      const { count, seconds } = rateOf(match.perSecond, 0xffffffff);
      const attrs = [
        [1, BigInt(count)],
        [2, BigInt(seconds)],
        [3, match.burst],
        [4, 0],
        [5, 0],
      ] as const;
      return [['limit', attrs]];
    }
    case 'connlimit-above':
      return [
        [
          'connlimit',
          [
            [1, match.count],
            [2, 1],
          ],
        ],
      ];
    default:
      return assertNever(match);
  }
}

/** Any of the bits is set, or none. */
const anyBit = (bits: number, negate: boolean | undefined): Expression[] => [
  masked(hostWord(bits)),
  compare(negate ? EQ : NEQ, hostWord(0)),
];

/** A name as the kernel compares it: 16 bytes for a whole one, as many as there are for the beginning of one (`cali+`). */
export function interfaceKey(name: string): Uint8Array {
  if (name.endsWith('+')) return Buffer.from(name.slice(0, -1));
  const key = new Uint8Array(16);
  key.set(Buffer.from(name));
  return key;
}

const ADDRESS = { 4: { src: 12, dst: 16, length: 4 }, 6: { src: 8, dst: 24, length: 16 } } as const;

function loadAddress(match: string, family: Family, length: number = ADDRESS[family].length): Expression {
  const { src, dst } = ADDRESS[family];
  return payload(NETWORK, match.startsWith('src') ? src : dst, length);
}

/**
 * Whole bytes are compared as far as the prefix goes; one that ends inside a byte needs a mask. So does the commonest: the kernel loads three bytes
 * by calls, four and a mask in place.
 */
function addressIn(side: 'src' | 'dst', net: string, op: number, family: Family): Expression[] {
  const parsed = parseCidr(net);
  if (!parsed.ok) throw new RangeError(`${net} is no network`);
  const { addr, length } = parsed.value;
  const mask = maskBytes(length, ADDRESS[family].length);
  const bytes = addrBytes(addr).map((byte, i) => byte & mask[i]);
  if (length > 0 && length % 8 === 0 && !(family === 4 && length === 24))
    return [loadAddress(side, family, length / 8), compare(op, bytes.subarray(0, length / 8))];
  return [loadAddress(side, family), masked(mask), compare(op, bytes)];
}

const maskBytes = (length: number, count: number): Uint8Array =>
  Uint8Array.from({ length: count }, (_, i) => 0xff & ~(0xff >> Math.min(8, Math.max(0, length - 8 * i))));

function portIn(
  offset: number,
  ports: readonly PortRange[],
  op: number,
  { sets }: RuleBody,
  nextSet: () => number,
): Expression[] {
  const load = payload(TRANSPORT, offset, 2);
  if (ports.length > 1) {
    const set = { id: nextSet(), ...portElements(ports) };
    sets.push(set);
    return [load, lookup(set.name, { set: set.id, negate: op === NEQ })];
  }
  const [[from, to]] = ports;
  if (from === to) return [load, compare(op, bigHalf(from))];
  if (op === EQ) return [load, compare(GTE, bigHalf(from)), compare(LTE, bigHalf(to))];
  const attrs = [
    [1, REG],
    [2, NEQ],
    [3, dataOf(bigHalf(from))],
    [4, dataOf(bigHalf(to))],
  ] as const;
  return [load, ['range', attrs]];
}
