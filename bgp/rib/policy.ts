import { addrBytes, assertNever, type Family, familyOf, prefixAddr, prefixLength, wildcard } from '#core';
import { addCommunity, type Community, hasCommunity, parseCommunity, prependAs, withLocalPref } from '../attributes.ts';
import type { RouteOperation, RoutePolicy, RouteRule } from '../types.ts';
import type { NlriColumns } from '../wire/nlri.ts';
import type { PathAttributes } from '../wire/types.ts';
import { DEFAULT_LOCAL_PREF } from './attributes.ts';

/** LOCAL_PREF carries the inverted metric (reference: Calico's convention): priority = this − LOCAL_PREF. */
export const MAX_PRIORITY = 0x7fffffff;
export const priorityOf = (localPref: number): number => Math.max(0, MAX_PRIORITY - localPref);
export const localPrefOf = (priority: number): number => Math.max(0, MAX_PRIORITY - priority);

/** What a rule may look at beside the attributes. */
export interface RouteFacts {
  readonly prefixes: NlriColumns;
  /** Index of the prefix in the columns. */
  readonly prefix: number;
  readonly source: 'local' | 'ibgp' | 'ebgp';
  readonly peerType: 'eBGP' | 'iBGP';
  /** Interface of the route, where one is known. */
  readonly interface: string | null;
}

export interface Verdict {
  readonly accept: boolean;
  /** Name of the rule that decided; null: none matched. */
  readonly rule: string | null;
  /** Operations of the rules that matched, in order; equal keys mean equal operations. */
  readonly operations: readonly Operation[];
  readonly key: string;
}

export type Operation =
  | { readonly op: 'addCommunity'; readonly community: Community }
  | { readonly op: 'prependAsPath'; readonly asNumbers: readonly number[] }
  | { readonly op: 'setLocalPref'; readonly value: number };

interface CompiledRule {
  readonly name: string;
  readonly action: RouteRule['action'];
  readonly operations: readonly Operation[];
  matches(attributes: PathAttributes, facts: RouteFacts): boolean;
}

const NONE: readonly never[] = [];
const ACCEPT: Verdict = { accept: true, rule: null, operations: NONE, key: '' };
const REJECT: Verdict = { accept: false, rule: null, operations: NONE, key: '' };

/** A route policy, prepared: prefixes as words, communities as numbers. */
export class CompiledPolicy {
  /** The same for every prefix that has equal attributes and source. */
  readonly byAttributes: boolean;
  /** Every route goes through as it is. */
  readonly isOpen: boolean;
  readonly #rules: readonly CompiledRule[];
  readonly #otherwise: Verdict;

  constructor(policy: RoutePolicy) {
    this.#rules = policy.rules.map(compile);
    this.#otherwise = policy.otherwise === 'accept' ? ACCEPT : REJECT;
    this.byAttributes = policy.rules.every(({ match }) => !match.prefix && match.interface === undefined);
    this.isOpen = policy.rules.length === 0 && policy.otherwise === 'accept';
  }
  evaluate(attributes: PathAttributes, facts: RouteFacts): Verdict {
    let operations: readonly Operation[] = NONE;
    let key = '';
    for (let i = 0; i < this.#rules.length; i++) {
      const rule = this.#rules[i];
      if (!rule.matches(attributes, facts)) continue;
      if (rule.operations.length > 0) {
        operations = operations.length === 0 ? rule.operations : [...operations, ...rule.operations];
        key += `${i},`;
      }
      if (rule.action !== 'next') return { accept: rule.action === 'accept', rule: rule.name, operations, key };
    }
    return operations.length === 0 ? this.#otherwise : { ...this.#otherwise, operations, key };
  }
}

export function applyOperations(attributes: PathAttributes, operations: readonly Operation[]): PathAttributes {
  let value = attributes;
  for (const operation of operations) {
    switch (operation.op) {
      case 'addCommunity':
        value = addCommunity(value, operation.community);
        break;
      case 'prependAsPath':
        value = prependAs(value, operation.asNumbers);
        break;
      case 'setLocalPref':
        value = withLocalPref(value, operation.value);
        break;
      default:
        return assertNever(operation);
    }
  }
  return value;
}

function compile({ name, match, action, operations }: RouteRule): CompiledRule {
  const tests: ((attributes: PathAttributes, facts: RouteFacts) => boolean)[] = [];
  if (match.family) tests.push((_, { prefixes }) => prefixes.family === match.family);
  if (match.prefix) tests.push(prefixTest(match.prefix));
  if (match.source) tests.push((_, { source }) => isFrom(source, match.source));
  if (match.interface !== undefined) {
    const pattern = wildcard(match.interface);
    tests.push((_, facts) => facts.interface !== null && pattern.test(facts.interface));
  }
  if (match.peerType) tests.push((_, { peerType }) => peerType === match.peerType);
  if (match.community !== undefined) {
    const community = parseCommunity(match.community);
    tests.push((attributes) => community.ok && hasCommunity(attributes, community.value));
  }
  const path = match.asPathPrefix;
  if (path)
    tests.push(({ asPath }) =>
      startsWith(
        asPath.flatMap((s) => s.asNumbers),
        path,
      ),
    );
  const priority = ({ localPref }: PathAttributes) => priorityOf(localPref ?? DEFAULT_LOCAL_PREF);
  if (match.priority !== undefined) tests.push((attributes) => priority(attributes) === match.priority);
  const below = match.priorityBelow;
  if (below !== undefined) tests.push((attributes) => priority(attributes) < below);
  return {
    name,
    action,
    operations: operations.map(compileOperation),
    matches: (attributes, facts) => tests.every((test) => test(attributes, facts)),
  };
}

function compileOperation(operation: RouteOperation): Operation {
  switch (operation.op) {
    case 'addCommunity': {
      const community = parseCommunity(operation.value);
      if (!community.ok) throw new TypeError(community.error);
      return { op: 'addCommunity', community: community.value };
    }
    case 'prependAsPath':
      return operation;
    case 'setPriority':
      return { op: 'setLocalPref', value: localPrefOf(operation.value) };
    case 'setLocalPref':
      return operation;
    default:
      return assertNever(operation);
  }
}

const isFrom = (source: RouteFacts['source'], wanted: RouteRule['match']['source']): boolean =>
  wanted === 'remote' ? source !== 'local' : source === wanted;

const startsWith = (path: readonly number[], head: readonly number[]): boolean => head.every((as, i) => path[i] === as);

type PrefixMatch = NonNullable<RouteRule['match']['prefix']>;

/** BGPFilter's operators: `Equal` is this network with a length in the range, `In` inside it; the other two are their opposites. */
function prefixTest({ net, op, minLength, maxLength }: PrefixMatch) {
  const family: Family = familyOf(net);
  const words = wordsOf(addrBytes(prefixAddr(net)));
  const length = prefixLength(net);
  const inside = (columns: NlriColumns, index: number) => {
    if (columns.length[index] < length) return false;
    for (let word = 0; word * 32 < length; word++) {
      const bits = Math.min(32, length - word * 32);
      if ((columns.addr[index * words.length + word] ^ words[word]) >>> (32 - bits) !== 0) return false;
    }
    return true;
  };
  return (_: PathAttributes, { prefixes, prefix }: RouteFacts): boolean => {
    if (prefixes.family !== family) return false;
    const own = prefixes.length[prefix];
    switch (op) {
      case 'Equal':
        return own === length && inside(prefixes, prefix);
      case 'NotEqual':
        return !(own === length && inside(prefixes, prefix));
      case 'In':
        return own >= minLength && own <= maxLength && inside(prefixes, prefix);
      case 'NotIn':
        return !(own >= minLength && own <= maxLength && inside(prefixes, prefix));
      default:
        return assertNever(op);
    }
  };
}

function wordsOf(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Uint32Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(i * 4));
}
