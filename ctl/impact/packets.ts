import type { Port, Rule } from '#datastore';
import { protocolNumberOf } from '#policy';
import { WITH_PORTS } from '../flow/kind-of-packet.ts';

/** A kind of packet to ask about. */
export interface AskedPacket {
  /** IANA number; of ICMP that of IPv4, which stands for both. */
  readonly protocol: number;
  readonly port: number | null;
}

/** So many are asked about. */
export const MOST_PACKETS = 24;
const TCP = 6;
const UDP = 17;
const ICMP = 1;
const ICMP_SIX = 58;
/** A port that hardly any rule names: what it is for is the rest. */
const REST = 64_999;

/** A port by name as endpoints have it. */
export interface NamedPort {
  readonly name?: string;
  readonly protocol: string;
  readonly port: number;
}

/**
 * The packets that rules tell apart: each protocol with each port that they name, of a range its ends; a port that none names, for the rest; and an
 * echo request. In this order, so that what is left out is told by how many there are.
 */
export function packetsOf(rules: readonly Rule[], named: readonly NamedPort[]): AskedPacket[] {
  const packets = new Map<string, AskedPacket>();
  const add = (protocol: number, port: number | null) => packets.set(`${protocol} ${port}`, { protocol, port });
  for (const rule of rules) {
    const own = rule.protocol ?? rule.notProtocol;
    const number = own === undefined ? undefined : protocolNumberOf(own);
    const protocols = number === undefined ? [TCP, UDP] : [number];
    for (const protocol of protocols) {
      if (!WITH_PORTS.includes(protocol)) {
        add(protocol === ICMP_SIX ? ICMP : protocol, null);
        continue;
      }
      const { ports = [], notPorts = [] } = rule.destination ?? {};
      for (const port of [...ports, ...notPorts].flatMap((one) => numbersOf(one, protocol, named))) add(protocol, port);
    }
  }
  add(TCP, REST);
  add(UDP, REST);
  add(ICMP, null);
  return [...packets.values()];
}

function numbersOf(port: Port, protocol: number, named: readonly NamedPort[]): number[] {
  const range = /^(\d+)(?::(\d+))?$/.exec(String(port));
  if (range) return [...new Set([Math.max(1, Number(range[1])), Number(range[2] ?? range[1])])];
  return named
    .filter((one) => one.name === port && protocolNumberOf(one.protocol as 'TCP') === protocol)
    .map((one) => one.port);
}
