import { hasCode, nearest, OperationalError } from '#core';
import {
  type AnyResource,
  KINDS,
  type Kind,
  type Resources,
  readSource,
  unknownFields,
  ValidationError,
} from '#datastore';
import { changesBetween } from '../changes.ts';
import { kindOf, named } from '../kinds.ts';
import { jsonPatch, mergePatch, strategicPatch } from '../patch.ts';
import { type Session, withResources } from '../session.ts';
import { explainMissing } from './get.ts';
import { report } from './outcome.ts';
import { refuseReadOnly } from './write.ts';

export interface ChangeOptions {
  readonly namespace?: string;
  readonly output?: string;
  readonly dryRun?: boolean;
}

/** `patch KIND NAME -p PATCH`. */
export async function patch(
  session: Session,
  kindWord: string,
  name: string,
  options: ChangeOptions & { readonly patch: string; readonly type?: string },
): Promise<number> {
  const value = await readPatch(options.patch);
  const type = options.type ?? 'strategic';
  const types = ['strategic', 'merge', 'json'];
  if (!types.includes(type)) {
    const near = nearest(type, types);
    throw new OperationalError(
      'CONFIG',
      `unknown patch type '${type}'${near ? `, did you mean '${near}'?` : ''}; types are ${types.join(', ')}`,
    );
  }
  return change(session, kindWord, name, options, (resource) => {
    const patched =
      type === 'json'
        ? jsonPatch(resource, value)
        : type === 'strategic'
          ? strategicPatch(resource, value)
          : { ok: true as const, value: mergePatch(resource, value) };
    if (!patched.ok) throw new OperationalError('VALIDATION', `-p: ${patched.error}`);
    return patched.value as AnyResource;
  });
}

async function readPatch(text: string): Promise<unknown> {
  const { documents, faults } = await readSource('-p', text.trimStart().startsWith('[') ? `{"patch":${text}}` : text);
  if (faults[0]) throw new OperationalError('CONFIG', `-p is no JSON or YAML: ${faults[0].message}`);
  const value = documents[0]?.value;
  if (typeof value !== 'object' || value === null)
    throw new OperationalError('CONFIG', '-p must be an object, or a list of operations with -t json');
  return text.trimStart().startsWith('[') ? (value as { patch: unknown }).patch : value;
}

/** `label KIND NAME k=v...`; `k-`, or `k` with `--remove`, takes a label away. */
export async function label(
  session: Session,
  kindWord: string,
  name: string,
  words: readonly string[],
  options: ChangeOptions & { readonly overwrite?: boolean; readonly remove?: boolean },
): Promise<number> {
  const wanted = words.map((word) => labelOf(word, options.remove ?? false));
  return change(session, kindWord, name, options, (resource) => {
    const labels = { ...resource.metadata.labels };
    for (const { key, value } of wanted) {
      const before = Object.hasOwn(labels, key) ? labels[key] : undefined;
      if (value === null) {
        if (before === undefined)
          throw new OperationalError('NOT_FOUND', `${named(resource.kind, name)} has no label '${key}'`);
        delete labels[key];
        continue;
      }
      if (before !== undefined && before !== value && !options.overwrite)
        throw new OperationalError(
          'ALREADY_EXISTS',
          `${named(resource.kind, name)} already has ${key}=${before}; add --overwrite to change it`,
        );
      labels[key] = value;
    }
    return { ...resource, metadata: { ...resource.metadata, labels } };
  });
}

function labelOf(word: string, remove: boolean): { key: string; value: string | null } {
  const equals = word.indexOf('=');
  if (equals > 0 && !remove) return { key: word.slice(0, equals), value: word.slice(equals + 1) };
  if (equals < 0 && remove) return { key: word, value: null };
  if (equals < 0 && word.length > 1 && word.endsWith('-')) return { key: word.slice(0, -1), value: null };
  throw new OperationalError('CONFIG', `'${word}' is not a label; write key=value, or key with --remove`);
}

const ATTEMPTS = 5;

/** Reads, changes and writes back; when somebody else wrote in between, all of it again: the change says what it wants of any version. */
async function change(
  session: Session,
  kindWord: string,
  name: string,
  options: ChangeOptions,
  edit: (resource: AnyResource) => AnyResource,
): Promise<number> {
  const kind = kindOf(kindWord);
  const namespace = KINDS[kind].namespaced ? (options.namespace ?? 'default') : null;
  refuseReadOnly({ kind, name, namespace });
  return withResources(session, async (resources) => {
    for (let attempt = 1; ; attempt++) {
      const before = await read(resources, kind, name, namespace);
      const after = edit(before);
      refuseIdentity(before, after);
      const changes = changesBetween(before, after);
      const about = { file: '', line: 0, kind, name, namespace, field: null, message: null, changes };
      if (changes.length === 0)
        return report(session.io, 'patch', options, [{ ...about, result: 'unchanged', resource: before }], 0);
      try {
        const resource = await resources.update(after, { dryRun: options.dryRun ?? false });
        return report(session.io, 'patch', options, [{ ...about, result: 'updated', resource }], 0);
      } catch (error) {
        if (!hasCode(error, 'CONFLICT') || attempt === ATTEMPTS) throw error;
      }
    }
  });
}

async function read(resources: Resources, kind: Kind, name: string, namespace: string | null): Promise<AnyResource> {
  try {
    return await resources.get(kind, name, namespace);
  } catch (error) {
    if (!hasCode(error, 'NOT_FOUND')) throw error;
    throw new OperationalError('NOT_FOUND', await explainMissing(resources, kind, name, namespace));
  }
}

/** A patch changes an object; it does not make it another one. Fields that are nobody's are a typing error. */
function refuseIdentity(before: AnyResource, after: AnyResource): void {
  const subject = named(before.kind, before.metadata.name, before.metadata.namespace);
  const same =
    after.kind === before.kind &&
    after.metadata?.name === before.metadata.name &&
    after.metadata.namespace === before.metadata.namespace;
  if (!same) throw new OperationalError('VALIDATION', `${subject}: a patch cannot change kind, name or namespace`);
  const known = new Set(unknownFields(before).map(({ field }) => field));
  const typos = unknownFields(after).filter(({ field }) => !known.has(field));
  if (typos.length > 0) throw new ValidationError(subject, typos);
}
