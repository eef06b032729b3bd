import { type Family, familyOf, type Prefix } from '#core';
import { shown } from './fields.ts';
import type { Report } from './kind.ts';
import { type EntityRule, type Port, type Protocol, parsePort, type Rule } from './rule.ts';

/** Where a rule stands decides what it may say. */
export interface RuleContext {
  readonly direction: 'ingress' | 'egress';
  /** Whether the policy lives in a namespace; a global one must name the namespace of a service. */
  readonly namespaced: boolean;
}

/** Rules whose fields are each well formed, held against each other (calico-datastore.md 2.4). */
export function checkRules(
  rules: readonly Rule[] | undefined,
  field: string,
  context: RuleContext,
  report: Report,
): void {
  for (const [i, rule] of (rules ?? []).entries()) checkRule(rule, `${field}[${i}]`, context, report);
}

function checkRule(rule: Rule, field: string, context: RuleContext, report: Report): void {
  checkIcmp(rule, field, report);
  checkFamilies(rule, field, report);
  checkHttp(rule, field, context, report);
  for (const side of ['source', 'destination'] as const) {
    const entity = rule[side];
    if (!entity) continue;
    checkPorts(rule.protocol, entity, `${field}.${side}`, report);
    if (entity.services) checkServices(entity, side, `${field}.${side}`, context, report);
  }
}

const isIcmp = (protocol: Protocol | undefined) => protocol === 'ICMP' || protocol === 1;
const isIcmpSix = (protocol: Protocol | undefined) => protocol === 'ICMPv6' || protocol === 58;

function checkIcmp(rule: Rule, field: string, report: Report): void {
  for (const name of ['icmp', 'notICMP'] as const) {
    const icmp = rule[name];
    if (!icmp) continue;
    if (icmp.code !== undefined && icmp.code !== null && (icmp.type === undefined || icmp.type === null))
      report(`${field}.${name}.code`, 'needs a type');
    if (!isIcmp(rule.protocol) && !isIcmpSix(rule.protocol))
      report(`${field}.${name}`, 'needs protocol ICMP or ICMPv6');
  }
  if (isIcmp(rule.protocol) && rule.ipVersion === 6) report(`${field}.ipVersion`, 'is 6, but protocol ICMP is of IPv4');
  if (isIcmpSix(rule.protocol) && rule.ipVersion === 4)
    report(`${field}.ipVersion`, 'is 4, but protocol ICMPv6 is of IPv6');
}

function checkFamilies(rule: Rule, field: string, report: Report): void {
  let family: Family | undefined = rule.ipVersion;
  for (const side of ['source', 'destination'] as const)
    for (const name of ['nets', 'notNets'] as const)
      for (const [i, net] of (rule[side]?.[name] ?? []).entries()) {
        const where = `${field}.${side}.${name}[${i}]`;
        family ??= familyOf(net as Prefix);
        if (familyOf(net as Prefix) !== family)
          report(where, `${shown(net)} is not IPv${family}; all nets of a rule and its ipVersion are of one family`);
        if (name === 'notNets' && net.endsWith('/0')) report(where, 'a catch-all here would match nothing');
      }
}

const WITH_PORTS: readonly (Protocol | undefined)[] = ['TCP', 'UDP', 'SCTP', 6, 17, 132];

function checkPorts(protocol: Protocol | undefined, entity: EntityRule, field: string, report: Report): void {
  for (const name of ['ports', 'notPorts'] as const) {
    const ports = entity[name];
    if (!ports?.length || WITH_PORTS.includes(protocol)) continue;
    const unnamed = ports.findIndex((port) => !isNamed(port));
    if (protocol)
      report(`${field}.${name}`, `needs protocol TCP, UDP or SCTP; ${shown(String(protocol))} has no ports`);
    else if (unnamed >= 0)
      report(`${field}.${name}[${unnamed}]`, 'needs protocol TCP, UDP or SCTP; only port names do not');
  }
}

function isNamed(port: Port): boolean {
  const parsed = parsePort(port);
  return parsed.ok && 'name' in parsed.value;
}

function checkServices(
  entity: EntityRule,
  side: 'source' | 'destination',
  field: string,
  context: RuleContext,
  report: Report,
): void {
  const { direction, namespaced } = context;
  if ((direction === 'ingress') !== (side === 'source'))
    report(`${field}.services`, 'is only for the source of ingress rules and the destination of egress rules');
  if (!namespaced && !entity.services?.namespace)
    report(`${field}.services.namespace`, 'is required in a global policy');
  const others = ['selector', 'notSelector', 'namespaceSelector', 'nets', 'notNets', 'serviceAccounts'] as const;
  const clashing = side === 'destination' ? ([...others, 'ports', 'notPorts'] as const) : others;
  for (const other of clashing) {
    const value = entity[other];
    if (Array.isArray(value) ? value.length : value) report(`${field}.${other}`, 'cannot stand beside services');
  }
}

function checkHttp(rule: Rule, field: string, context: RuleContext, report: Report): void {
  if (!rule.http) return;
  if (context.direction !== 'ingress' || rule.action !== 'Allow')
    report(`${field}.http`, 'is only for ingress rules that allow');
  if (rule.protocol && rule.protocol !== 'TCP' && rule.protocol !== 6) report(`${field}.http`, 'needs protocol TCP');
  const methods = rule.http.methods ?? [];
  if (new Set(methods).size < methods.length) report(`${field}.http.methods`, 'has a method twice');
  for (const [i, path] of (rule.http.paths ?? []).entries()) {
    const value = 'exact' in path ? path.exact : path.prefix;
    if (!/^\/[^?# ]*$/.test(value))
      report(
        `${field}.http.paths[${i}]`,
        `must begin with '/' and hold no '?', '#' or space; '${shown(value)}' does not`,
      );
  }
}
