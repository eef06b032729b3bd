import { err, messageOf, ok, type Result } from '#core';
import type { ParsedKey } from './keys.ts';
import { resourceName } from './model/fields.ts';
import { type AnyResource, API_VERSION, KINDS, type Kind } from './model/index.ts';
import type { KindInfo } from './model/kind.ts';
import type { KeyValue } from './store.ts';
import { describeErrors, type FieldError, validate } from './validate.ts';

/** Where newer clients keep the name that a person gave to a policy (calico-datastore.md 1.3). */
export const NAME_ANNOTATION = 'projectcalico.org/metadata';

/** Kinds whose key of an older cluster may be `default.<name>`. */
export const hasTieredName = (kind: Kind): boolean =>
  kind === 'NetworkPolicy' ||
  kind === 'GlobalNetworkPolicy' ||
  kind === 'StagedNetworkPolicy' ||
  kind === 'StagedGlobalNetworkPolicy';

/** A resource as read, and what had to be left out of it (only in kinds that are read field by field). */
export interface Decoded<R = AnyResource> {
  readonly resource: R;
  readonly leftOut: readonly FieldError[];
}

type ResourceKey = Extract<ParsedKey, { type: 'resource' }>;

/** Reads the envelope of a stored resource without judging its contents: names recovered, unknown fields kept. The key decides the kind. */
export function readEnvelope(entry: KeyValue, key: ResourceKey): Result<AnyResource, string> {
  const text = entry.value;
  const parsed = parseObject(text);
  if (!parsed.ok) return parsed;
  // There may be hundreds of thousands of these: what is as it should be is not copied.
  const raw = text.includes('null') ? (dropNulls(parsed.value) as Record<string, unknown>) : parsed.value;
  for (const field of ['metadata', 'spec']) {
    raw[field] ??= {};
    if (typeof raw[field] !== 'object' || Array.isArray(raw[field])) return err(`${field} must be an object`);
  }
  const resource = raw as unknown as AnyResource;
  resource.kind = key.kind;
  resource.apiVersion = API_VERSION;
  resource.metadata.resourceVersion = String(entry.modRevision);
  if (!hasTieredName(key.kind) || typeof resource.metadata.name !== 'string') resource.metadata.name = key.name;
  if (key.namespace) resource.metadata.namespace = key.namespace;
  if (hasTieredName(key.kind)) recoverName(resource);
  return ok(resource);
}

/** Reads a stored resource: tolerant, with defaults for absent fields where they hold for stored objects too. */
export function decodeResource(entry: KeyValue, key: ResourceKey): Result<Decoded, string> {
  const badName = resourceName(key.name);
  if (badName) return err(`the name in the key ${badName}`);
  const envelope = readEnvelope(entry, key);
  return envelope.ok ? judge(envelope.value) : envelope;
}

function judge(resource: AnyResource): Result<Decoded, string> {
  const info: KindInfo = KINDS[resource.kind];
  const errors = validate(resource, 'read');
  if (errors.length > 0 && !(info.fieldByField && leaveOut(resource, errors))) return err(describeErrors(errors));
  info.fillOnRead?.(resource);
  return ok({ resource, leftOut: errors });
}

/** Removes the fields of the spec that the errors name; false if an error lies elsewhere. */
function leaveOut(resource: AnyResource, errors: readonly FieldError[]): boolean {
  const spec = resource.spec as Record<string, unknown>;
  for (const { field } of errors) {
    const top = /^spec\.([A-Za-z0-9]+)/.exec(field)?.[1];
    if (!top) return false;
    delete spec[top];
  }
  return true;
}

/** Gives a policy the name its user gave it; the annotation is not the user's and goes. */
function recoverName(resource: AnyResource): void {
  const { metadata } = resource;
  const recorded: unknown = metadata.annotations?.[NAME_ANNOTATION];
  if (typeof recorded === 'string') {
    const { [NAME_ANNOTATION]: _, ...others } = metadata.annotations ?? {};
    metadata.annotations = others;
    if (Object.keys(others).length === 0) delete metadata.annotations;
    const parsed = parseObject(recorded);
    if (parsed.ok && typeof parsed.value.name === 'string' && parsed.value.name !== '') {
      metadata.name = parsed.value.name;
      return;
    }
  }
  const tier = (resource.spec as { tier?: string }).tier;
  if ((!tier || tier === 'default') && metadata.name.startsWith('default.'))
    metadata.name = metadata.name.slice('default.'.length);
}

/**
 * The text to store: one line, the envelope in Calico's order, without what is never stored. `keyName` is the last segment of the key, which differs from
 * the name a person knows for policies of an older cluster.
 */
export function encodeResource(resource: AnyResource, keyName: string = resource.metadata.name): string {
  const { kind, apiVersion: _, metadata, spec, ...rest } = resource as AnyResource & { status?: unknown };
  const { resourceVersion: _rv, selfLink: _self, ...stored } = metadata as typeof metadata & { selfLink?: string };
  if (hasTieredName(kind))
    stored.annotations = { ...stored.annotations, [NAME_ANNOTATION]: JSON.stringify({ name: metadata.name }) };
  return JSON.stringify({ kind, apiVersion: API_VERSION, metadata: { ...stored, name: keyName }, spec, ...rest });
}

function parseObject(text: string): Result<Record<string, unknown>, string> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return ok(value as Record<string, unknown>);
    return err('the value is not a JSON object');
  } catch (error) {
    return err(`the value is not JSON: ${messageOf(error)}`);
  }
}

/** Go writes null for a list that was never set; to a reader it is absent. */
function dropNulls(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null || depth > 64) return value;
  if (Array.isArray(value)) return value.map((item) => dropNulls(item, depth + 1));
  const kept = Object.entries(value).filter(([, inner]) => inner !== null);
  return Object.fromEntries(kept.map(([field, inner]) => [field, dropNulls(inner, depth + 1)]));
}
