import * as z from 'zod';
import { err, ok, type Result } from '#core';
import {
  int,
  list,
  maskedNet,
  maybe,
  maybeSelector,
  object,
  opt,
  selector,
  selectorLimit,
  shown,
  text,
  textMap,
  word,
} from './fields.ts';

/** A port in a rule: a number, an inclusive range `"80:90"`, or the name of a port of the endpoint. */
export type Port = number | string;
export type Protocol = 'TCP' | 'UDP' | 'ICMP' | 'ICMPv6' | 'SCTP' | 'UDPLite' | number;
export type RuleAction = 'Allow' | 'Deny' | 'Log' | 'Pass';

export interface Icmp {
  /** 0 to 254. */
  type?: number;
  /** 0 to 255; needs a type. */
  code?: number;
}

/** One side of a rule; every criterion present must match (calico-datastore.md 2.4). */
export interface EntityRule {
  nets?: string[];
  notNets?: string[];
  selector?: string;
  notSelector?: string;
  namespaceSelector?: string;
  ports?: Port[];
  notPorts?: Port[];
  serviceAccounts?: { names?: string[]; selector?: string };
  services?: { name: string; namespace?: string };
}

export interface Rule {
  action: RuleAction;
  ipVersion?: 4 | 6;
  protocol?: Protocol;
  notProtocol?: Protocol;
  icmp?: Icmp;
  notICMP?: Icmp;
  source?: EntityRule;
  destination?: EntityRule;
  http?: { methods?: string[]; paths?: ({ exact: string } | { prefix: string })[] };
  metadata?: { annotations?: Record<string, string> };
}

/** What a port of a rule means: an inclusive range of numbers, or a name. Text of digits alone is a number. */
export function parsePort(port: Port): Result<{ min: number; max: number } | { name: string }, string> {
  const range = /^([0-9]{1,5})(?::([0-9]{1,5}))?$/.exec(String(port));
  if (!range) {
    return /^[a-zA-Z0-9_.-]{1,128}$/.test(String(port))
      ? ok({ name: String(port) })
      : err(`must be a port, a range such as 80:90, or a port name; '${shown(String(port))}' is not`);
  }
  const min = Number(range[1]);
  const max = Number(range[2] ?? range[1]);
  return min >= 1 && min <= max && max <= 65535
    ? ok({ min, max })
    : err(`must lie in 1 to 65535, lower end first; '${shown(String(port))}' does not`);
}

const port = z.union([z.number(), z.string()]).check((ctx) => {
  const parsed = parsePort(ctx.value);
  if (!parsed.ok) ctx.issues.push({ code: 'custom', message: parsed.error, input: ctx.value });
}) as unknown as z.ZodType<Port>;

const PROTOCOLS = ['TCP', 'UDP', 'ICMP', 'ICMPv6', 'SCTP', 'UDPLite'];

const protocol = opt(
  z.union([z.number(), z.string()]).check((ctx) => {
    const { value } = ctx;
    const good =
      typeof value === 'string'
        ? value === '' || PROTOCOLS.includes(value)
        : Number.isInteger(value) && value >= 1 && value <= 255;
    if (!good) {
      const message = `must be one of ${PROTOCOLS.join(', ')} or a number from 1 to 255; '${shown(String(value))}' is not`;
      ctx.issues.push({ code: 'custom', message, input: value });
    }
  }),
) as unknown as z.ZodType<Protocol | undefined>;

const icmp = opt(object<Icmp>({ type: opt(int(0, 254)), code: opt(int(0, 255)) }));

const entity = opt(
  object<EntityRule>({
    nets: list(text(maskedNet()), 256),
    notNets: list(text(maskedNet()), 256),
    selector: maybeSelector,
    notSelector: maybeSelector,
    namespaceSelector: maybe((value) => (value.trim() === 'global()' ? null : selector(value)), selectorLimit),
    ports: list(port, 50),
    notPorts: list(port, 50),
    serviceAccounts: opt(object({ names: list(text()), selector: maybeSelector })),
    services: opt(object({ name: text(), namespace: maybe() })),
  }),
);

const httpPath = z.union([z.looseObject({ exact: z.string() }), z.looseObject({ prefix: z.string() })]);

export const rule: z.ZodType<Rule> = object<Rule>({
  action: text(word('Allow', 'Deny', 'Log', 'Pass')),
  ipVersion: opt(z.union([z.literal(4), z.literal(6)])),
  protocol,
  notProtocol: protocol,
  icmp,
  notICMP: icmp,
  source: entity,
  destination: entity,
  http: opt(object({ methods: list(text(), 20), paths: list(httpPath, 20) })),
  metadata: opt(object({ annotations: textMap })),
});
