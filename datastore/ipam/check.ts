import { type Addr, covers, hostPrefix, overlaps, type Prefix, parsePrefix, prefixAddr, prefixLength } from '#core';
import type { Resources } from '../client/resources.ts';
import type { IpamBlock, Node } from '../model/index.ts';
import type { IpamAccess } from './access.ts';
import { addressAt, allocationsOf, handleId, isCooling } from './block.ts';
import { checkAffinities, checkHandles } from './check-keys.ts';

/** One thing that is wrong, what it means, and what mends it. */
export interface Finding {
  readonly type: 'leak' | 'in-use-unallocated' | 'double-owner' | 'outside-pools' | 'block' | 'affinity' | 'handle';
  readonly subject: string;
  readonly message: string;
  readonly remedy: string;
  /** For leaks: what `ipam release` needs. */
  readonly release?: { readonly address: Addr; readonly handle: string; readonly sequence: string };
}
export interface IpamReport {
  readonly blocks: number;
  readonly allocations: number;
  readonly findings: readonly Finding[];
}

interface World {
  readonly blocks: ReadonlyMap<Prefix, IpamBlock>;
  readonly findings: Finding[];
  /** Who uses an address, by address, from WorkloadEndpoints and Nodes. */
  readonly users: ReadonlyMap<Addr, readonly string[]>;
}

/** Holds IPAM's keys against each other and against who uses addresses (calico-datastore.md 3.8). Reads only. */
export async function checkIpam(access: IpamAccess, resources: Resources): Promise<IpamReport> {
  const findings: Finding[] = [];
  const config = await access.config();
  const blocks = new Map<Prefix, IpamBlock>();
  for await (const found of access.blocks(config)) {
    if ('at' in found) blocks.set(found.cidr, found.at.value);
    else
      findings.push({
        type: 'block',
        subject: `block ${found.cidr}`,
        message: `cannot be read: ${found.unreadable}`,
        remedy: 'restore the key from a backup, or delete it once no workload uses its addresses',
      });
  }
  const world: World = { blocks, findings, users: await usersOf(resources) };
  checkBlocks(
    world,
    (await resources.list('IPPool')).items.map((p) => ({ cidr: p.spec.cidr, blockSize: p.spec.blockSize })),
  );
  checkAllocations(world);
  checkUsers(world);
  findings.push(...(await checkAffinities(access, blocks)), ...(await checkHandles(access, blocks)));
  const allocations = [...blocks.values()].reduce((sum, block) => sum + held(block).length, 0);
  return { blocks: blocks.size, allocations, findings };
}

const held = (block: IpamBlock) => [...allocationsOf(block)].filter(({ attribute }) => !isCooling(attribute));

async function usersOf(resources: Resources): Promise<Map<Addr, string[]>> {
  const users = new Map<Addr, string[]>();
  const add = (text: string | undefined, user: string) => {
    const net = text ? parsePrefix(text) : undefined;
    if (!net?.ok) return;
    const address = prefixAddr(net.value);
    users.set(address, [...(users.get(address) ?? []), user]);
  };
  for (const endpoint of (await resources.list('WorkloadEndpoint')).items)
    for (const net of endpoint.spec.ipNetworks ?? [])
      add(net, `WorkloadEndpoint ${endpoint.metadata.namespace}/${endpoint.metadata.name}`);
  for (const node of (await resources.list('Node')).items)
    for (const address of tunnelAddresses(node)) add(address, `tunnel of Node ${node.metadata.name}`);
  return users;
}

const tunnelAddresses = ({ spec }: Node): (string | undefined)[] => [
  spec.bgp?.ipv4IPIPTunnelAddr,
  spec.ipv4VXLANTunnelAddr,
  spec.ipv6VXLANTunnelAddr,
  spec.wireguard?.interfaceIPv4Address,
  spec.wireguard?.interfaceIPv6Address,
];

function checkBlocks({ blocks, findings }: World, pools: readonly { cidr: string; blockSize?: number }[]): void {
  const sorted = [...blocks.keys()].sort();
  for (const [cidr, block] of blocks) {
    const pool = pools.find((p) => {
      const net = parsePrefix(p.cidr);
      return net.ok && covers(net.value, cidr);
    });
    const size = pool?.blockSize ?? (cidr.includes(':') ? 122 : 26);
    if (!pool)
      findings.push({
        type: 'outside-pools',
        subject: `block ${cidr}`,
        message: 'lies in no IPPool',
        remedy: 'create the pool again, or release its addresses',
      });
    else if (size !== prefixLength(cidr))
      findings.push({
        type: 'block',
        subject: `block ${cidr}`,
        message: `has another size than its pool's /${size}`,
        remedy: 'release its addresses; the block goes with the last one',
      });
    const wrong = queueFault(block);
    if (wrong)
      findings.push({
        type: 'block',
        subject: `block ${cidr}`,
        message: wrong,
        remedy:
          'release and assign an address of the block; the next write mends it only if the queue is right: restore it from a backup',
      });
    const other = sorted.find((o) => o !== cidr && o < cidr && overlaps(o, cidr));
    if (other)
      findings.push({
        type: 'double-owner',
        subject: `block ${cidr}`,
        message: `overlaps block ${other}: an address may be given twice`,
        remedy: 'release the addresses of one of them',
      });
  }
}

/** The free ordinals are exactly those in the queue, each once. */
function queueFault({ allocations, unallocated }: IpamBlock): string | null {
  const queued = new Set(unallocated);
  if (queued.size !== unallocated.length) return 'an address stands twice among the free ones';
  const wrong = allocations.findIndex((index, ordinal) => (index === null) !== queued.has(ordinal));
  return wrong < 0
    ? null
    : `address number ${wrong} is ${allocations[wrong] === null ? 'free but not among the free ones' : 'in use and among the free ones'}`;
}

/** Allocated, but nobody uses it. */
function checkAllocations({ blocks, findings, users }: World): void {
  for (const [cidr, block] of blocks)
    for (const { ordinal, attribute } of held(block)) {
      const address = addressAt(block, ordinal);
      const handle = handleId(attribute.handle_id);
      if (users.has(address) || handle === 'windows-reserved-ipam-handle') continue;
      const sequence = String(block.sequenceNumberForAllocation[String(ordinal)] ?? 0n);
      findings.push({
        type: 'leak',
        subject: `address ${address}`,
        message: `is assigned (block ${cidr}, handle '${handle}'${attribute.secondary?.node ? `, node ${attribute.secondary.node}` : ''}), but no WorkloadEndpoint or tunnel uses it`,
        remedy: `tsnetctl ipam release --ip=${address}, if it is still so after a minute`,
        release: { address, handle, sequence },
      });
    }
}

/** Used, but not allocated; or used by two. */
function checkUsers({ blocks, findings, users }: World): void {
  for (const [address, by] of users) {
    const found = [...blocks].find(([cidr]) => covers(cidr, hostPrefix(address)));
    const index = found
      ? [...allocationsOf(found[1])].some(({ ordinal }) => addressAt(found[1], ordinal) === address)
      : false;
    if (!index)
      findings.push({
        type: 'in-use-unallocated',
        subject: `address ${address}`,
        message: `is used by ${by.join(' and ')}, but not assigned${found ? '' : ' (in no block)'}`,
        remedy: 'delete the workload and make it again, or leave it if its address is not from IPAM',
      });
    if (by.length > 1)
      findings.push({
        type: 'double-owner',
        subject: `address ${address}`,
        message: `is used by ${by.join(' and ')}`,
        remedy: 'delete one of them',
      });
  }
}
