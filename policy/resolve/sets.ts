import { hash } from 'node:crypto';
import { Selector, selectorTree } from '#core';
import type { ResolvedSet } from '../resolved.ts';
import type { SetId } from '../types.ts';
import { portLabel } from './contents.ts';

/** A set that rules need: its name, and what its members are. */
export interface SetDefinition extends ResolvedSet {
  /** Whose nets or ports are members; null: nobody's, ever. */
  readonly selector: Selector | null;
  /** Of a set of ports: which. An absent protocol is any, each port with its own. */
  readonly port?: { readonly name: string; readonly protocol?: string };
}

const ofSelector = new WeakMap<Selector, SetDefinition>();
/** The set of addresses that a selector selects. */
export function selectorSet(selector: Selector): SetDefinition {
  let set = ofSelector.get(selector);
  if (!set) {
    set = { id: `s:${digest(selector.text)}`, kind: 'nets', owner: selector.text, selector };
    ofSelector.set(selector, set);
  }
  return set;
}

/** The set of `address,protocol:port` of a named port, of the endpoints that the selector selects (absent: of all). */
export function namedPortSet(
  name: string,
  protocol: string | undefined,
  selector: Selector | undefined,
): SetDefinition {
  const scope = selector?.text ?? 'all()';
  const filed = selectorTree.has(portLabel(name));
  return {
    id: `n:${digest(JSON.stringify([scope, protocol ?? '', name]))}`,
    kind: 'ports',
    owner: `port ${name}${protocol ? `/${protocol}` : ''} of ${scope}`,
    selector: new Selector(selector ? selectorTree.chain('&&', [filed, selector.root]) : filed),
    port: protocol === undefined ? { name } : { name, protocol },
  };
}

/**
 * The addresses (of a source) or addresses with ports (of a destination) behind a Kubernetes Service. What a service has behind it is not in
 * Calico's etcd, so the set is empty and the rule matches nothing.
 */
export const serviceSet = (namespace: string, name: string, kind: 'nets' | 'ports'): SetDefinition => ({
  id: `${kind === 'nets' ? 'svc' : 'svcp'}:${digest(JSON.stringify([namespace, name]))}`,
  kind,
  owner: `service ${namespace}/${name}`,
  selector: null,
});

/** A set without members, for a rule with a criterion that packets cannot be held against: it must match nothing. */
export const NEVER: SetDefinition = { id: 'never', kind: 'nets', owner: 'nothing', selector: null };

const digest = (text: string): SetId => hash('sha224', text, 'base64url');
