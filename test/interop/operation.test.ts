import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  type Cell,
  GSHUT,
  LLGR_STALE,
  nameOf,
  OPERATIONS,
  OUR_AS,
  OUR_ROUTES,
  operationCells,
  THEIR_ROUTES,
} from './cells.ts';
import { KINDS } from './daemons/kinds.ts';
import { expectedOf } from './expected.ts';
import { until } from './lab.ts';
import { OURS_ON_THE_WIRE, type SetUp, useSetUp } from './matrix.ts';
import { PROVIDED } from './speaker.ts';
import { startWitness } from './witness.ts';

/** What operators do and what goes wrong, with each routing daemon: a session for each operation, all at once. */

/** Sessions that must not come up. */
const BARRED: readonly Cell['feature'][] = ['too far', 'range too far', 'wrong key', 'wrong role'];
/** Sessions that end as soon as they are up. */
const LIMITED: readonly Cell['feature'][] = ['limit', 'out limit', 'their limit'];
/** Prefixes that come and go while a daemon is stopped, and how often: several times what waits in sockets. */
const MANY = 3000;
const ROUNDS = 10;
const TEXT = 'maintenance-until-noon';
const ALL_OURS = [...OUR_ROUTES[4], ...OUR_ROUTES[6]];
const ALL_THEIRS = [...THEIR_ROUTES[4], ...THEIR_ROUTES[6]];

const stateOf = async ({ speaker }: SetUp, { theirs }: Cell) => (await speaker.peers()).get(theirs);
/** Waits until the session has ended for that reason: it may be back since, or an attempt may have failed for another. */
const ended = ({ speaker }: SetUp, cell: Cell, reason: RegExp): Promise<void> =>
  until(`${cell.id} to end`, async () => {
    const lines = speaker.program.logText().split('\n').slice(0, -1);
    const own = lines.map((line) => JSON.parse(line)).filter(({ peer }) => peer === cell.theirs);
    const reasons = [...new Set(own.map(({ lastError }) => lastError ?? ''))];
    return reasons.some((text) => reason.test(text)) ? null : reasons.join('; ');
  });
/** Waits until the daemon has noted that text about the session. */
const noted = ({ daemon, kind }: SetUp, cell: Cell, text: RegExp): Promise<void> =>
  until(`${kind.name} to note ${text}`, async () => {
    const note = await daemon.lastEnd(cell);
    return text.test(note) ? null : note.slice(-2000);
  });

for (const kind of KINDS.filter(({ speaksOnly }) => !speaksOnly))
  describe(kind.name, () => {
    const setUp = useSetUp(kind, '-ops', operationCells(OPERATIONS));
    const cellOf = (feature: Cell['feature']): Cell | undefined => setUp.cells.find((cell) => cell.feature === feature);
    /** A test about one session; left out, with the reason, where the daemon cannot show it. */
    const about = (feature: Cell['feature'], title: string, run: (cell: Cell) => Promise<void>) => {
      const cell = cellOf(feature);
      if (cell) test(title, () => run(cell));
      else test.skip(`${title} (${kind.lacks[feature]})`);
    };

    for (const cell of setUp.cells.filter(({ feature }) => !BARRED.includes(feature) && !LIMITED.includes(feature)))
      test(`${nameOf(cell)}: routes go both ways`, async () => {
        await setUp.get().settled(cell, expectedOf(kind, cell));
      });

    about('bfd', 'the session falls with BFD while TCP is in order', async (cell) => {
      const { lab, speaker } = setUp.get();
      await until('BFD', async () => {
        const state = (await stateOf(setUp.get(), cell))?.bfd?.state;
        return state === 'Up' ? null : `${state}`;
      });
      lab.sh('theirs', 'nft add table inet cut');
      lab.sh('theirs', "nft 'add chain inet cut output { type filter hook output priority 0; udp dport 3784 drop; }'");
      await ended(setUp.get(), cell, /sent .*BFD down/);
      // The hold time, 90 s, has no part in it: others that keep it are where they were.
      expect((await speaker.peers()).get(cellOf('slow')!.theirs)?.state).toBe('Established');
      lab.sh('theirs', 'nft delete table inet cut');
      await setUp.get().settled(cell, expectedOf(kind, cell));
      await until('BFD again, after one fall', async () => {
        const status = await stateOf(setUp.get(), cell);
        return status?.bfd?.state === 'Up' && status.flaps === 1
          ? null
          : `${status?.bfd?.state}, ${status?.flaps} falls`;
      });
    });

    about('limit', 'our limit of prefixes ends the session, and they are told', async (cell) => {
      await ended(setUp.get(), cell, /Maximum Number of Prefixes/i);
      await noted(setUp.get(), cell, /max.*prefix|prefix.*(max|limit)|6\/1|subcode[^0-9]*1\b/i);
    });
    about('their limit', 'their limit of prefixes ends the session', async (cell) => {
      await ended(setUp.get(), cell, /received.*Maximum Number of Prefixes|TCP: /i);
      // A daemon that closes with our UPDATEs unread resets the connection, and its NOTIFICATION may never leave: its own word is what counts.
      await noted(setUp.get(), cell, /Route limit exceeded|Prefixes Reached|max-prefix exceeded|prefix limit reached/i);
      expect((await stateOf(setUp.get(), cell))?.state).not.toBe('Established');
    });
    about('out limit', 'our own fuse ends a session that would tell too much', async (cell) => {
      await ended(setUp.get(), cell, /prefixes advertised, at most 1/);
    });
    for (const feature of BARRED)
      about(feature, `${feature}: the session never comes up`, async (cell) => {
        const status = await stateOf(setUp.get(), cell);
        // Of a range there may be nobody at all.
        expect(status?.state).not.toBe('Established');
        expect(status?.flaps ?? 0).toBe(0);
        expect(await setUp.get().speaker.received(cell.theirs)).toEqual([]);
        // Either end says so; the other may only see that the connection was closed.
        if (feature === 'wrong role')
          await until('Role Mismatch', async () => {
            const said = `${(await stateOf(setUp.get(), cell))?.lastError}\n${await setUp.get().daemon.lastEnd(cell)}`;
            return /role mismatch/i.test(said) ? null : said.slice(0, 1000);
          });
        if (feature === 'wrong key') expect(status?.reason).toMatch(/MD5/);
      });

    about('customer', "a provider's route has the mark, and goes to no peer (RFC 9234)", async () => {
      const { speaker, capture } = setUp.get();
      const { theirs } = cellOf('peer')!;
      const [refused] = await speaker.routes({ prefix: PROVIDED, advertised: theirs });
      expect(refused.reason).toBe('marked only-to-customer');
      // ONLY_TO_CUSTOMER with our AS towards the customer and the peer, and with nobody else.
      const mark = `${OURS_ON_THE_WIRE} && bgp contains c0:23:04:00:00:fd:e8`;
      await until('the marks on the wire', async () => {
        const to = [...new Set(await capture.soFar(mark, 'ip.dst'))].sort();
        const want = [cellOf('provider')!.theirs, theirs].sort();
        return to.join() === want.join() ? null : `marked towards ${to}`;
      });
    });
    about('own as', 'our own AS in a path is taken once where that is allowed, and nowhere else', async (cell) => {
      const { speaker } = setUp.get();
      const own = async ({ theirs }: Cell) =>
        (await speaker.routes({ prefix: OUR_ROUTES[4][0] })).filter(
          ({ source, asPath }) => source === theirs && asPath.includes(OUR_AS),
        );
      await until('our route to come back', async () => ((await own(cell)).length === 1 ? null : 'it did not'));
      expect((await own(cell))[0].reason).not.toMatch(/is in the AS_PATH/);
      const others = await own(cellOf('hold')!);
      expect(others.map(({ reason }) => reason)).toEqual(others.map(() => `our AS ${OUR_AS} is in the AS_PATH`));
    });
    about('gshut', 'what comes with GRACEFUL_SHUTDOWN is the last resort', async (cell) => {
      const paths = await setUp.get().speaker.routes({ prefix: THEIR_ROUTES[4][0] });
      const from = paths.filter(({ source }) => source === cell.theirs);
      expect(from.map(({ localPref, best, communities }) => [localPref, best, communities.includes(GSHUT)])).toEqual([
        [0, false, true],
      ]);
    });
    about('text', 'a shutdown communication is shown as it came', async (cell) => {
      await setUp.get().daemon.shutdown(cell, TEXT);
      await ended(setUp.get(), cell, new RegExp(`received.*Administrative Shutdown.*"${TEXT}"`, 'i'));
    });

    about(
      'slow',
      'a daemon that is stopped holds up nobody and costs no memory, and has the truth when it goes on',
      async (cell) => {
        const { lab, speaker, daemon, theirs } = setUp.get();
        const witness = startWitness(lab);
        const net = (round: number) => `fd${round % 2 ? 'aa' : 'bb'}::/64`;
        const nets = (round: number) =>
          Array.from({ length: MANY }, (_, i) => net(round).replace('/64', `${(i + 1).toString(16)}/128`));
        await until('the witness', () =>
          witness.count('fd10::/16').then(
            (count) => (count === OUR_ROUTES[6].length ? null : `${count}`),
            (error) => `${error}`,
          ),
        );
        const resident = () =>
          Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${speaker.program.pid}/status`, 'utf8'))?.[1]);
        const updates = async () => (await stateOf(setUp.get(), cell))!.messages.UPDATE.out;
        const sizes: number[] = [];
        const sent: number[] = [];
        for (let round = 0; round < ROUNDS; round++) {
          if (round === 2) theirs.signal('SIGSTOP', true);
          speaker.announce([...ALL_OURS, ...nets(round)]);
          await until('the witness to have the new ones', async () => {
            const [gone, come] = await Promise.all([witness.count(net(round - 1)), witness.count(net(round))]);
            return gone === 0 && come === MANY ? null : `${gone} old, ${come} new`;
          });
          sizes.push(resident());
          sent.push(await updates());
        }
        theirs.signal('SIGCONT', true);
        // What the second round took is a whole one; of those after it some were never sent.
        expect(sent[ROUNDS - 1] - sent[1]).toBeLessThan((ROUNDS - 4) * (sent[1] - sent[0]));
        // Kilobytes; what waits for the stopped one is the last state, whatever was there before.
        expect(sizes[ROUNDS - 1] - sizes[ROUNDS / 2]).toBeLessThan(32_768);
        await until('the daemon to have the last state', async () => {
          const got = (await daemon.received()).get(cell.id) ?? [];
          const mine = got.map(({ prefix }) => prefix).filter((prefix) => /^fd(aa|bb)::/.test(prefix));
          return mine.length === MANY && mine.every((prefix) => prefix.startsWith('fdaa::'))
            ? null
            : `${mine.length}, ${mine[0]}`;
        });
        const long = `ip.dst == ${cell.theirs} && bgp.length > 4096`;
        if (kind.extendedMessages) expect(await setUp.get().capture.soFar(long, 'bgp.length')).not.toEqual([]);
      },
    );

    about('llgr', 'beyond the restart time routes stay as the last resort, on either side (RFC 9494)', async (cell) => {
      const { daemon, speaker, theirs } = setUp.get();
      await theirs.kill();
      await until('our marks', async () => {
        const paths = await speaker.routes({ prefix: THEIR_ROUTES[4][0] });
        const [path] = paths.filter(({ source }) => source === cell.theirs);
        return path?.stale && path.communities.includes(LLGR_STALE) ? null : JSON.stringify(paths);
      });
      setUp.get().theirs = await daemon.start(ALL_THEIRS, false);
      setUp.get().again();
      await setUp.get().settled(cell, expectedOf(kind, cell));
      await speaker.program.kill();
      await until('their marks', async () => {
        const got = (await daemon.received()).get(cell.id) ?? [];
        const path = got.find(({ prefix }) => prefix === OUR_ROUTES[4][0]);
        return path?.communities.includes(LLGR_STALE) ? null : JSON.stringify(got);
      });
      await speaker.again(ALL_OURS);
      setUp.get().again();
      await setUp.get().settled(cell, expectedOf(kind, cell));
    });

    test('tsnet-bgpd says GRACEFUL_SHUTDOWN and why before it goes (RFC 8326, RFC 9003), and nothing malformed', async () => {
      const { speaker, capture } = setUp.get();
      const cell = cellOf('hold')!;
      await setUp.get().settled(cell, expectedOf(kind, cell));
      await speaker.program.stop();
      expect(speaker.program.exitCode).toBe(0);
      await noted(setUp.get(), cell, /tsnet-bgpd stops/);
      const to = `${OURS_ON_THE_WIRE} && ip.dst == ${cell.theirs}`;
      await until('both on the wire, one after the other', async () => {
        const frames = async (filter: string) =>
          (await capture.soFar(`${to} && ${filter}`, 'frame.number')).map(Number);
        const warned = (await frames('bgp contains ff:ff:00:00 && bgp.type == 2')).at(-1) ?? 0;
        const gone = (await frames('bgp.type == 3')).at(-1) ?? 0;
        return warned > 0 && gone > warned ? null : `warned in frame ${warned}, gone in frame ${gone}`;
      });
      await capture.stop();
      expect(capture.complaints(OURS_ON_THE_WIRE).slice(0, 4000)).toBe('');
    });
  });
