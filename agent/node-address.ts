import { type Addr, covers, type Family, familyOf, isSpecial, parseAddr, parseCidr, parsePrefix } from '#core';
import type { InterfaceAddress, Link } from './kernel/types.ts';

/** Interfaces that never carry a node's address: containers, bridges of runtimes, tunnels, our own (Calico's list, reference/calico.md 1.8). */
const NEVER =
  /^(docker|cbr|dummy|virbr|lxcbr|veth|lo|cali|tunl|flannel|kube-ipvs|cni|vxlan\.calico|vxlan-v6\.calico|wireguard\.cali|wg-v6\.cali|nodelocaldns|br-)/;

/** An address of this machine and how it was found, for the log and for `node status`. */
export interface FoundAddress {
  readonly address: Addr;
  readonly length: number;
  readonly why: string;
}

export interface MachineAddresses {
  readonly links: readonly Link[];
  readonly addresses: readonly InterfaceAddress[];
  /** The source address that the kernel would use towards a destination, or null when it has no route (`can-reach`). */
  readonly sourceTowards: (destination: Addr) => Promise<Addr | null>;
  readonly resolve: (host: string, family: Family) => Promise<Addr | null>;
}

/**
 * Finds this node's address by one of Calico's methods: `first-found`, `can-reach=HOST`, `interface=REGEX[,REGEX]`,
 * `skip-interface=REGEX[,REGEX]`, `cidr=CIDR[,CIDR]`.
 * @returns null with nothing found; `why` of the result says which interface and method gave it.
 */
export async function detectAddress(
  method: string,
  family: Family,
  machine: MachineAddresses,
): Promise<FoundAddress | null> {
  const [name, argument] = splitMethod(method);
  switch (name) {
    case 'can-reach':
      return canReach(argument, family, machine);
    case 'interface': {
      const wanted = patterns(argument);
      return first(machine, family, `interface=${argument}`, (link) => wanted.some((re) => re.test(link.name)));
    }
    case 'skip-interface': {
      const skipped = patterns(argument);
      const keep = (link: Link) => !NEVER.test(link.name) && !skipped.some((re) => re.test(link.name));
      return first(machine, family, `skip-interface=${argument}`, keep);
    }
    case 'cidr': {
      const nets = argument.split(',').flatMap((text) => {
        const net = parsePrefix(text.trim());
        return net.ok ? [net.value] : [];
      });
      return first(
        machine,
        family,
        `cidr=${argument}`,
        () => true,
        (address) => nets.some((net) => covers(net, address)),
      );
    }
    default:
      return first(machine, family, 'first-found', (link) => !NEVER.test(link.name));
  }
}

function splitMethod(method: string): [name: string, argument: string] {
  const at = method.indexOf('=');
  return at < 0 ? [method, ''] : [method.slice(0, at), method.slice(at + 1)];
}

/** A pattern that is not a regular expression matches nothing; settings are checked before they come here. */
const patterns = (text: string): RegExp[] =>
  text.split(',').flatMap((source) => {
    try {
      return [new RegExp(source.trim())];
    } catch {
      return [];
    }
  });

function first(
  machine: MachineAddresses,
  family: Family,
  how: string,
  wants: (link: Link) => boolean,
  accepts: (address: Addr) => boolean = () => true,
): FoundAddress | null {
  // Interfaces in the kernel's order, so that the answer is the same at every start.
  for (const link of [...machine.links].sort((a, b) => a.index - b.index)) {
    if (!link.adminUp || !wants(link)) continue;
    for (const { index, address, length, scope } of machine.addresses) {
      const fits = index === link.index && familyOf(address) === family && scope === 'global';
      if (fits && !isSpecial(address) && accepts(address))
        return { address, length, why: `${how}: interface ${link.name}` };
    }
  }
  return null;
}

async function canReach(host: string, family: Family, machine: MachineAddresses): Promise<FoundAddress | null> {
  const literal = parseAddr(host);
  const destination = literal.ok ? literal.value : await machine.resolve(host, family);
  if (!destination || familyOf(destination) !== family) return null;
  const source = await machine.sourceTowards(destination);
  const found = machine.addresses.find(({ address }) => address === source);
  if (!found) return null;
  const link = machine.links.find(({ index }) => index === found.index);
  return {
    address: found.address,
    length: found.length,
    why: `can-reach=${host}: interface ${link?.name ?? found.index}`,
  };
}

/** What a Node's `spec.bgp.ipv4Address` or `ipv6Address` says, if it is readable. */
export function statedAddress(text: string | undefined, why: string): FoundAddress | null {
  const parsed = text ? parseCidr(text) : undefined;
  return parsed?.ok ? { address: parsed.value.addr, length: parsed.value.length, why } : null;
}
