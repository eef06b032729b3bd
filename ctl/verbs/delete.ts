import { hasCode, OperationalError } from '#core';
import { KINDS } from '#datastore';
import { kindOf } from '../kinds.ts';
import { type Session, withResources } from '../session.ts';
import { explainMissing } from './get.ts';
import { type Outcome, report } from './outcome.ts';
import { refuseReadOnly, type WriteOptions, write } from './write.ts';

/** `delete -f FILE` and `delete KIND NAME...`. */
export async function remove(
  session: Session,
  kindWord: string | undefined,
  names: readonly string[],
  options: WriteOptions,
): Promise<number> {
  if (options.filename) {
    if (kindWord) throw new OperationalError('CONFIG', 'give a kind and names, or -f FILE, not both');
    return write(session, 'delete', options);
  }
  const slash = kindWord?.indexOf('/') ?? -1;
  const all = kindWord && slash >= 0 ? [kindWord.slice(slash + 1), ...names] : names;
  if (!kindWord || all.length === 0)
    throw new OperationalError(
      'CONFIG',
      "which? For example 'tsnetctl delete ippool pool-a' or 'tsnetctl delete -f FILE'",
    );
  const kind = kindOf(slash >= 0 ? kindWord.slice(0, slash) : kindWord);
  const namespace = KINDS[kind].namespaced ? (options.namespace ?? 'default') : null;
  return withResources(session, async (resources) => {
    const outcomes: Outcome[] = [];
    const about = { file: '', line: 0, kind, namespace, field: null, message: null, changes: [] };
    for (const name of all) {
      try {
        refuseReadOnly({ kind, name, namespace });
        const gone = await resources.delete(kind, name, { namespace, dryRun: options.dryRun ?? false });
        outcomes.push({ ...about, name, result: 'deleted', resource: gone ?? undefined });
      } catch (error) {
        if (hasCode(error, 'NOT_FOUND') && options.skipNotExists) {
          outcomes.push({ ...about, name, result: 'unchanged' });
          continue;
        }
        await report(session.io, 'delete', options, outcomes, 0);
        if (!hasCode(error, 'NOT_FOUND')) throw error;
        throw new OperationalError('NOT_FOUND', await explainMissing(resources, kind, name, namespace));
      }
    }
    return report(session.io, 'delete', options, outcomes, 0);
  });
}
