import { describe, expect, test } from 'vitest';
import { type Cell, FEATURES, nameOf, OUR_ROUTES, THEIR_ROUTES } from './cells.ts';
import { bird } from './daemons/bird.ts';
import { frr } from './daemons/frr.ts';
import { until } from './lab.ts';
import { expectedOf, type Routes, useSetUp } from './matrix.ts';

/** External BGP with each daemon: every cell of the matrix as a session, all at once, routes compared on both ends. */

/** All but the last of each family: what is not there any more after a restart. */
const fewer = (all: Routes): Routes => ({ 4: all[4].slice(0, -1), 6: all[6].slice(0, -1) });
const both = (all: Routes): string[] => [...all[4], ...all[6]];
const of = (all: Routes, { families }: Cell): string[] => families.flatMap((family) => all[family]);

/** Null when of these prefixes exactly the wanted ones are there. */
function differs(
  seen: readonly { prefix: string }[],
  all: readonly string[],
  wanted: readonly string[],
): string | null {
  const there = [...new Set(seen.map(({ prefix }) => prefix))].filter((prefix) => all.includes(prefix)).sort();
  const want = [...wanted].sort();
  return there.join() === want.join() ? null : `${there.join(' ')} instead of ${want.join(' ')}`;
}

for (const kind of [bird, frr])
  describe(kind.name, () => {
    const setUp = useSetUp(kind, kind.name.toLowerCase(), FEATURES);
    for (const cell of setUp.cells)
      test(nameOf(cell), async () => {
        await setUp.get().settled(cell, expectedOf(cell));
      });

    const restarts = setUp.cells.filter(({ feature }) => feature === 'restart');
    const plain = setUp.cells.filter(({ feature }) => feature === 'plain');

    test('the daemon is killed: its routes stay as stale, and what it does not say again goes', async () => {
      const { daemon, speaker, theirs } = setUp.get();
      const kept = both(THEIR_ROUTES);
      await theirs.kill();
      for (const cell of plain)
        await until(`${cell.id} to lose its routes`, async () =>
          differs(await speaker.received(cell.theirs), kept, []),
        );
      for (const cell of restarts) {
        const routes = (await speaker.received(cell.theirs)).filter(({ prefix }) => kept.includes(prefix));
        expect(differs(routes, kept, of(THEIR_ROUTES, cell))).toBeNull();
        expect(routes.filter(({ stale }) => !stale)).toEqual([]);
      }
      setUp.get().theirs = await daemon.start(both(fewer(THEIR_ROUTES)), true);
      setUp.get().again();
      for (const cell of restarts) {
        await setUp.get().settled(cell, expectedOf(cell, OUR_ROUTES, fewer(THEIR_ROUTES)));
        await until(`${cell.id} to be swept`, async () => {
          const routes = await speaker.received(cell.theirs);
          const stale = routes.filter((route) => route.stale).map(({ prefix }) => prefix);
          return stale.length > 0 ? `stale: ${stale}` : differs(routes, kept, of(fewer(THEIR_ROUTES), cell));
        });
      }
    });

    test('tsnet-bgpd is killed: the daemon keeps its routes, and drops what is not said again', async () => {
      const { daemon, speaker } = setUp.get();
      const kept = both(OUR_ROUTES);
      await speaker.program.kill();
      await until('the daemon to lose the plain sessions', async () => {
        const received = await daemon.received();
        return plain.map((cell) => differs(received.get(cell.id) ?? [], kept, [])).find((why) => why !== null) ?? null;
      });
      const received = await daemon.received();
      for (const cell of restarts) expect(differs(received.get(cell.id) ?? [], kept, of(OUR_ROUTES, cell))).toBeNull();
      await speaker.again(both(fewer(OUR_ROUTES)));
      setUp.get().again();
      for (const cell of restarts) {
        if (kind.dialsLate && cell.dial === 'they') continue;
        await setUp.get().settled(cell, expectedOf(cell, fewer(OUR_ROUTES), fewer(THEIR_ROUTES)));
        await until(`${cell.id} to be swept`, async () =>
          differs((await daemon.received()).get(cell.id) ?? [], kept, of(fewer(OUR_ROUTES), cell)),
        );
      }
    });
  });
