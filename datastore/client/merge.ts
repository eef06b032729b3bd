import { isDeepStrictEqual } from 'node:util';
import type { AnyResource, Kind, Kinds } from '../model/index.ts';
import { unknownFields } from '../unknown-fields.ts';

/**
 * What a replacement becomes in the place of what is stored: labels, annotations and spec are the replacement's, identity and what belongs
 * to other programs stays. Fields of the spec that this release does not know were not the writer's to remove, unless it had read them,
 * which a resourceVersion shows.
 */
export function merge<K extends Kind>(before: Kinds[K], after: Kinds[K]): Kinds[K] {
  const { labels: _labels, annotations: _annotations, ...kept } = before.metadata;
  const { resourceVersion, ...given } = after.metadata;
  const metadata = { ...kept, ...given, uid: before.metadata.uid ?? given.uid, resourceVersion };
  if (before.metadata.creationTimestamp) metadata.creationTimestamp = before.metadata.creationTimestamp;
  if (resourceVersion === undefined) delete metadata.resourceVersion;
  const spec = resourceVersion ? after.spec : { ...unknownOf(before), ...(after.spec as object) };
  return { ...before, ...after, metadata, spec } as Kinds[K];
}

/** The fields of a stored spec that the schema does not know, at its top. */
function unknownOf(before: AnyResource): Record<string, unknown> {
  const spec = before.spec as Record<string, unknown>;
  const fields = unknownFields(before).flatMap(({ field }) => /^spec\.([^.[]+)$/.exec(field)?.[1] ?? []);
  return Object.fromEntries(fields.map((field) => [field, spec[field]]));
}

/** Whether storing `after` in the place of `before` would change anything but the revision. */
export function changed(before: AnyResource, after: AnyResource): boolean {
  const plain = ({ metadata, ...rest }: AnyResource) => {
    const { resourceVersion: _, ...others } = metadata;
    return JSON.parse(JSON.stringify({ ...rest, metadata: others })) as unknown;
  };
  return !isDeepStrictEqual(plain(before), plain(after));
}
