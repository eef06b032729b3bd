import * as z from 'zod';
import { type Addr, familyOf, type Prefix, parseCidr, prefixAddr } from '#core';
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

/** An address with a length, made canonical: it goes into commands. */
const cidr = z.string().transform((text, context) => {
  const parsed = parseCidr(text);
  if (parsed.ok) return `${parsed.value.addr}/${parsed.value.length}`;
  context.addIssue({ code: 'custom', message: `${JSON.stringify(text)}: ${parsed.error}` });
  return z.NEVER;
});
const gateway = z
  .string()
  .optional()
  .transform((text) => text as Addr | undefined);
const listOf = <T extends z.ZodType>(item: T) =>
  z
    .array(item)
    .nullish()
    .transform((value) => value ?? []);
const routes = listOf(z.looseObject({ dst: z.string(), gw: z.string().optional() }));
const oldest = z.looseObject({ ip: cidr, gateway, routes }).optional();
const schema = z.looseObject({
  interfaces: listOf(z.looseObject({ name: z.string() })),
  ips: listOf(z.looseObject({ address: cidr, gateway, interface: z.number().int().optional() })),
  routes,
  dns: z.looseObject({}).nullish(),
  ip4: oldest,
  ip6: oldest,
});

/** Reads a result that another plugin printed, or `prevResult`. @throws CniError decode */
export function decodeResult(raw: unknown): Result {
  const parsed = schema.safeParse(raw);
  if (!parsed.success)
    throw new CniError(
      CNI_CODE.decode,
      `a plugin's result cannot be read: ${z.prettifyError(parsed.error).replaceAll('\n', ' ')}`,
    );
  const { interfaces, ips, ip4, ip6, dns } = parsed.data;
  const old = [ip4, ip6].filter((one) => one !== undefined);
  return {
    interfaces,
    ips: old.length > 0 ? old.map(({ ip, gateway: via }) => ({ address: ip, gateway: via })) : ips,
    routes: [...parsed.data.routes, ...old.flatMap((one) => one.routes)],
    dns: dns ?? {},
  };
}

/** The addresses alone. */
export const addressesOf = (result: Result): Addr[] => result.ips.map(({ address }) => prefixAddr(address as Prefix));
