import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from '../../deploy/lab/index.ts';

/** A small Debian in a directory, made by debootstrap, with the Node.js of this machine: what `node:<version>-<suite>-slim` is. */

export interface Machine {
  readonly rootfs: string;
}

/** Base systems, kept for a month: made in half a minute, unpacked in two seconds. */
const CACHE = '/var/cache/tsnet';
const MONTH = 30 * 86_400_000;

/** A fresh copy of the base that `FROM` names, at `rootfs`. */
export async function copyBase(from: string, rootfs: string): Promise<Machine> {
  const suite = /^node:[\d.]+-(\w+)-slim$/.exec(from)?.[1];
  if (!suite) throw new Error(`FROM ${from}: only node:<version>-<suite>-slim can be made here`);
  const archive = join(CACHE, `${suite}-minbase.tar`);
  await mkdir(rootfs, { recursive: true });
  if (!existsSync(archive) || Date.now() - statSync(archive).mtimeMs > MONTH) {
    mkdirSync(CACHE, { recursive: true });
    await run(['debootstrap', '--variant=minbase', suite, rootfs]);
    await run(['tar', '-C', rootfs, '-cf', `${archive}.new`, '.']);
    renameSync(`${archive}.new`, archive);
  } else await run(['tar', '-C', rootfs, '-xf', archive]);
  await addNode(rootfs);
  for (const file of ['/etc/resolv.conf', CERTIFICATES]) if (existsSync(file)) await place(file, rootfs, file);
  return { rootfs };
}

/** Where the image of Node.js has it. */
async function addNode(rootfs: string): Promise<void> {
  const npm = join(dirname(process.execPath), '../lib/node_modules/npm');
  await place(process.execPath, rootfs, '/usr/local/bin/node');
  await place(npm, rootfs, '/usr/local/lib/node_modules/npm');
  const bin = '../lib/node_modules/npm/bin';
  const link = (name: string) => run(['ln', '-sf', `${bin}/${name}-cli.js`, join(rootfs, `usr/local/bin/${name}`)]);
  await Promise.all([link('npm'), link('npx')]);
}

/** Variables by which this machine gets out through a proxy, as one would give them to `docker build`. */
const PASSED = [
  'http_proxy',
  'https_proxy',
  'no_proxy',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
  'NODE_EXTRA_CA_CERTS',
];
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';

interface NpmSettings {
  readonly cache: string;
  readonly registry: string;
  readonly cafile: string | null;
}

async function place(from: string, rootfs: string, to: string): Promise<void> {
  await cp(from, join(rootfs, to), { recursive: true, dereference: true });
}

/** What stays mounted ends with the process: it is mounted in a namespace of its own. npm's cache is this machine's. */
const INSIDE = `mount -t proc proc "$0/proc" && mkdir -p "$1" "$0/root/.npm" && mount --bind "$1" "$0/root/.npm" && shift && exec chroot "$0" "$@"`;

/** Runs a line of shell in the machine, with nothing of this one's environment but its way to the network. */
export async function runInside(
  { rootfs }: Machine,
  { env, cwd, line }: { env: Readonly<Record<string, string>>; cwd: string; line: string },
): Promise<void> {
  const npm: NpmSettings = JSON.parse(await run(['npm', 'config', 'list', '--json']));
  const passed = PASSED.flatMap((name) => (process.env[name] ? [`${name}=${process.env[name]}`] : []));
  passed.push(`npm_config_registry=${npm.registry}`, ...(npm.cafile ? [`npm_config_cafile=${CERTIFICATES}`] : []));
  const variables = Object.entries({ HOME: '/root', ...env }).map(([key, value]) => `${key}=${value}`);
  const command = ['env', '-i', ...passed, ...variables, 'sh', '-c', `cd "$0" && ${line}`, cwd];
  await run([
    'unshare',
    '--mount',
    '--pid',
    '--fork',
    '--kill-child',
    'sh',
    '-c',
    INSIDE,
    rootfs,
    npm.cache,
    ...command,
  ]);
}
