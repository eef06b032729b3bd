import fc from 'fast-check';
import { test } from 'vitest';
import { simulation } from '../unit/datastore/ipam/simulation.ts';
import { factor, seed, timeout } from './budget.ts';

/** Nodes that assign and release at once and die between any two writes, in thousands of orders. A failure prints its seed and path, by which it is run again. */
test('IPAM holds in any order of its clients’ calls', { timeout }, async () => {
  await fc.assert(simulation, { numRuns: Math.ceil(4000 * factor), seed });
});
