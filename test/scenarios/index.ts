import { ORDER_SCENARIOS } from './order.ts';
import { RULE_SCENARIOS } from './rules.ts';
import type { Scenario } from './scenario.ts';
import { SELECTOR_SCENARIOS } from './selectors.ts';

export * from './cast.ts';
export * from './hosts.ts';
export * from './interpret.ts';
export * from './one-node.ts';
export * from './path.ts';
export * from './scenario.ts';

export const SCENARIOS: readonly Scenario[] = [...SELECTOR_SCENARIOS, ...RULE_SCENARIOS, ...ORDER_SCENARIOS];
