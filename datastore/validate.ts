import type * as z from 'zod';
import { err, ok, type Result } from '#core';
import { resourceName, shown } from './model/fields.ts';
import { type AnyResource, API_VERSION, KINDS, type Kind, type Metadata } from './model/index.ts';
import type { KindInfo, Report } from './model/kind.ts';
import { checkAnnotations, checkLabels } from './model/labels.ts';

/** What is wrong with a resource, and where: `spec.ingress[0].action`. */
export interface FieldError {
  readonly field: string;
  readonly message: string;
}

/**
 * `write`: everything that Calico's client and the schema of its newest release refuse. `read`: only what makes the object unusable;
 * limits that older releases did not enforce are tolerated (calico-datastore.md 2.0).
 */
export type Strictness = 'write' | 'read';

interface Found extends FieldError {
  readonly limit: boolean;
}

/** Everything that is wrong with the resource, in the order of its fields; empty when it is valid. */
export function validate(resource: AnyResource, strictness: Strictness): FieldError[] {
  const found: Found[] = [];
  const report: Report = Object.assign(
    (field: string, message: string) => {
      found.push({ field, message, limit: false });
    },
    {
      limit: (field: string, message: string) => {
        found.push({ field, message, limit: true });
      },
    },
  );
  checkObject(resource, strictness, report, found);
  return found.filter((e) => strictness === 'write' || !e.limit).map(({ field, message }) => ({ field, message }));
}

function checkObject(resource: AnyResource, strictness: Strictness, report: Report, found: Found[]): void {
  if (resource.apiVersion !== API_VERSION) report.limit('apiVersion', `must be ${API_VERSION}`);
  const info: KindInfo = KINDS[resource.kind];
  if (!checkMetadata(resource.metadata, info, strictness, report)) return;
  const parsed = info.spec.safeParse(resource.spec ?? {});
  if (!parsed.success) found.push(...parsed.error.issues.map((issue) => fromIssue(issue)));
  // What holds fields against each other may rely on each being well formed.
  if (parsed.success || parsed.error.issues.every(isLimit)) info.check?.(resource, report);
}

/** False when the metadata is too broken to look further. */
function checkMetadata(metadata: Metadata, info: KindInfo, strictness: Strictness, report: Report): boolean {
  if (typeof metadata !== 'object' || metadata === null) {
    report('metadata', 'is required');
    return false;
  }
  checkName(metadata.name, info, report);
  if (info.namespaced) {
    const namespace = metadata.namespace ?? '';
    const message = namespace === '' ? 'is required for this kind' : resourceName(namespace);
    if (message) report('metadata.namespace', message);
  } else if (metadata.namespace) {
    report.limit('metadata.namespace', `must be absent: ${info.kind} is a kind of the whole cluster`);
  }
  for (const field of ['labels', 'annotations'] as const) {
    const map: unknown = metadata[field];
    if (map == null) continue;
    if (typeof map !== 'object' || Object.values(map).some((value) => typeof value !== 'string')) {
      report(`metadata.${field}`, 'must map text to text');
      return false;
    }
  }
  // Their rules are limits only, which nobody asks for when reading.
  if (strictness === 'read') return true;
  checkLabels(metadata.labels, 'metadata.labels', report);
  checkAnnotations(metadata.annotations, 'metadata.annotations', report);
  return true;
}

function checkName(name: unknown, info: KindInfo, report: Report): void {
  if (typeof name !== 'string' || name === '') report('metadata.name', 'is required');
  else {
    // The common rule keeps keys, chains and messages free of surprises; a kind's own is the client's concern.
    const message = resourceName(name);
    const narrower = info.name?.(name);
    if (message) report('metadata.name', message);
    else if (narrower) report.limit('metadata.name', narrower);
  }
}

const isLimit = (issue: z.core.$ZodIssue): boolean => issue.code === 'custom' && issue.params?.limit === true;

function fromIssue(issue: z.core.$ZodIssue): Found {
  return { field: fieldPath(['spec', ...issue.path]), message: issueMessage(issue), limit: isLimit(issue) };
}

function issueMessage(issue: z.core.$ZodIssue): string {
  if (issue.code === 'custom') return issue.message;
  if (issue.code === 'invalid_type') {
    if (issue.input === undefined || issue.message.endsWith('received undefined')) return 'is required';
    return `must be ${ARTICLE[issue.expected] ?? issue.expected}`;
  }
  if (issue.code === 'invalid_value') return `must be one of ${issue.values.map(String).join(', ')}`;
  if (issue.code === 'invalid_union') return unionMessage(issue);
  return issue.message;
}

/** The branch that came closest speaks for all: the one that failed on the value, not on its type. */
function unionMessage(issue: z.core.$ZodIssueInvalidUnion): string {
  const branches = issue.errors.map((errors) => errors[0]).filter((e) => e !== undefined);
  if (branches.every((e) => e.code === 'invalid_value'))
    return `must be one of ${branches.flatMap((e) => e.values.map(String)).join(', ')}`;
  const closest = branches.find((e) => e.code === 'custom') ?? branches.find((e) => e.code !== 'invalid_type');
  if (closest) return issueMessage(closest);
  const types = branches.map((e) => (e.code === 'invalid_type' ? (ARTICLE[e.expected] ?? e.expected) : e.message));
  return `must be ${types.join(' or ')}`;
}

const ARTICLE: Record<string, string> = {
  string: 'a text',
  number: 'a number',
  boolean: 'true or false',
  object: 'an object',
  array: 'a list',
  record: 'a map',
};

/** `['spec', 'ingress', 0, 'action']` as `spec.ingress[0].action`. */
export function fieldPath(path: readonly PropertyKey[]): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else text += text === '' ? String(step) : `.${shown(String(step), 253)}`;
  }
  return text;
}

/**
 * What to store for a resource that someone wants to have: a copy with Calico's defaults filled in, or what is wrong with it.
 * The kind's own defaults come before its checks, as in Calico's client.
 */
export function prepare<R extends AnyResource>(resource: R): Result<R, FieldError[]> {
  const copy = structuredClone(resource);
  copy.apiVersion = API_VERSION;
  copy.spec ??= {} as R['spec'];
  const info: KindInfo = KINDS[copy.kind];
  if (typeof copy.metadata === 'object' && copy.metadata && info.spec.safeParse(copy.spec).success) {
    if (info.namespaced) copy.metadata.namespace ||= 'default';
    info.fill?.(copy);
  }
  const errors = validate(copy, 'write');
  return errors.length > 0 ? err(errors) : ok(copy);
}

/** One line for a person: `spec.cidr: must be …; spec.blockSize: …`, at most five of them. */
export function describeErrors(errors: readonly FieldError[]): string {
  const named = errors.slice(0, 5).map(({ field, message }) => `${field} ${message}`);
  return errors.length > 5 ? `${named.join('; ')}; and ${errors.length - 5} more` : named.join('; ');
}

/** Whether a word of the outside is the name of a kind. */
export const isKind = (word: string): word is Kind => Object.hasOwn(KINDS, word);
