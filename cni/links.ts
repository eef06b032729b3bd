import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { type Addr, type Clock, familyOf, hostPrefix, messageOf, OperationalError } from '#core';
import { CNI_CODE, CniError } from './error.ts';
import { demand, execute } from './exec.ts';

/** The host's end of every pair has this address, so that the gateway's link-local is the same everywhere. */
export const HOST_MAC = 'ee:ee:ee:ee:ee:ee';
const GATEWAY: Readonly<Record<4 | 6, string>> = { 4: '169.254.1.1', 6: 'fe80::ecee:eeff:feee:eeee' };

/** A pair of veth interfaces, one end with the host, the other in the container (calico-datastore.md 5.4). */
export interface Pair {
  readonly hostIfname: string;
  readonly ifname: string;
  readonly netns: string;
  readonly mac: string;
  /** 0: the kernel's default. */
  readonly mtu: number;
  readonly queues: number;
  readonly addresses: readonly Addr[];
  readonly forwarding: boolean;
}

/** An address of the local administration, as the kernel makes them. */
export function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = (bytes[0] & 0xfe) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** Whether our own namespace has the interface. Not /sys, which may be another namespace's. */
export const hasLink = (name: string): boolean =>
  readFileSync('/proc/self/net/dev', 'utf8')
    .split('\n')
    .some((line) => line.trimStart().startsWith(`${name}:`));

/** Makes the pair; an older interface of the host's name goes first. Both ends are down. @throws OperationalError KERNEL */
export async function createPair(pair: Pair, clock: Clock): Promise<void> {
  const { hostIfname, ifname, netns, mac, mtu, queues } = pair;
  if (!statSync(netns, { throwIfNoEntry: false }))
    throw new CniError(CNI_CODE.unknownContainer, `CNI_NETNS ${netns} does not exist`);
  await deleteLink(hostIfname, clock);
  const size = mtu > 0 ? ['mtu', String(mtu)] : [];
  const lanes = queues > 1 ? ['numtxqueues', String(queues), 'numrxqueues', String(queues)] : [];
  const args = ['link', 'add', hostIfname, 'address', HOST_MAC, ...size, ...lanes, 'type', 'veth'];
  const peer = ['peer', 'name', ifname, 'address', mac, ...size, ...lanes, 'netns', netns];
  await demand(
    { file: 'ip', args: [...args, ...peer] },
    `interfaces ${hostIfname} and ${ifname} cannot be made`,
    clock,
  );
}

/** Removes an interface of the host, and with it its peer; true if there was one. */
export async function deleteLink(name: string, clock: Clock): Promise<boolean> {
  if (!hasLink(name)) return false;
  const { status, stderr } = await execute({ file: 'ip', args: ['link', 'del', name] }, clock);
  // Somebody else, or the end of the container's namespace, may have been faster.
  if (status === 0 || /Cannot find device/.test(stderr)) return status === 0;
  throw new OperationalError('KERNEL', `interface ${name} cannot be removed: ${stderr.trim()}`);
}

/** Sets the host's end up. Values that only some kernels have are tried. */
export async function configureHost({ hostIfname, addresses }: Pair, clock: Clock): Promise<void> {
  const write = (family: 4 | 6, path: string, value: string, required: boolean) => {
    try {
      writeFileSync(`/proc/sys/net/ipv${family}/${path}`, value);
    } catch (error) {
      if (required) throw new OperationalError('KERNEL', `net.ipv${family} ${path} cannot be set: ${messageOf(error)}`);
    }
  };
  const own = `conf/${hostIfname}`;
  if (addresses.some((address) => familyOf(address) === 4)) {
    write(4, `${own}/route_localnet`, '1', true);
    write(4, `neigh/${hostIfname}/proxy_delay`, '0', false);
    write(4, `${own}/proxy_arp`, '1', true);
    write(4, `${own}/forwarding`, '1', true);
  }
  if (addresses.some((address) => familyOf(address) === 6)) {
    for (const name of ['accept_dad', 'disable_ipv6']) write(6, `${own}/${name}`, '0', true);
    // The link-local address is the containers' gateway: it must follow from the MAC.
    write(6, `${own}/addr_gen_mode`, '0', true);
    for (const name of ['proxy_ndp', 'forwarding']) write(6, `${own}/${name}`, '1', true);
  }
  write(6, `${own}/accept_ra`, '0', false);
  await demand({ file: 'ip', args: ['link', 'set', hostIfname, 'up'] }, `interface ${hostIfname}`, clock);
}

/** In the container's namespace: values into files of /proc/sys/net, in pairs, then lines for `ip`. One process for all, because starting one is what costs. */
const SETTINGS_THEN_IP =
  'while [ $# -gt 0 ]; do echo "$1" > "/proc/sys/net/$2" || exit 1; shift 2; done; exec ip -batch -';

/** Addresses, routes and settings inside the container. */
export async function configureContainer(pair: Pair, clock: Clock): Promise<void> {
  const { netns, ifname } = pair;
  const settings = [...containerSettings(pair)].flatMap(([value, paths]) => paths.flatMap((path) => [value, path]));
  const lines = containerBatch(pair).map((line) => `${line}\n`);
  await demand(
    {
      file: 'nsenter',
      args: [`--net=${netns}`, '--', 'sh', '-c', SETTINGS_THEN_IP, 'sh', ...settings],
      input: lines.join(''),
    },
    `interface ${ifname} of the container`,
    clock,
  );
}

/** Files below /proc/sys/net by the value that they are to have. */
export function containerSettings({ ifname, addresses, forwarding }: Pair): Map<string, string[]> {
  const settings = new Map<string, string[]>();
  const add = (value: string, ...paths: string[]) => settings.set(value, [...(settings.get(value) ?? []), ...paths]);
  const isForwarding = forwarding ? '1' : '0';
  if (addresses.some((address) => familyOf(address) === 6)) {
    add(
      '0',
      ...['all', 'default', 'lo'].map((name) => `ipv6/conf/${name}/disable_ipv6`),
      `ipv6/conf/${ifname}/accept_dad`,
    );
    add(isForwarding, 'ipv6/conf/all/forwarding');
  }
  if (addresses.some((address) => familyOf(address) === 4)) add(isForwarding, 'ipv4/ip_forward');
  return settings;
}

/** The lines of `ip -batch`, of names that have been checked. */
export function containerBatch({ ifname, addresses }: Pair): string[] {
  const lines = [`link set ${ifname} up`];
  for (const address of addresses) lines.push(`addr add ${hostPrefix(address)} dev ${ifname}`);
  for (const family of new Set(addresses.map(familyOf))) {
    // The gateway is no neighbour of a /32: the kernel must be told that it is on the link.
    if (family === 4) lines.push(`route add ${GATEWAY[4]}/32 dev ${ifname} scope link`);
    lines.push(`route add ${family === 4 ? '0.0.0.0/0' : '::/0'} via ${GATEWAY[family]} dev ${ifname}`);
  }
  return lines;
}

/** Removes the container's interface; a namespace or an interface that is gone is fine. */
export async function removeContainerLink(netns: string, ifname: string, clock: Clock): Promise<void> {
  if (netns === '' || !existsSync(netns)) return;
  const args = [`--net=${netns}`, '--', 'ip', 'link', 'del', ifname];
  const { status, stderr } = await execute({ file: 'nsenter', args }, clock);
  // A path that is left of a namespace that has ended cannot be entered.
  if (status === 0 || /Cannot find device|reassociate to namespace|No such file/.test(stderr)) return;
  throw new OperationalError('KERNEL', `interface ${ifname} of the container cannot be removed: ${stderr.trim()}`);
}
