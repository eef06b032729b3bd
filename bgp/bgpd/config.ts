import { type Document, LineCounter, parseDocument } from 'yaml';
import { bitsOf, type Family, familyOf, prefixAddr, prefixLength } from '#core';
import { DEFAULT_LOCAL_PREF } from '../rib/attributes.ts';
import { MAX_PRIORITY } from '../rib/policy.ts';
import type { LocalRoute, PeerConfig, RouteOperation, RoutePolicy, RouteRule, SpeakerConfig } from '../types.ts';
import { type ConfigFile, type PeerFile, type RuleFile, schema } from './schema.ts';

/** What the program is to be, read from its file. */
export interface BgpdConfig {
  readonly speaker: SpeakerConfig;
  readonly peers: readonly PeerConfig[];
  readonly networks: readonly LocalRoute[];
  readonly kernel: boolean;
}
export type Read = { readonly config: BgpdConfig } | { readonly errors: readonly string[] };

type Path = readonly (string | number)[];

/** Originated prefixes and unlabelled routes have the LOCAL_PREF that every speaker assumes. */
const PRIORITY = MAX_PRIORITY - DEFAULT_LOCAL_PREF;

/**
 * Reads YAML (and so JSON) text.
 * @returns the configuration, or every mistake as `file:line: field: what is wrong`.
 */
export function readConfig(file: string, text: string): Read {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number) => `${file}:${lines.linePos(offset).line}`;
  if (document.errors.length > 0) return { errors: document.errors.map((e) => `${at(e.pos[0])}: ${e.message}`) };
  const parsed = schema.safeParse(document.toJS());
  if (parsed.success) return checked(parsed.data, (path) => at(offsetOf(document, path)));
  const errors = parsed.error.issues.flatMap((issue) => {
    const path = issue.path as Path;
    const place = (of: Path) => `${at(offsetOf(document, of))}: ${fieldName(of) || 'the file'}`;
    if (issue.code !== 'unrecognized_keys') return [`${place(path)}: ${issue.message}`];
    return issue.keys.map((key) => `${place([...path, key])}: unknown key`);
  });
  return { errors };
}

/** What one field cannot tell alone. */
function checked(file: ConfigFile, place: (path: Path) => string): Read {
  const errors: string[] = [];
  const names = new Set<string>();
  file.peers.forEach((peer, i) => {
    const name = nameOf(peer);
    if (names.has(name)) errors.push(`${place(['peers', i])}: peers[${i}]: ${name} is configured twice`);
    names.add(name);
  });
  return errors.length > 0 ? { errors } : { config: toConfig(file) };
}

/** Where the field stands; of a key that should not be there, the key itself. */
function offsetOf(document: Document, path: Path): number {
  for (let depth = path.length; depth > 0; depth--) {
    const parent = document.getIn(path.slice(0, depth - 1), true) as {
      items?: { key?: { value?: unknown; range?: number[] } }[];
    };
    const pair = parent?.items?.find((item) => item?.key?.value === path[depth - 1]);
    if (pair?.key?.range) return pair.key.range[0];
    const node = document.getIn(path.slice(0, depth), true) as { range?: number[] } | undefined;
    if (node?.range) return node.range[0];
  }
  return 0;
}

const fieldName = (path: Path): string =>
  path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    return text ? `${text}.${step}` : step;
  }, '');

function toConfig(file: ConfigFile): BgpdConfig {
  const listen = file.listen === undefined ? [] : Array.isArray(file.listen) ? file.listen : [file.listen];
  return {
    speaker: {
      asNumber: file.asNumber,
      routerId: file.routerId,
      ...(file.clusterId && { clusterId: file.clusterId }),
      listen,
      holdTime: file.holdTime,
      restartTime: file.restartTime,
      restarting: false,
      connectRetry: file.connectRetry * 1000,
      normalPriority: { 4: PRIORITY, 6: PRIORITY },
    },
    peers: file.peers.map(toPeer),
    networks: file.networks.map((prefix) => ({ prefix, priority: PRIORITY, reason: 'network' })),
    kernel: file.kernel,
  };
}

function nameOf({ address, range, port }: PeerFile): string {
  if (range) return range;
  const text = address ?? '';
  if (port === 179) return text;
  return text.includes(':') ? `[${text}]:${port}` : `${text}:${port}`;
}

function toPeer(peer: PeerFile): PeerConfig {
  const address = peer.address ?? prefixAddr(peer.range!);
  const families = peer.families?.map((name): Family => (name === 'ipv4' ? 4 : 6)) ?? [familyOf(address)];
  const { addPath, gracefulRestart: restart } = peer;
  return {
    name: nameOf(peer),
    type: 'Static',
    resource: 'configuration file',
    address,
    port: peer.port,
    asNumbers: peer.asNumbers ?? [peer.asNumber!],
    passive: peer.passive,
    families: [...new Set(families)].sort(),
    routeReflectorClient: peer.routeReflectorClient,
    addPath: { receive: addPath === 'receive' || addPath === 'both', send: addPath === 'send' || addPath === 'both' },
    gracefulRestart: restart
      ? { restartTime: restart.restartTime, ...(restart.longLivedTime && { longLivedSeconds: restart.longLivedTime }) }
      : null,
    nextHop: peer.nextHop,
    allowOwnAs: peer.allowOwnAs,
    requirePolicy: peer.requirePolicy,
    importPolicy: toPolicy('import', peer.import),
    exportPolicy: toPolicy('export', peer.export),
    filterNames: [],
    ...optionalFields(peer),
  };
}

function optionalFields(peer: PeerFile): Partial<PeerConfig> {
  const { range, maxPeers, localAs, localAddress, password, ttlSecurity, holdTime, keepaliveTime, nextHopSelf } = peer;
  const { maxPrefixes, maxPrefixesOut, bfd, role } = peer;
  return {
    ...(range && { range }),
    ...(maxPeers && { maxPeers }),
    ...(localAs && { localAs }),
    ...(localAddress && { localAddress }),
    ...(password && { password }),
    ...(ttlSecurity && { ttlSecurity }),
    ...(holdTime !== undefined && { holdTime }),
    ...(keepaliveTime && { keepaliveTime }),
    ...(nextHopSelf && { nextHopSelf: Object.fromEntries(nextHopSelf.map((a) => [familyOf(a), a])) }),
    ...(maxPrefixes && { maxPrefixes }),
    ...(maxPrefixesOut && { maxPrefixesOut }),
    ...(bfd && { bfd }),
    ...(role && { role }),
  };
}

/** BGPFilter's rules; what none of them matches is accepted. */
const toPolicy = (direction: string, rules: readonly RuleFile[]): RoutePolicy => ({
  rules: rules.map((rule, i) => toRule(`${direction}[${i}]`, rule)),
  otherwise: 'accept',
});

function toRule(name: string, rule: RuleFile): RouteRule {
  const match: RouteRule['match'] = {};
  if (rule.cidr) {
    const minLength = rule.prefixLength?.min ?? prefixLength(rule.cidr);
    const maxLength = rule.prefixLength?.max ?? bitsOf(familyOf(rule.cidr));
    match.prefix = { net: rule.cidr, op: rule.matchOperator ?? 'In', minLength, maxLength };
  }
  if (rule.source) match.source = 'remote';
  if (rule.interface) match.interface = rule.interface;
  if (rule.peerType) match.peerType = rule.peerType;
  if (rule.communities) match.community = rule.communities.values[0];
  if (rule.asPathPrefix) match.asPathPrefix = rule.asPathPrefix;
  if (rule.priority !== undefined) match.priority = rule.priority;
  const operations = (rule.operations ?? []).map((operation): RouteOperation => {
    if ('addCommunity' in operation) return { op: 'addCommunity', value: operation.addCommunity.value };
    if ('setPriority' in operation) return { op: 'setPriority', value: operation.setPriority.value };
    return { op: 'prependAsPath', asNumbers: operation.prependASPath.prefix };
  });
  return { name, match, action: rule.action === 'Accept' ? 'accept' : 'reject', operations };
}
