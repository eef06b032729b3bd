import { isDeepStrictEqual } from 'node:util';
import { err, ok, type Result } from '#core';

type Tree = Record<string, unknown>;
const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value);

/** RFC 7396: objects are merged, null removes, all else replaces. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isTree(patch)) return patch;
  const merged: Tree = isTree(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else define(merged, key, mergePatch(merged[key], value));
  }
  return merged;
}

/**
 * Kubernetes' strategic merge, for types without merge keys, as Calico's are: lists replace lists, and `$patch: replace` or `delete` in an
 * object replaces or removes it.
 */
export function strategicPatch(target: unknown, patch: unknown): Result<unknown, string> {
  if (!isTree(patch)) return ok(patch);
  const { $patch: directive, ...fields } = patch;
  if (directive !== undefined && directive !== 'replace' && directive !== 'delete' && directive !== 'merge')
    return err(`$patch: '${String(directive)}' is unknown; use replace, delete or merge`);
  if (directive === 'replace') return ok(fields);
  const merged: Tree = isTree(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(fields)) {
    if (key.startsWith('$')) return err(`the directive ${key} is not supported: Calico's lists have no merge keys`);
    if (value === null || (isTree(value) && value.$patch === 'delete')) delete merged[key];
    else {
      const inner = strategicPatch(merged[key], value);
      if (!inner.ok) return inner;
      define(merged, key, inner.value);
    }
  }
  return ok(merged);
}

/** Also for `__proto__`, which is a name like any other in a document. */
const define = (tree: Tree, key: string, value: unknown): void => {
  Object.defineProperty(tree, key, { value, writable: true, enumerable: true, configurable: true });
};

interface Operation {
  readonly op: string;
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

/** RFC 6902: operations in order, all or none. */
export function jsonPatch(target: unknown, patch: unknown): Result<unknown, string> {
  if (!Array.isArray(patch))
    return err('a JSON patch is a list of operations such as [{"op":"replace","path":"/spec/x","value":1}]');
  let root = structuredClone(target);
  for (const [i, operation] of patch.entries()) {
    const problem = isTree(operation) && typeof operation.path === 'string' ? null : 'has no path';
    const done = problem ? err(problem) : apply(root, operation as unknown as Operation);
    if (!done.ok) return err(`operation ${i}: ${done.error}`);
    root = done.value;
  }
  return ok(root);
}

function apply(root: unknown, { op, path, from, value }: Operation): Result<unknown, string> {
  switch (op) {
    case 'add':
      return put(root, path, structuredClone(value), 'add');
    case 'replace':
      return put(root, path, structuredClone(value), 'replace');
    case 'remove':
      return take(root, path);
    case 'test': {
      const found = find(root, path);
      if (!found.ok) return found;
      return isDeepStrictEqual(found.value, value)
        ? ok(root)
        : err(`test failed: ${path} is ${JSON.stringify(found.value)}`);
    }
    case 'move':
    case 'copy': {
      const found = find(root, from ?? '');
      if (!found.ok) return found;
      const without = op === 'move' ? take(root, from ?? '') : ok(root);
      return without.ok ? put(without.value, path, structuredClone(found.value), 'add') : without;
    }
    default:
      return err(`'${op}' is unknown; operations are add, remove, replace, move, copy, test`);
  }
}

/** RFC 6901. */
const steps = (pointer: string): string[] =>
  pointer === ''
    ? []
    : pointer
        .slice(1)
        .split('/')
        .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));

function child(node: unknown, step: string): Result<unknown, string> {
  if (Array.isArray(node) && /^(0|[1-9][0-9]*)$/.test(step) && Number(step) < node.length)
    return ok(node[Number(step)]);
  if (isTree(node) && Object.hasOwn(node, step)) return ok(node[step]);
  return err(`nothing is at '${step}'`);
}

function find(root: unknown, pointer: string): Result<unknown, string> {
  if (pointer !== '' && !pointer.startsWith('/')) return err(`path '${pointer}' must begin with /`);
  let node = root;
  for (const step of steps(pointer)) {
    const next = child(node, step);
    if (!next.ok) return err(`${next.error} of path '${pointer}'`);
    node = next.value;
  }
  return ok(node);
}

function put(root: unknown, pointer: string, value: unknown, op: 'add' | 'replace'): Result<unknown, string> {
  if (pointer === '') return ok(value);
  const at = pointer.lastIndexOf('/');
  const parent = find(root, pointer.slice(0, Math.max(0, at)));
  if (!parent.ok) return parent;
  const [last] = steps(pointer.slice(at));
  if (op === 'replace') {
    const there = child(parent.value, last);
    if (!there.ok) return err(`${there.error} of path '${pointer}', so it cannot be replaced`);
  }
  if (Array.isArray(parent.value)) {
    const index = last === '-' ? parent.value.length : Number(last);
    if (!/^(-|0|[1-9][0-9]*)$/.test(last) || index > parent.value.length)
      return err(`'${last}' is not a place of the list at '${pointer}'`);
    parent.value.splice(index, op === 'replace' ? 1 : 0, value);
  } else if (isTree(parent.value)) define(parent.value, last, value);
  else return err(`'${pointer}' is inside a value that is no object or list`);
  return ok(root);
}

function take(root: unknown, pointer: string): Result<unknown, string> {
  const there = find(root, pointer);
  if (!there.ok) return there;
  if (pointer === '') return err('the whole object cannot be removed; delete it instead');
  const at = pointer.lastIndexOf('/');
  const parent = find(root, pointer.slice(0, at));
  if (!parent.ok) return parent;
  const [last] = steps(pointer.slice(at));
  if (Array.isArray(parent.value)) parent.value.splice(Number(last), 1);
  else delete (parent.value as Tree)[last];
  return ok(root);
}
