import { readFileSync, writeFileSync } from 'node:fs';
import { OperationalError } from '#core';

/**
 * A kernel setting by its path under /proc/sys, with slashes: interface names may contain dots. Access is synchronous: procfs answers from
 * memory, and a worker thread could be in another network namespace.
 */
export interface Sysctl {
  /** The value without its newline; null: there is no such setting (the interface is gone, or the kernel was built without it). */
  read(path: string): string | null;
  /** @throws OperationalError KERNEL naming the setting and the value */
  write(path: string, value: string): void;
}

/**
 * A container without privileges has a /proc/sys that it cannot write; there the machine's own is mounted elsewhere, and the variable says where. Either
 * way `net` is that of the namespace that we are in.
 */
const ROOT = `${process.env.TSNET_PROC_SYS ?? '/proc/sys'}/`;

export const sysctl: Sysctl = {
  read(path) {
    const file = ROOT + checked(path);
    try {
      return readFileSync(file, 'utf8').trim();
    } catch (error) {
      if (isMissing(error)) return null;
      throw new OperationalError('KERNEL', `cannot read ${ROOT}${path}`, { cause: error });
    }
  },
  write(path, value) {
    const file = ROOT + checked(path);
    try {
      writeFileSync(file, value);
    } catch (error) {
      throw new OperationalError('KERNEL', `cannot set ${ROOT}${path} to ${value}: ${codeOf(error)}`, { cause: error });
    }
  },
};

/** Interface names come from the datastore: a name with `..` must not lead elsewhere. */
function checked(path: string): string {
  if (path.split('/').some((part) => part === '' || part === '.' || part === '..'))
    throw new OperationalError('KERNEL', `'${path}' is not the path of a kernel setting`);
  return path;
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);
const isMissing = (error: unknown): boolean => codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR';

/** One setting; `required` false: the kernel may lack it, or refuse it, without harm. */
export interface Setting {
  readonly path: string;
  readonly value: string;
  readonly required: boolean;
}

/**
 * What a workload's interface needs (calico.md 1.3). `rp_filter` of the interface is the node's default, so that a strict node stays
 * strict, or 0 for an endpoint that may use other source addresses.
 */
export function workloadSettings(link: string, options: { spoofing: boolean; defaultRpFilter: string }): Setting[] {
  const four = `net/ipv4/conf/${link}/`;
  const six = `net/ipv6/conf/${link}/`;
  const must = (path: string, value: string): Setting => ({ path, value, required: true });
  const may = (path: string, value: string): Setting => ({ path, value, required: false });
  return [
    must(`${four}rp_filter`, options.spoofing ? '0' : options.defaultRpFilter),
    must(`${four}route_localnet`, '1'),
    may(`net/ipv4/neigh/${link}/proxy_delay`, '0'),
    must(`${four}proxy_arp`, '1'),
    must(`${four}forwarding`, '1'),
    // A kernel booted with ipv6.disable=1 has none of these.
    may(`${six}accept_ra`, '0'),
    may(`${six}proxy_ndp`, '1'),
    may(`${six}forwarding`, '1'),
  ];
}

/** What the node as a router needs; empty where forwarding is left to the administrator. */
export function nodeSettings(options: { forwarding: boolean }): Setting[] {
  const accounting: Setting = { path: 'net/netfilter/nf_conntrack_acct', value: '1', required: false };
  if (!options.forwarding) return [accounting];
  return [
    { path: 'net/ipv4/ip_forward', value: '1', required: true },
    { path: 'net/ipv6/conf/all/forwarding', value: '1', required: false },
    accounting,
  ];
}

/** Whether nothing is to be written; false, too, where that cannot be read. */
export function isInPlace(access: Sysctl, { path, value, required }: Setting): boolean {
  try {
    const have = access.read(path);
    return have === value || (have === null && !required);
  } catch {
    return false;
  }
}

/** Writes a setting unless it is so already; true: it was changed. @throws OperationalError KERNEL if a required one is refused */
export function ensureSetting(access: Sysctl, { path, value, required }: Setting): boolean {
  const have = access.read(path);
  if (have === value) return false;
  if (have === null && !required) return false;
  try {
    access.write(path, value);
    return true;
  } catch (error) {
    if (required) throw error;
    return false;
  }
}
