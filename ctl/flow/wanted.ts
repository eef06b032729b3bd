import {
  type Addr,
  isHostPrefix,
  nearest,
  OperationalError,
  parseAddr,
  parseCidr,
  parsePrefix,
  prefixAddr,
} from '#core';
import { kindOfWord } from '#datastore';
import { kindWords } from '../kinds.ts';

/** Kinds that a flow can begin or end at. */
export type EndKind = 'WorkloadEndpoint' | 'HostEndpoint' | 'Node';
const END_KINDS: readonly EndKind[] = ['WorkloadEndpoint', 'HostEndpoint', 'Node'];

/** One reading of what a person called an end. */
export type Reading =
  | { readonly kind: 'Address'; readonly address: Addr }
  | { readonly kind: 'WorkloadEndpoint'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'HostEndpoint' | 'Node'; readonly name: string };

/** What one side of the flow was called, and what that can mean; what is there of it decides. */
export interface Wanted {
  readonly flag: '--from' | '--to';
  readonly text: string;
  readonly readings: readonly Reading[];
}

/**
 * Reads the name of an end: an address; `namespace/name` or, in the namespace that `-n` gives, `name` of a workload, by endpoint or as people know
 * it; the name of a host endpoint or of a node; each with its kind before it to say which is meant.
 */
export function readWanted(flag: Wanted['flag'], text: string, namespace = 'default'): Wanted {
  const address = addressIn(flag, text);
  if (address) return { flag, text, readings: [{ kind: 'Address', address }] };
  const parts = text.split('/');
  if (parts.some((part) => part === '') || parts.length > 3)
    throw new OperationalError('CONFIG', `${flag} '${text}' is not the name of an end: ${FORMS}`);
  const [first, second, third] = parts;
  if (parts.length === 1) return { flag, text, readings: byKinds(END_KINDS, namespace, first) };
  const kind = endKindOf(first);
  if (parts.length === 3) {
    if (kind === 'WorkloadEndpoint') return { flag, text, readings: [{ kind, namespace: second, name: third }] };
    throw new OperationalError('CONFIG', notThree(flag, text, first, kind));
  }
  const workload: Reading = { kind: 'WorkloadEndpoint', namespace: first, name: second };
  return { flag, text, readings: kind ? [...byKinds([kind], namespace, second), workload] : [workload] };
}

const FORMS =
  "give an address, 'namespace/pod', the name of a node or host endpoint, or one with its kind, such as 'node/n1' or 'workloadendpoint/namespace/name'";

const byKinds = (kinds: readonly EndKind[], namespace: string, name: string): Reading[] =>
  kinds.map((kind) => (kind === 'WorkloadEndpoint' ? { kind, namespace, name } : { kind, name }));

/** The kind that a word names, if flows can end at it. */
const endKindOf = (word: string): EndKind | null => END_KINDS.find((kind) => kind === kindOfWord(word)) ?? null;

/** The word for such a kind that is nearest. */
export const nearestEndKind = (word: string): string | null => nearest(word, kindWords().filter(endKindOf));

function notThree(flag: string, text: string, word: string, kind: EndKind | null): string {
  if (kind) return `${flag} '${text}': a ${kind} has no namespace; give '${word.toLowerCase()}/name'`;
  const near = nearestEndKind(word);
  return `${flag} '${text}': '${word}' is not a kind that a flow ends at${near ? `, did you mean '${near}'?` : ''}; ${FORMS}`;
}

/** Also with the length of a whole address, as endpoints show it. */
function addressIn(flag: string, text: string): Addr | null {
  const bare = parseAddr(text);
  if (bare.ok) return bare.value;
  const loose = parseCidr(text);
  if (!loose.ok) return null;
  const whole = parsePrefix(text);
  if (whole.ok && isHostPrefix(whole.value)) return prefixAddr(whole.value);
  throw new OperationalError(
    'CONFIG',
    `${flag} '${text}' is a network; give one address of it, such as ${loose.value.addr}`,
  );
}
