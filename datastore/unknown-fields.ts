import type * as z from 'zod';
import { nearest } from '#core';
import { type AnyResource, KINDS } from './model/index.ts';
import { type FieldError, fieldPath } from './validate.ts';

const TOP = ['apiVersion', 'kind', 'metadata', 'spec', 'status'];
const METADATA = [
  'name',
  'namespace',
  'uid',
  'creationTimestamp',
  'resourceVersion',
  'generateName',
  'labels',
  'annotations',
  'generation',
  'selfLink',
  'managedFields',
  'ownerReferences',
  'finalizers',
  'deletionTimestamp',
];

/**
 * Fields that the schema does not know: a typing error in a file a person wrote, or a field of a newer release in an object that is
 * stored. Writers of files refuse them; readers and rewriters keep them. Kinds whose fields are not all listed have none.
 */
export function unknownFields(resource: AnyResource): FieldError[] {
  const found: FieldError[] = [];
  const refuse = (path: readonly PropertyKey[], known: readonly string[]) => {
    found.push({ field: fieldPath(path), message: `is not a field${meant(String(path.at(-1)), known)}` });
  };
  for (const field of Object.keys(resource)) if (!TOP.includes(field)) refuse([field], TOP);
  for (const field of Object.keys(resource.metadata ?? {}))
    if (!METADATA.includes(field)) refuse(['metadata', field], METADATA);
  if (OPEN.has(resource.kind)) return found;
  walk(KINDS[resource.kind].spec as z.ZodType, resource.spec, ['spec'], refuse);
  return found;
}

const OPEN = new Set(['FelixConfiguration', 'KubeControllersConfiguration', 'StagedKubernetesNetworkPolicy']);

type Refuse = (path: readonly PropertyKey[], known: readonly string[]) => void;

function walk(schema: z.ZodType, value: unknown, path: readonly PropertyKey[], refuse: Refuse): void {
  const { def } = schema as unknown as { def: z.core.$ZodTypes['_zod']['def'] };
  if (value === null || value === undefined) return;
  if (def.type === 'optional' || def.type === 'nullable') walk(def.innerType as z.ZodType, value, path, refuse);
  if (def.type === 'array' && Array.isArray(value)) {
    for (const [i, item] of value.entries()) walk(def.element as z.ZodType, item, [...path, i], refuse);
    return;
  }
  if (def.type !== 'object' || typeof value !== 'object') return;
  const known = Object.keys(def.shape);
  for (const [field, inner] of Object.entries(value)) {
    if (Object.hasOwn(def.shape, field)) walk(def.shape[field] as z.ZodType, inner, [...path, field], refuse);
    else refuse([...path, field], known);
  }
}

/** `; is 'selector' meant?` when a known word is near. */
function meant(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  return near ? `; is '${near}' meant?` : '';
}
