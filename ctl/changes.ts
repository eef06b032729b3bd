import { isDeepStrictEqual } from 'node:util';
import type { AnyResource } from '#datastore';

/** One field that differs; undefined: absent. */
export interface Change {
  /** `spec.ingress[0].action` */
  readonly field: string;
  readonly before?: unknown;
  readonly after?: unknown;
}

/** What the store fills in and no writer means. */
const NOT_MEANT = ['metadata.resourceVersion', 'metadata.uid', 'metadata.creationTimestamp'];

/** The fields that differ between two versions of a resource, in the order in which they stand. */
export function changesBetween(before: AnyResource | null, after: AnyResource | null): Change[] {
  const changes: Change[] = [];
  compare('', before ?? undefined, after ?? undefined, changes);
  return changes.filter(({ field }) => !NOT_MEANT.includes(field));
}

function compare(field: string, before: unknown, after: unknown, changes: Change[]): void {
  if (isDeepStrictEqual(before, after)) return;
  if (isObject(before) && isObject(after)) {
    const keys = [...Object.keys(before), ...Object.keys(after).filter((key) => !Object.hasOwn(before, key))];
    for (const key of keys) compare(field === '' ? key : `${field}.${key}`, before[key], after[key], changes);
  } else if (Array.isArray(before) && Array.isArray(after)) {
    for (let i = 0; i < Math.max(before.length, after.length); i++)
      compare(`${field}[${i}]`, before[i], after[i], changes);
  } else changes.push({ field, before, after });
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const MOST = 120;
const brief = (value: unknown): string => {
  if (value === undefined) return '(absent)';
  const text = JSON.stringify(value);
  return text.length > MOST ? `${text.slice(0, MOST)}…` : text;
};

/** `spec.natOutgoing: false -> true` */
export const changeText = ({ field, before, after }: Change): string =>
  before === undefined
    ? `${field}: + ${brief(after)}`
    : after === undefined
      ? `${field}: - ${brief(before)}`
      : `${field}: ${brief(before)} -> ${brief(after)}`;
