import * as z from 'zod';
import { int, object, resourceName, text, word } from './fields.ts';
import type { KindInfo } from './kind.ts';
import type { Resource } from './meta.ts';

export type NodeStatusClass = 'Agent' | 'BGP' | 'Routes';

export interface CalicoNodeStatusSpec {
  node: string;
  classes: NodeStatusClass[];
  /** How often the node's agent fills in the status; 0: never again. */
  updatePeriodSeconds: number;
}
export type CalicoNodeStatus = Resource<'CalicoNodeStatus', CalicoNodeStatusSpec> & {
  status?: Record<string, unknown>;
};

export const calicoNodeStatus: KindInfo<'CalicoNodeStatus', CalicoNodeStatusSpec> = {
  kind: 'CalicoNodeStatus',
  plural: 'caliconodestatuses',
  singular: 'caliconodestatus',
  shortNames: ['nodestatus', 'nodestatuses'],
  namespaced: false,
  spec: object<CalicoNodeStatusSpec>({
    node: text(resourceName),
    classes: z.array(text<NodeStatusClass>(word('Agent', 'BGP', 'Routes'))),
    updatePeriodSeconds: int(0, 86_400),
  }),
  check: ({ spec }, report) => {
    if (spec.classes.length === 0) report('spec.classes', 'must hold at least one of Agent, BGP, Routes');
    if (new Set(spec.classes).size < spec.classes.length) report.limit('spec.classes', 'has a class twice');
  },
};
