import { describe, test } from 'vitest';
import { FEATURES, nameOf } from './cells.ts';
import { bird } from './daemons/bird.ts';
import { frr } from './daemons/frr.ts';
import { expectedOf, useSetUp } from './matrix.ts';

/** External BGP with each daemon: every cell of the matrix as a session, all at once, routes compared on both ends. */

for (const kind of [bird, frr])
  describe(kind.name, () => {
    const setUp = useSetUp(kind, kind.name.toLowerCase(), FEATURES);
    for (const cell of setUp.cells)
      test(nameOf(cell), async () => {
        await setUp.get().settled(cell, expectedOf(cell));
      });
  });
