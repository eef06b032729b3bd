import { Parser } from 'binary-parser';
import { copyOf, err, type Family, ok, type Result } from '#core';
import { afiOf, ERROR, familyOfAfi, malformed } from './codes.ts';
import { parseExact } from './exact.ts';
import { frame } from './frame.ts';
import type { DecodeContext, Malformed, RefreshSubtype, RouteRefresh } from './types.ts';

/** ROUTE-REFRESH (RFC 2918) and its borders (RFC 7313). Outbound route filters (RFC 5291) are not understood and never announced. */

const SUBTYPES: readonly RefreshSubtype[] = ['request', 'begin', 'end'];

const layout = new Parser().endianness('big').uint16('afi').uint8('subtype').uint8('safi');

/** @param message the whole message with its header: the data of the NOTIFICATION that RFC 7313 §5 asks for. */
export function decodeRouteRefresh(
  message: Uint8Array,
  body: Uint8Array,
  ctx: DecodeContext,
): Result<RouteRefresh, Malformed> {
  const ignore = (reason: string) => err(malformed('ignore', ERROR.routeRefresh, 0, reason));
  if (!ctx.routeRefresh) return ignore('ROUTE-REFRESH without the capability');
  const subtype = SUBTYPES[body[2]];
  if (!subtype) return ignore(`ROUTE-REFRESH subtype ${body[2]}`);
  if (subtype !== 'request' && !ctx.enhancedRouteRefresh) return ignore(`${subtype} of refresh without the capability`);
  const fields = parseExact<{ afi: number; safi: number }>(layout, body, 4);
  if (!fields && subtype !== 'request')
    return err(
      malformed('reset', ERROR.routeRefresh, 1, `ROUTE-REFRESH body of ${body.length} bytes`, copyOf(message)),
    );
  if (!fields) return ignore('ROUTE-REFRESH with an outbound route filter');
  const family = familyOfAfi(fields.afi, fields.safi);
  if (!family || !ctx.families.includes(family))
    return ignore(`ROUTE-REFRESH for AFI ${fields.afi} SAFI ${fields.safi}, which was not negotiated`);
  return ok({ type: 'ROUTE-REFRESH', family, subtype });
}

export function encodeRouteRefresh(family: Family, subtype: RefreshSubtype): Uint8Array {
  return frame('ROUTE-REFRESH', Uint8Array.of(0, afiOf(family), SUBTYPES.indexOf(subtype), 1));
}
