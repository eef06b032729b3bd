import { nearest, OperationalError } from '#core';
import { KIND_NAMES, KINDS, type Kind, kindOfWord } from '#datastore';

/** Words of INTERFACES.md besides calicoctl's. */
const ALSO: Readonly<Record<string, Kind>> = { endpoints: 'WorkloadEndpoint', endpoint: 'WorkloadEndpoint' };

/** Every word that names a kind, for completion and suggestions. */
export const kindWords = (): string[] => [
  ...KIND_NAMES.flatMap((kind) => [KINDS[kind].singular, KINDS[kind].plural, ...KINDS[kind].shortNames]),
  ...Object.keys(ALSO),
];

/** The kind that a person means; rejects with the word that is nearest. */
export function kindOf(word: string): Kind {
  const lower = word.toLowerCase();
  const kind = Object.hasOwn(ALSO, lower) ? ALSO[lower] : kindOfWord(lower);
  if (kind) return kind;
  const near = nearest(word, kindWords());
  const kinds = KIND_NAMES.map((known) => KINDS[known].singular).join(', ');
  const hint = near ? `, did you mean '${near}'?` : `; kinds are ${kinds}`;
  throw new OperationalError('CONFIG', `unknown kind '${word}'${hint}`);
}

/** The kind that a document names, exactly; null for none. */
export const kindNamed = (name: unknown): Kind | null =>
  typeof name === 'string' && Object.hasOwn(KINDS, name) ? (name as Kind) : null;

/** What a document probably meant by its `kind`. */
export const nearestKind = (name: string): string | null => nearest(name, KIND_NAMES);

/** `NetworkPolicy(prod/web)`: how every message names a resource. */
export const named = (kind: string, name: string, namespace?: string | null): string =>
  `${kind}(${namespace ? `${namespace}/` : ''}${name})`;
