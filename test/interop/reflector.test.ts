import { describe, expect, test } from 'vitest';
import { cellsOf, nameOf } from './cells.ts';
import { KINDS } from './daemons/kinds.ts';
import { expectedReflected } from './expected.ts';
import { OURS_ON_THE_WIRE, useSetUp } from './matrix.ts';

/** Internal BGP with each daemon: both sides are reflectors with the other and both feeders as clients (RFC 4456). */

for (const kind of KINDS)
  describe(kind.name, () => {
    const setUp = useSetUp(kind, '-rr', cellsOf(['reflector']));
    for (const cell of setUp.cells)
      test(nameOf(cell), async () => {
        await setUp.get().settled(cell, expectedReflected(kind, cell));
      });

    test('tshark finds nothing malformed in what we sent', async () => {
      const { capture } = setUp.get();
      await capture.stop();
      expect(capture.complaints(OURS_ON_THE_WIRE).slice(0, 4000)).toBe('');
      expect(capture.fields(`${OURS_ON_THE_WIRE} && bgp.type == 2`, 'bgp.type').length).toBeGreaterThan(10);
    });
  });
