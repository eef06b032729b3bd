import { err, ok, parseSelector, type Result, Selector, type SelectorNode, selectorTree } from '#core';
import type { EntityRule, GlobalNetworkPolicySpec, NetworkPolicySpec } from '#datastore';

const { chain, compare, has, inSet, mapLeaves, not } = selectorTree;

export const NAMESPACE_LABEL = 'projectcalico.org/namespace';
export const SERVICE_ACCOUNT_LABEL = 'projectcalico.org/serviceaccount';
/** Labels of a namespace or service account, as profiles hand them to endpoints. */
export const NAMESPACE_PREFIX = 'pcns.';
export const SERVICE_ACCOUNT_PREFIX = 'pcsa.';

type Read = Result<SelectorNode, string>;
/** undefined: the criterion is absent. */
type Maybe = Result<SelectorNode | undefined, string>;

const and = (a: SelectorNode, b: SelectorNode): SelectorNode => chain('&&', [a, b]);

/**
 * The one selector of endpoints that a policy applies to (calico-datastore.md 2.5). Calico replaces `all()` by `has(namespace)` in the text;
 * here in the tree, so a string that contains `all()` stays what it is.
 * @param namespace of a NetworkPolicy; '' for a global one.
 */
export function policySelector(
  spec: GlobalNetworkPolicySpec | NetworkPolicySpec,
  namespace: string,
): Result<Selector, string> {
  const own = read(spec.selector);
  if (!own.ok) return own;
  const accounts = read(spec.serviceAccountSelector, SERVICE_ACCOUNT_PREFIX);
  if (!accounts.ok) return accounts;
  if (namespace !== '') {
    const scope = compare(NAMESPACE_LABEL, '==', namespace);
    const scoped = own.value ? and(own.value, scope) : scope;
    return ok(new Selector(accounts.value ? and(scoped, accounts.value) : scoped));
  }
  const namespaces = read('namespaceSelector' in spec ? spec.namespaceSelector : '', NAMESPACE_PREFIX);
  if (!namespaces.ok) return namespaces;
  const inNamespaces = narrowed(own.value, namespaces.value, NAMESPACE_LABEL);
  return ok(new Selector(narrowed(inNamespaces, accounts.value, SERVICE_ACCOUNT_LABEL) ?? selectorTree.ALL));
}

function narrowed(
  own: SelectorNode | undefined,
  by: SelectorNode | undefined,
  label: string,
): SelectorNode | undefined {
  if (!by) return own;
  return replaceAll(own ? and(own, by) : by, has(label));
}

/** What an entity of a rule selects; a missing one is no criterion. */
export interface EntitySelectors {
  readonly selector?: Selector;
  readonly notSelector?: Selector;
}

/** The selectors of one side of a rule. @param namespace of a NetworkPolicy; '' for a global policy or a profile. */
export function entitySelectors(entity: EntityRule, namespace: string): Result<EntitySelectors, string> {
  const own = ownSelector(entity);
  if (!own.ok) return own;
  const excluded = read(entity.notSelector);
  if (!excluded.ok) return excluded;
  const scope = namespaceScope(entity, namespace);
  if (!scope.ok) return scope;
  const isScoped = own.value !== undefined || excluded.value !== undefined || Boolean(entity.namespaceSelector);
  const included = scope.value && isScoped ? (own.value ? and(scope.value, own.value) : scope.value) : own.value;
  return ok({
    ...(included && { selector: selectorOf(included) }),
    ...(excluded.value && { notSelector: selectorOf(excluded.value) }),
  });
}

const selectors = new WeakMap<SelectorNode, Selector>();
/** The selector of a tree: the same one for the same tree, which is read once where many rules have the same text. */
function selectorOf(root: SelectorNode): Selector {
  const known = selectors.get(root) ?? new Selector(root);
  selectors.set(root, known);
  return known;
}

/** serviceAccounts and selector, both of which must hold. */
function ownSelector(entity: EntityRule): Maybe {
  const selector = read(entity.selector);
  if (!selector.ok) return selector;
  const accounts = read(entity.serviceAccounts?.selector, SERVICE_ACCOUNT_PREFIX);
  if (!accounts.ok) return accounts;
  const names = entity.serviceAccounts?.names ?? [];
  // A name with a quote in it is nobody's name, and could not be printed.
  const named =
    names.length > 0
      ? inSet(
          SERVICE_ACCOUNT_LABEL,
          'in',
          names.filter((n) => !/["']/.test(n)),
        )
      : undefined;
  const account = accounts.value && named ? and(accounts.value, named) : (accounts.value ?? named);
  return ok(account && selector.value ? and(account, selector.value) : (account ?? selector.value));
}

function namespaceScope(entity: EntityRule, namespace: string): Maybe {
  if (!entity.namespaceSelector) return ok(namespace === '' ? undefined : compare(NAMESPACE_LABEL, '==', namespace));
  const parsed = read(entity.namespaceSelector, NAMESPACE_PREFIX);
  if (!parsed.ok || !parsed.value) return parsed;
  return ok(
    mapLeaves(parsed.value, (leaf) => {
      if (leaf.op === 'all') return has(NAMESPACE_LABEL);
      return leaf.op === 'global' ? not(has(NAMESPACE_LABEL)) : leaf;
    }),
  );
}

function read(text: string | undefined, prefix = ''): Maybe {
  if (text === undefined || text === '') return ok(undefined);
  const parsed: Result<Selector, string> = parseSelector(text);
  if (!parsed.ok) return err(`selector ${JSON.stringify(text.slice(0, 200))}: ${parsed.error}`);
  const root: Read = ok(prefix === '' ? parsed.value.root : parsed.value.prefixed(prefix).root);
  return root;
}

const replaceAll = (node: SelectorNode, by: SelectorNode): SelectorNode =>
  mapLeaves(node, (leaf) => (leaf.op === 'all' ? by : leaf));
