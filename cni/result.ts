import { type Addr, familyOf, type Prefix, prefixAddr } from '#core';
import { CNI_CODE, CniError } from './error.ts';
import { atLeast, type CniVersion } from './version.ts';

/** A route as results have it; fields of newer versions pass through. */
export interface ResultRoute {
  readonly dst: string;
  readonly gw?: string;
}
export interface ResultInterface {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
  readonly sandbox?: string;
}
export interface ResultAddress {
  /** With the length of its subnet. */
  readonly address: string;
  readonly gateway?: Addr;
  readonly interface?: number;
}
/** The outcome of ADD, of whatever version. */
export interface Result {
  readonly interfaces: readonly ResultInterface[];
  readonly ips: readonly ResultAddress[];
  readonly routes: readonly ResultRoute[];
  readonly dns: object;
}

/** The result in the shape of the version that the configuration asks for. */
export function encodeResult(result: Result, version: CniVersion): object {
  if (!atLeast(version, '0.3.0')) return encodeOldest(result, version);
  const legacy = !atLeast(version, '1.0.0');
  return {
    cniVersion: version,
    interfaces: result.interfaces.map(({ mtu, ...rest }) =>
      mtu !== undefined && atLeast(version, '1.1.0') ? { ...rest, mtu } : rest,
    ),
    // Before 1.0.0 an address says its family.
    ips: result.ips.map((ip) => (legacy ? { version: String(familyOf(ip.address as Prefix)), ...ip } : ip)),
    ...(result.routes.length > 0 ? { routes: result.routes } : {}),
    dns: result.dns,
  };
}

/** 0.1.0 and 0.2.0 have room for one address of each family and for no interface. */
function encodeOldest(result: Result, version: CniVersion): object {
  const of = (family: 4 | 6) => {
    const ip = result.ips.find((one) => familyOf(one.address as Prefix) === family);
    if (!ip) return {};
    const routes = result.routes.filter(({ dst }) => dst.includes(':') === (family === 6));
    return { [`ip${family}`]: { ip: ip.address, ...(ip.gateway ? { gateway: ip.gateway } : {}), routes } };
  };
  return { cniVersion: version, ...of(4), ...of(6), dns: result.dns };
}

/** Reads a result that another plugin printed, or `prevResult`. @throws CniError decode */
export function decodeResult(raw: unknown): Result {
  const bad = (why: string) => new CniError(CNI_CODE.decode, `a plugin's result cannot be read: ${why}`);
  if (typeof raw !== 'object' || raw === null) throw bad('it is no JSON object');
  const { interfaces, ips, routes, dns, ip4, ip6 } = raw as Record<string, unknown>;
  const oldest = [ip4, ip6].filter((one) => one !== undefined) as { ip: string; gateway?: string; routes?: unknown }[];
  const list = (value: unknown, name: string): Record<string, unknown>[] => {
    if (value === undefined || value === null) return [];
    if (!Array.isArray(value)) throw bad(`${name} is no list`);
    return value as Record<string, unknown>[];
  };
  const addresses = oldest.length > 0 ? oldest.map(({ ip, gateway }) => ({ address: ip, gateway })) : list(ips, 'ips');
  for (const { address } of addresses) if (typeof address !== 'string') throw bad('an address is missing');
  return {
    interfaces: list(interfaces, 'interfaces') as unknown as ResultInterface[],
    ips: addresses as unknown as ResultAddress[],
    routes: [
      ...list(routes, 'routes'),
      ...oldest.flatMap((one) => list(one.routes, 'routes')),
    ] as unknown as ResultRoute[],
    dns: typeof dns === 'object' && dns !== null ? dns : {},
  };
}

/** The addresses alone. */
export const addressesOf = (result: Result): Addr[] => result.ips.map(({ address }) => prefixAddr(address as Prefix));
