import { type Addr, FAMILIES } from '#core';
import { evaluateFlow, type Flow, type FlowEnd, type FlowSettings, type Packet, type Step, type World } from '#policy';
import { pairIn } from '../flow/end.ts';
import { ECHO, EPHEMERAL, protocolName } from '../flow/kind-of-packet.ts';
import type { AskedPacket } from './packets.ts';

/** An end that is there before and after, for all that selectors do not tell from it. */
export interface ComparedEnd {
  /** As in steps of a verdict. */
  readonly name: string;
  readonly node: string | null;
  readonly addresses: readonly Addr[];
  readonly before: FlowEnd;
  readonly after: FlowEnd;
  /** How many it stands for. */
  readonly size: number;
}

/** A flow that would be allowed or denied that was not before. */
export interface FlowChange {
  readonly from: string;
  readonly to: string;
  /** As rules name it; `ICMP` is an echo request, and stands for ICMPv6 in IPv6. */
  readonly protocol: string | number;
  readonly port: number | null;
  readonly before: 'Allow' | 'Deny';
  readonly after: 'Allow' | 'Deny';
  /** What decides it after: `<Kind>/[<namespace>/]<name> ingress[0]`, or why without a rule. */
  readonly rule: string;
  readonly ipVersion: 4 | 6;
  /** How many ends each of the two stands for. */
  readonly alike: { readonly from: number; readonly to: number };
}

/** So many flows are compared, and so many that differ are told. */
const MOST_ASKED = 50_000;
const MOST_TOLD = 1_000;

export interface Compared {
  readonly flows: readonly FlowChange[];
  readonly asked: number;
  readonly limits: readonly string[];
}

/** Each of the ends that changes concern with each other end, both ways, in both families where they have both. */
export function compareFlows(
  touched: readonly ComparedEnd[],
  ends: readonly ComparedEnd[],
  packets: readonly AskedPacket[],
  worlds: { readonly before: World; readonly after: World },
  settings: (node: string | null) => FlowSettings,
): Compared {
  const flows = new Map<string, FlowChange>();
  let asked = 0;
  let leftOut = 0;
  for (const [from, to] of pairsOf(touched, ends)) {
    if (asked >= MOST_ASKED)
      return {
        flows: [...flows.values()],
        asked,
        limits: [`${MOST_ASKED} flows were compared, and then no more`, ...more(leftOut)],
      };
    const here = settings(from.node);
    const there = settings(to.node);
    for (const family of FAMILIES)
      for (const { protocol, port } of packets) {
        const pair = pairIn(from, to, family);
        if (!pair) continue;
        asked++;
        const packet = packetOf(protocol, port, family, pair);
        const was = evaluateFlow(worlds.before, from.before, to.before, packet, here, there);
        const is = evaluateFlow(worlds.after, from.after, to.after, packet, here, there);
        if (was.verdict === is.verdict) continue;
        // The same in IPv6 is not told twice.
        const key = `${from.name} ${to.name} ${protocol} ${port} ${is.verdict}`;
        if (flows.has(key)) continue;
        if (flows.size >= MOST_TOLD) leftOut++;
        else flows.set(key, changeOf(from, to, { protocol, port }, family, was, is));
      }
  }
  return { flows: [...flows.values()], asked, limits: more(leftOut) };
}

const more = (leftOut: number): string[] => (leftOut > 0 ? [`${leftOut} more flows differ, and are not told`] : []);

function* pairsOf(touched: readonly ComparedEnd[], ends: readonly ComparedEnd[]): Iterable<[ComparedEnd, ComparedEnd]> {
  const isTouched = new Set(touched);
  for (const one of touched)
    for (const other of ends) {
      // One alone reaches itself without policy.
      if (one === other && one.size === 1) continue;
      yield [one, other];
      // Between two that are touched the other way comes with the other.
      if (!isTouched.has(other)) yield [other, one];
    }
}

function packetOf(
  protocol: number,
  port: number | null,
  family: 4 | 6,
  { source, destination }: { readonly source: Addr; readonly destination: Addr },
): Packet {
  const echo = family === 4 ? 1 : 58;
  if (protocol === 1) return { source, destination, protocol: echo, icmpType: ECHO[echo], icmpCode: 0 };
  return { source, destination, protocol, ...(port !== null && { sourcePort: EPHEMERAL, destinationPort: port }) };
}

function changeOf(
  from: ComparedEnd,
  to: ComparedEnd,
  { protocol, port }: AskedPacket,
  family: 4 | 6,
  was: Flow,
  is: Flow,
): FlowChange {
  return {
    from: from.name,
    to: to.name,
    protocol: protocolName(protocol),
    port,
    before: was.verdict,
    after: is.verdict,
    rule: ruleOf(was, is),
    ipVersion: family,
    alike: { from: from.size, to: to.size },
  };
}

/** What denies it now; or what allows it where it was denied. */
function ruleOf(was: Flow, is: Flow): string {
  const denied = was.steps.at(-1);
  const decides =
    is.verdict === 'Deny'
      ? is.steps.at(-1)
      : is.steps.findLast((step) => step.where === denied?.where && step.direction === denied.direction);
  return decides ? stepText(decides) : 'no policy is asked';
}

const stepText = ({ policy, direction, rule, reason }: Step): string =>
  policy === null || rule === null ? reason : `${policy} ${direction}[${rule}]`;
