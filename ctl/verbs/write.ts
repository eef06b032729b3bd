import { hasCode, messageOf, OperationalError } from '#core';
import { type AnyResource, KINDS, type Resources, ValidationError } from '#datastore';
import { type Change, changesBetween } from '../changes.ts';
import { named } from '../kinds.ts';
import { type Session, withResources } from '../session.ts';
import { type Complaint, complain, readInput, type Target, typingErrors } from '../targets.ts';
import { type Outcome, report } from './outcome.ts';

export type WriteVerb = 'create' | 'apply' | 'replace' | 'delete';

export interface WriteOptions {
  readonly filename?: readonly string[];
  readonly recursive?: boolean;
  readonly namespace?: string;
  readonly output?: string;
  readonly dryRun?: boolean;
  readonly continueOnError?: boolean;
  readonly skipExists?: boolean;
  readonly skipNotExists?: boolean;
  readonly skipEmpty?: boolean;
}

/**
 * `create`, `apply`, `replace`, `delete` with files: one document after the other, until the first that fails, or all with
 * `--continue-on-error`. A file that cannot be understood stops everything before the first write.
 */
export async function write(session: Session, verb: WriteVerb, options: WriteOptions): Promise<number> {
  const { targets, complaints } = await readInput(session.io, options);
  const failed = complaints.map(
    (complaint): Outcome => ({ ...complaint, namespace: null, result: 'failed', changes: [] }),
  );
  if (failed.length > 0 && !options.continueOnError) return report(session.io, verb, options, failed, targets.length);
  if (targets.length + failed.length === 0) {
    if (options.skipEmpty) return 0;
    throw new OperationalError('VALIDATION', `no resources in ${options.filename?.join(', ')}`);
  }
  const outcomes = await withResources(session, (resources) => writeAll(resources, verb, targets, options));
  const left = targets.length - outcomes.length;
  return report(session.io, verb, options, [...failed, ...outcomes], left);
}

async function writeAll(
  resources: Resources,
  verb: WriteVerb,
  targets: readonly Target[],
  options: WriteOptions,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const target of targets) {
    const outcome = await writeOne(resources, verb, target, options);
    outcomes.push(outcome);
    if (outcome.result === 'failed' && !options.continueOnError) break;
  }
  return outcomes;
}

async function writeOne(
  resources: Resources,
  verb: WriteVerb,
  target: Target,
  options: WriteOptions,
): Promise<Outcome> {
  const { document, kind, name, namespace } = target;
  const about = { file: document.file, line: document.line, kind, name, namespace, field: null };
  try {
    refuseForeign(target, verb);
    const done = await attempt(resources, verb, target, options);
    return {
      ...about,
      name: done.name ?? name,
      result: done.result,
      message: null,
      changes: done.changes,
      resource: done.resource,
    };
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error;
    return { ...about, ...complaintOf(error, target), result: 'failed', changes: [] };
  }
}

interface Done {
  readonly result: Outcome['result'];
  readonly changes: readonly Change[];
  readonly name?: string;
  readonly resource?: AnyResource;
}

async function attempt(resources: Resources, verb: WriteVerb, target: Target, options: WriteOptions): Promise<Done> {
  const { resource } = target;
  const dryRun = options.dryRun ?? false;
  const before = async (name: string) => existing(resources, target, name);
  const unchanged = (stored: AnyResource | null): Done => ({
    result: 'unchanged',
    changes: [],
    resource: stored ?? undefined,
  });
  switch (verb) {
    case 'create':
      try {
        return written('created', null, await resources.create(resource, { dryRun }));
      } catch (error) {
        if (!(options.skipExists && hasCode(error, 'ALREADY_EXISTS'))) throw error;
        return unchanged(await before(target.name));
      }
    case 'apply': {
      const old = await before(target.name);
      const { change, resource: stored } = await resources.apply(resource, { dryRun });
      return change === 'unchanged' ? unchanged(stored) : written(change, change === 'created' ? null : old, stored);
    }
    case 'replace':
      return written('updated', await before(target.name), await replaceSafely(resources, target, dryRun));
    case 'delete': {
      try {
        const gone = await resources.delete(target.kind, target.name, { namespace: target.namespace, dryRun });
        return { result: 'deleted', changes: [], resource: gone ?? undefined };
      } catch (error) {
        if (!(options.skipNotExists && hasCode(error, 'NOT_FOUND'))) throw error;
        return unchanged(null);
      }
    }
  }
}

const written = (result: 'created' | 'updated', before: AnyResource | null, after: AnyResource): Done => ({
  result,
  changes: before ? changesBetween(before, after) : [],
  name: after.metadata.name,
  resource: after,
});

async function existing(resources: Resources, { kind, namespace }: Target, name: string): Promise<AnyResource | null> {
  if (name === '') return null;
  try {
    return await resources.get(kind, name, namespace);
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND') || hasCode(error, 'VALIDATION')) return null;
    throw error;
  }
}

const ATTEMPTS = 5;

/** A file without resourceVersion asks for its content whatever is there, so a lost race is run again. */
async function replaceSafely(resources: Resources, { resource }: Target, dryRun: boolean): Promise<AnyResource> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await resources.update(resource, { dryRun });
    } catch (error) {
      if (!hasCode(error, 'CONFLICT') || resource.metadata.resourceVersion || attempt === ATTEMPTS) throw error;
    }
  }
}

/** What other programs own: a person's change would be undone, or break them. */
function refuseForeign(target: Target, verb: WriteVerb): void {
  const { kind, name } = target;
  if (verb !== 'delete') {
    const [typo] = typingErrors(target);
    if (typo) throw new ValidationError(named(kind, name, target.namespace), typingErrors(target));
  }
  refuseReadOnly(target);
}

/** Kinds and names that tsnetctl only shows. */
export function refuseReadOnly({ kind, name, namespace }: Pick<Target, 'kind' | 'name' | 'namespace'>): void {
  if (KINDS[kind].readOnly)
    throw new OperationalError(
      'VALIDATION',
      `${named(kind, name, namespace)} is kept by the agents and can only be read`,
    );
  if (kind === 'NetworkPolicy' && name.startsWith('knp.default.'))
    throw new OperationalError(
      'VALIDATION',
      `${named(kind, name, namespace)} mirrors a Kubernetes NetworkPolicy; change that instead`,
    );
}

/** The error in the words of the file: the line of the first wrong field, and what can be done. */
function complaintOf(error: OperationalError, target: Target): Pick<Complaint, 'line' | 'field' | 'message'> {
  const { document, kind, name, resource } = target;
  if (error instanceof ValidationError && error.errors.length > 0) {
    const first = complain(document, { kind, name }, error.errors[0]);
    const others = error.errors
      .slice(1)
      .map(({ field, message }) => `${document.locate(field).line}: ${field} ${message}`);
    return { line: first.line, field: first.field, message: [first.message, ...others].join('; ') };
  }
  if (error.code !== 'CONFLICT' || !resource.metadata.resourceVersion)
    return { line: document.line, field: null, message: messageOf(error) };
  const get = `tsnetctl get ${KINDS[kind].singular} ${name}${target.namespace ? ` -n ${target.namespace}` : ''} -o yaml`;
  const { line } = document.locate('metadata.resourceVersion');
  return {
    line,
    field: 'metadata.resourceVersion',
    message: `${resource.metadata.resourceVersion} is not what is stored: somebody changed it since you read it; merge with '${get}', or remove the field to overwrite`,
  };
}
