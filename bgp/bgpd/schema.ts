import * as z from 'zod';
import { parseAddr, parsePrefix } from '#core';
import { parseCommunity } from '../attributes.ts';
import { MD5_KEY_MAX } from '../transport/md5.ts';

/** The configuration file of tsnet-bgpd (INTERFACES.md), key by key. Unknown keys are errors. */

const address = z.string().transform((text, ctx) => {
  const parsed = parseAddr(text);
  if (parsed.ok) return parsed.value;
  ctx.addIssue({ code: 'custom', message: parsed.error });
  return z.NEVER;
});
const ipv4 = address.refine((text) => !text.includes(':'), 'must be an IPv4 address');
const prefix = z.string().transform((text, ctx) => {
  const parsed = parsePrefix(text);
  if (parsed.ok) return parsed.value;
  ctx.addIssue({ code: 'custom', message: parsed.error });
  return z.NEVER;
});
const integer = (min: number, max: number) => z.number().int().min(min).max(max);
const asNumber = integer(1, 4_294_967_295);
const port = integer(1, 65_535);
const holdTime = integer(0, 65_535).refine((s) => s === 0 || s >= 3, 'must be 0 or at least 3 seconds');
const priority = integer(0, 2_147_483_646);
const community = z
  .string()
  .refine((text) => parseCommunity(text).ok, 'must be a community: AS:VALUE or AS:VALUE:VALUE');

const rule = z.strictObject({
  action: z.enum(['Accept', 'Reject']),
  cidr: prefix.optional(),
  matchOperator: z.enum(['Equal', 'NotEqual', 'In', 'NotIn']).optional(),
  prefixLength: z.strictObject({ min: integer(0, 128).optional(), max: integer(0, 128).optional() }).optional(),
  source: z.enum(['RemotePeers']).optional(),
  interface: z.string().optional(),
  peerType: z.enum(['eBGP', 'iBGP']).optional(),
  communities: z.strictObject({ values: z.array(community).min(1).max(1) }).optional(),
  asPathPrefix: z.array(asNumber).min(1).optional(),
  priority: priority.optional(),
  operations: z
    .array(
      z.union([
        z.strictObject({ addCommunity: z.strictObject({ value: community }) }),
        z.strictObject({ prependASPath: z.strictObject({ prefix: z.array(asNumber).min(1) }) }),
        z.strictObject({ setPriority: z.strictObject({ value: priority }) }),
      ]),
    )
    .optional(),
});
export type RuleFile = z.infer<typeof rule>;

const gracefulRestart = z.strictObject({
  restartTime: integer(0, 4095).default(120),
  longLivedTime: integer(0, 16_777_215).optional(),
});
const bfd = z.strictObject({
  interval: integer(10, 60_000).default(300),
  multiplier: integer(1, 255).default(3),
  multihop: z.boolean().default(false),
});
const password = z
  .string()
  .min(1)
  .refine((text) => new TextEncoder().encode(text).length <= MD5_KEY_MAX, `must be at most ${MD5_KEY_MAX} bytes`);

const peer = z
  .strictObject({
    address: address.optional(),
    range: prefix.optional(),
    maxPeers: integer(1, 10_000).optional(),
    port: port.default(179),
    asNumber: asNumber.optional(),
    asNumbers: z.array(asNumber).min(1).optional(),
    passive: z.boolean().default(false),
    localAddress: address.optional(),
    password: password.optional(),
    ttlSecurity: integer(1, 254).optional(),
    routeReflectorClient: z.boolean().default(false),
    families: z
      .array(z.enum(['ipv4', 'ipv6']))
      .min(1)
      .optional(),
    addPath: z.enum(['receive', 'send', 'both']).optional(),
    gracefulRestart: gracefulRestart.optional(),
    holdTime: holdTime.optional(),
    keepaliveTime: integer(1, 21_845).optional(),
    nextHop: z.enum(['auto', 'self', 'keep']).default('auto'),
    nextHopSelf: z.array(address).max(2).optional(),
    maxPrefixes: integer(1, 4_294_967_295).optional(),
    maxPrefixesOut: integer(1, 4_294_967_295).optional(),
    import: z.array(rule).default([]),
    export: z.array(rule).default([]),
    allowOwnAs: integer(0, 10).default(0),
    localAs: asNumber.optional(),
    bfd: bfd.optional(),
    role: z.enum(['provider', 'rs', 'rs-client', 'customer', 'peer']).optional(),
    requirePolicy: z.boolean().default(false),
  })
  .superRefine((value, ctx) => {
    const issue = (message: string, path: string[] = []) => ctx.addIssue({ code: 'custom', message, path });
    if ((value.address === undefined) === (value.range === undefined)) issue('needs either address or range');
    if ((value.asNumber === undefined) === (value.asNumbers === undefined)) issue('needs either asNumber or asNumbers');
    if (value.asNumbers && value.range === undefined) issue('only a range may have several AS numbers', ['asNumbers']);
  });
export type PeerFile = z.infer<typeof peer>;

const listen = z.strictObject({ address, port: port.default(179) });

export const schema = z.strictObject({
  asNumber,
  routerId: ipv4,
  listen: z.union([listen, z.array(listen)]).optional(),
  holdTime: holdTime.default(90),
  connectRetry: integer(1, 3600).default(5),
  restartTime: integer(0, 4095).default(120),
  clusterId: ipv4.optional(),
  kernel: z.boolean().default(false),
  networks: z.array(prefix).default([]),
  peers: z.array(peer).default([]),
});
export type ConfigFile = z.infer<typeof schema>;
