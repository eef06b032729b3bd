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
