import { describe, expect, test } from 'vitest';
import { type Cell, cellsOf, FEATURES, nameOf, OUR_ROUTES, THEIR_ROUTES } from './cells.ts';
import { KINDS } from './daemons/kinds.ts';
import { expectedOf, type Routes } from './expected.ts';
import { until } from './lab.ts';
import { OURS_ON_THE_WIRE, useSetUp } from './matrix.ts';

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

const because = (reason: string | undefined): string => (reason ? ` (${reason})` : '');

for (const kind of KINDS)
  describe(kind.name, () => {
    const setUp = useSetUp(kind, '', cellsOf(FEATURES));
    for (const cell of setUp.cells)
      test(nameOf(cell), async () => {
        await setUp.get().settled(cell, expectedOf(kind, cell));
      });

    test('either side asks for all routes again, and nothing changes', async () => {
      const { daemon, speaker } = setUp.get();
      const cells = setUp.cells.filter(({ feature }) => feature === 'refresh');
      const before = await speaker.peers();
      for (const cell of cells) {
        if (kind.refresh.answers === true) await speaker.refresh(cell.theirs);
        if (kind.refresh.asks === true) await daemon.refresh(cell);
      }
      const asked = kind.refresh.asks === true ? 1 : 0;
      const answered = kind.refresh.answers === true ? 1 : 0;
      const theirBorders = kind.refresh.borders ? 2 : 0;
      const ourBorders = kind.refresh.knowsBorders ? 2 : 0;
      for (const cell of cells) {
        const families = cell.families.length;
        await until(`${cell.id} to be told again`, async () => {
          const { messages } = (await speaker.peers()).get(cell.theirs)!;
          const old = before.get(cell.theirs)!.messages;
          const refresh = {
            in: messages['ROUTE-REFRESH'].in - old['ROUTE-REFRESH'].in,
            out: messages['ROUTE-REFRESH'].out - old['ROUTE-REFRESH'].out,
          };
          if (refresh.in !== families * (asked + answered * theirBorders)) return `${refresh.in} ROUTE-REFRESH in`;
          if (refresh.out !== families * (answered + asked * ourBorders)) return `${refresh.out} ROUTE-REFRESH out`;
          if (answered && messages.UPDATE.in === old.UPDATE.in) return 'no UPDATE came';
          return asked && messages.UPDATE.out === old.UPDATE.out ? 'no UPDATE went' : null;
        });
        await setUp.get().settled(cell, expectedOf(kind, cell));
      }
    });

    const restarts = setUp.cells.filter(({ feature }) => feature === 'restart');
    const plain = setUp.cells.filter(({ feature }) => feature === 'plain');

    const restarting = kind.restartLacks?.restarting;
    const helping = kind.restartLacks?.helping;

    test.skipIf(restarting)(
      `the daemon is killed: its routes stay as stale, and what it does not say again goes${because(restarting)}`,
      async () => {
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
          await setUp.get().settled(cell, expectedOf(kind, cell, OUR_ROUTES, fewer(THEIR_ROUTES)));
          await until(`${cell.id} to be swept`, async () => {
            const routes = await speaker.received(cell.theirs);
            const stale = routes.filter((route) => route.stale).map(({ prefix }) => prefix);
            return stale.length > 0 ? `stale: ${stale}` : differs(routes, kept, of(fewer(THEIR_ROUTES), cell));
          });
        }
      },
    );

    test.skipIf(helping)(
      `tsnet-bgpd is killed: the daemon keeps its routes, and drops what is not said again${because(helping)}`,
      async () => {
        const { daemon, speaker } = setUp.get();
        const kept = both(OUR_ROUTES);
        await speaker.program.kill();
        await until('the daemon to lose the plain sessions', async () => {
          const received = await daemon.received();
          return (
            plain.map((cell) => differs(received.get(cell.id) ?? [], kept, [])).find((why) => why !== null) ?? null
          );
        });
        const received = await daemon.received();
        for (const cell of restarts)
          expect(differs(received.get(cell.id) ?? [], kept, of(OUR_ROUTES, cell))).toBeNull();
        await speaker.again(both(fewer(OUR_ROUTES)));
        setUp.get().again();
        for (const cell of restarts) {
          await setUp
            .get()
            .settled(cell, expectedOf(kind, cell, fewer(OUR_ROUTES), restarting ? THEIR_ROUTES : fewer(THEIR_ROUTES)));
          await until(`${cell.id} to be swept`, async () =>
            differs((await daemon.received()).get(cell.id) ?? [], kept, of(fewer(OUR_ROUTES), cell)),
          );
        }
      },
    );

    test('tshark finds nothing malformed in what we sent', async () => {
      const { capture } = setUp.get();
      await capture.stop();
      expect(capture.complaints(OURS_ON_THE_WIRE).slice(0, 4000)).toBe('');
      expect(capture.fields(`${OURS_ON_THE_WIRE} && bgp.type == 2`, 'bgp.type').length).toBeGreaterThan(100);
    });
  });
