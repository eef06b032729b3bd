import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

/** The rules of the house (DESIGN.md), read off the sources. Each has its reason, so that whoever breaks one learns why it stands. */

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const ROOMS = ['core', 'datastore', 'policy', 'bgp', 'agent', 'ctl', 'cni', 'deploy'] as const;

interface Source {
  readonly path: string;
  readonly text: string;
  readonly lines: number;
  readonly imports: { readonly from: string; readonly typeOnly: boolean }[];
}

const sources: Source[] = ROOMS.filter((room) => existsSync(join(root, room)))
  .flatMap((room) => files(join(root, room)))
  .map((file) => {
    const text = readFileSync(file, 'utf8');
    return { path: relative(root, file), text, lines: text.split('\n').length, imports: importsOf(text) };
  });

function files(dir: string): string[] {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    if (statSync(path).isDirectory()) return name === 'node_modules' ? [] : files(path);
    return path.endsWith('.ts') ? [path] : [];
  });
}

function importsOf(text: string): Source['imports'] {
  const found: { from: string; typeOnly: boolean }[] = [];
  for (const m of text.matchAll(/^(?:import|export)\s+(type\s)?[^'"`;]*?from\s+'([^']+)'/gm))
    found.push({ from: m[2], typeOnly: Boolean(m[1]) });
  for (const m of text.matchAll(/^import\s+'([^']+)'/gm)) found.push({ from: m[1], typeOnly: false });
  for (const m of text.matchAll(/\bimport\('([^']+)'\)/g)) found.push({ from: m[1], typeOnly: false });
  return found;
}

const roomOf = (path: string): string => path.split('/')[0];

/** The room that an import leads to, or null for packages and node modules. */
function target(source: Source, from: string): string | null {
  if (from.startsWith('#')) return from.slice(1).split('/')[0];
  if (!from.startsWith('.')) return null;
  const room = roomOf(normalize(join(dirname(source.path), from)));
  return room;
}

const MAY_IMPORT: Record<string, readonly string[]> = {
  core: [],
  datastore: ['core'],
  policy: ['core', 'datastore'],
  bgp: ['core'],
  agent: ['core', 'datastore', 'policy', 'bgp'],
  ctl: ['core', 'datastore', 'policy', 'bgp', 'agent'],
  cni: ['core', 'datastore', 'policy', 'agent'],
  deploy: ['core', 'datastore', 'policy', 'bgp', 'agent'],
};

function violations(check: (source: Source) => string[]): string[] {
  return sources.flatMap((source) => check(source).map((what) => `${source.path}: ${what}`));
}

describe('who may import whom', () => {
  test('rooms import only the rooms below them: a decision must not depend on its consumer', () => {
    const bad = violations((source) =>
      source.imports.flatMap(({ from }) => {
        const to = target(source, from);
        const own = roomOf(source.path);
        return to && to !== own && !MAY_IMPORT[own]?.includes(to) ? [`imports ${from}`] : [];
      }),
    );
    expect(bad).toEqual([]);
  });

  test('another room is entered by its door (#room), so that what is inside may move', () => {
    const bad = violations((source) =>
      source.imports.flatMap(({ from }) =>
        from.startsWith('.') && target(source, from) !== roomOf(source.path) ? [`imports ${from}`] : [],
      ),
    );
    expect(bad).toEqual([]);
  });

  test('policy takes only types from datastore: it is pure, and tests feed it plain values', () => {
    const bad = violations((source) =>
      roomOf(source.path) === 'policy'
        ? source.imports
            .filter((i) => target(source, i.from) === 'datastore' && !i.typeOnly)
            .map((i) => `imports ${i.from}`)
        : [],
    );
    expect(bad).toEqual([]);
  });
});

describe('who may touch the world', () => {
  /** A pattern of modules or globals, and the only paths that may use it. */
  const doors: { what: RegExp; only: RegExp; because: string }[] = [
    {
      what: /^(node:)?child_process$|^execa$/,
      only: /^agent\/kernel\/|^deploy\/lab\/|^cni\//,
      because: 'only the kernel door starts commands',
    },
    { what: /^koffi$/, only: /^agent\/kernel\/|^bgp\/transport/, because: 'native calls live behind two doors' },
    { what: /^etcd3$|^@grpc\//, only: /^datastore\//, because: 'only the datastore knows etcd' },
    {
      what: /^(node:)?(dgram|tls)$/,
      only: /^bgp\/(transport|bfd)|^datastore\/|^deploy\/lab\/(probe|flow)\.ts$/,
      because: 'only transports open sockets, and the lab programs that are the traffic',
    },
    { what: /^binary-parser$/, only: /^bgp\/wire\//, because: 'bytes are decoded in the codec' },
    { what: /^prom-client$|^pino$/, only: /^core\//, because: 'one place chooses how to log and count' },
  ];
  for (const { what, only, because } of doors)
    test(`${what.source}: ${because}`, () => {
      const bad = violations((source) =>
        only.test(source.path) ? [] : source.imports.filter((i) => what.test(i.from)).map((i) => `imports ${i.from}`),
      );
      expect(bad).toEqual([]);
    });

  test('only core/clock knows the time: everything else is replayable', () => {
    const bad = violations((source) => {
      if (source.path === 'core/clock.ts' || source.path.startsWith('deploy/lab/')) return [];
      const found = source.text.match(
        /\b(Date\.now\(|new Date\(\)|performance\.now\(|(?<!\.)set(?:Timeout|Interval)\()/g,
      );
      return found ?? [];
    });
    expect(bad).toEqual([]);
  });

  test('the pure rooms do no I/O', () => {
    const pure = /^(policy\/|bgp\/(wire|fsm|rib)\/)/;
    const bad = violations((source) =>
      pure.test(source.path)
        ? source.imports.filter((i) => i.from.startsWith('node:') && i.from !== 'node:crypto').map((i) => i.from)
        : [],
    );
    expect(bad).toEqual([]);
  });
});

describe('how it reads', () => {
  test('no file is called util, helper, manager or common: a room without a name collects dust', () => {
    const bad = sources
      .filter((s) => /(^|[/-])(utils?|helpers?|managers?|commons?|misc)(\.|-|\/)/.test(s.path))
      .map((s) => s.path);
    expect(bad).toEqual([]);
  });

  test('no identifier ends in V6: the family of a value is data', () => {
    // Names of Calico's own fields (exportV6, vxlanTunnelMACAddrV6, …) are the datastore's words and stay.
    const bad = violations((source) =>
      roomOf(source.path) === 'datastore'
        ? []
        : [...source.text.matchAll(/\b(?:function|const|let|class|interface|type)\s+(\w+(?:V6|v6|Ipv6|IPv6))\b/g)].map(
            (m) => m[1],
          ),
    );
    expect(bad).toEqual([]);
  });

  test('a file has one job: at most 400 lines, with the exceptions named here', () => {
    const exempt: Record<string, string> = {};
    expect(sources.filter((s) => s.lines > 400 && !exempt[s.path]).map((s) => `${s.path} ${s.lines}`)).toEqual([]);
  });

  test('every room opens with an essay of 10 to 25 lines', () => {
    const bad = ROOMS.filter((room) => room !== 'deploy').flatMap((room) => {
      const door = sources.find((s) => s.path === `${room}/index.ts`);
      const essay = door?.text.match(/^\/\*\*[\s\S]*?\*\//)?.[0].split('\n').length ?? 0;
      return essay >= 10 && essay <= 27 ? [] : [`${room}/index.ts: ${essay} lines`];
    });
    expect(bad).toEqual([]);
  });
});
