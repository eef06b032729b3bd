import fc from 'fast-check';
import { test } from 'vitest';
import { simulation } from './simulation.ts';

// test/fuzz/ipam.test.ts goes through thousands of them.
test('clients at once, crashing between any two writes, never give one address twice, and leave nothing that check does not find', async () => {
  await fc.assert(simulation, { numRuns: 300 });
}, 120_000);
