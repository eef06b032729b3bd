import type { EntityRule, Icmp, Rule } from '#datastore';

/** A rule for people, in one line: `Allow TCP from app == "web" to ports 80,443`. */
export function ruleText(rule: Rule): string {
  const { action, ipVersion, protocol, notProtocol, icmp, notICMP, source, destination, http } = rule;
  const parts: string[] = [action];
  if (ipVersion !== undefined) parts.push(`IPv${ipVersion}`);
  if (protocol !== undefined) parts.push(String(protocol));
  if (notProtocol !== undefined) parts.push(`not ${notProtocol}`);
  if (icmp?.type !== undefined) parts.push(icmpText(icmp));
  if (notICMP?.type !== undefined) parts.push(`not ${icmpText(notICMP)}`);
  const [from, to] = [entityText(source), entityText(destination)];
  if (from !== '') parts.push(`from ${from}`);
  if (to !== '') parts.push(`to ${to}`);
  if (http) parts.push('with HTTP criteria');
  return parts.join(' ');
}

const icmpText = ({ type, code }: Icmp): string => `type ${type}${code === undefined ? '' : ` code ${code}`}`;

/** Values of a list at most. */
const MOST = 4;

function list(values: readonly unknown[]): string {
  const shown = values.slice(0, MOST).map(String).join(',');
  return values.length > MOST ? `${shown} and ${values.length - MOST} more` : shown;
}

function entityText(entity: EntityRule | undefined): string {
  const { nets, notNets, selector, notSelector, namespaceSelector, serviceAccounts, services, ports, notPorts } =
    entity ?? {};
  const parts: string[] = [];
  if (nets?.length) parts.push(list(nets));
  if (notNets?.length) parts.push(`not ${list(notNets)}`);
  if (selector) parts.push(selector);
  if (notSelector) parts.push(`not (${notSelector})`);
  if (namespaceSelector) parts.push(`namespaces ${namespaceSelector}`);
  if (serviceAccounts?.names?.length) parts.push(`service accounts ${list(serviceAccounts.names)}`);
  if (serviceAccounts?.selector) parts.push(`service accounts ${serviceAccounts.selector}`);
  if (services) parts.push(`service ${services.namespace ? `${services.namespace}/` : ''}${services.name}`);
  if (ports?.length) parts.push(`ports ${list(ports)}`);
  if (notPorts?.length) parts.push(`ports not ${list(notPorts)}`);
  return parts.join(' ');
}
