import { isAbsolute } from 'node:path';
import { type Addr, OperationalError, type Prefix, parseAddr, parsePrefix, type Result } from '#core';
import type { RouteQuery } from './types.ts';

/**
 * The parameters of `bgp.routes` as they come over a control socket.
 * @throws OperationalError VALIDATION
 */
export function readRouteQuery(params: Readonly<Record<string, unknown>>): RouteQuery {
  const { prefix, longer, received, advertised, limit, after } = params;
  return {
    ...(prefix !== undefined && { prefix: need<Prefix>(parsePrefix(String(prefix))) }),
    ...(longer === true && { longer }),
    ...(received !== undefined && { received: need<Addr>(parseAddr(String(received))) }),
    ...(advertised !== undefined && { advertised: need<Addr>(parseAddr(String(advertised))) }),
    ...(typeof limit === 'number' && limit >= 1 && { limit: Math.floor(limit) }),
    ...(after !== undefined && { after: need<Prefix>(parsePrefix(String(after))) }),
  };
}

/**
 * The parameter of `bgp.refresh`.
 * @throws OperationalError VALIDATION
 */
export const readPeer = ({ peer }: Readonly<Record<string, unknown>>): Addr => need<Addr>(parseAddr(String(peer)));

/**
 * The parameter of `bgp.dump`: where the daemon writes to.
 * @throws OperationalError VALIDATION
 */
export function readDumpFile({ file }: Readonly<Record<string, unknown>>): string {
  if (typeof file !== 'string' || !isAbsolute(file))
    throw new OperationalError('VALIDATION', `bgp.dump needs file, an absolute path; it is '${String(file)}'`);
  return file;
}

function need<T>(parsed: Result<T, string>): T {
  if (!parsed.ok) throw new OperationalError('VALIDATION', parsed.error);
  return parsed.value;
}
