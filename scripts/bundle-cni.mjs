import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { asFunction, codeCache, launcher } from './code-cache.mjs';
import { noLocales } from './no-locales.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** The client that daemons use, for watches and leases; `openStore` loads the brief one for this program. */
const noDaemonClient = {
  name: 'no-daemon-client',
  setup({ onResolve }) {
    onResolve({ filter: /^(\.\/etcd|\.\.)\/store\.(ts|js)$/ }, ({ importer }) =>
      /datastore\/(open|etcd\/brief\/[\w-]+)\.(ts|js)$/.test(importer)
        ? { path: 'tsnet-daemon-client', external: true }
        : null,
    );
  },
};

/**
 * tsnet-cni as one file that runs from any directory, with nothing of this project beside it (docs/adr/0010-tsnet-cni-file.md). `interpreter` is what
 * its first line names: a Node.js of its own for machines that have none in PATH. Beside it goes what V8 has compiled, `tsnet-cni.v8`: with it the file
 * starts faster, without it it works as well.
 */
export async function bundleCni({ entry, outfile, conditions = [], interpreter = '/usr/bin/env node' }) {
  const made = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    minify: true,
    // A file without an extension is CommonJS to Node.js 20.
    format: 'cjs',
    define: { 'import.meta.url': '__filename' },
    platform: 'node',
    target: 'node20',
    conditions,
    external: ['koffi', 'pino', 'prom-client'],
    logLevel: 'warning',
    plugins: [noDaemonClient, noLocales],
  });
  const source = asFunction(made.outputFiles[0].text);
  const directory = dirname(outfile);
  const program = basename(outfile);
  mkdirSync(directory, { recursive: true });
  const kept = compiled({ program, source, directory });
  const start = launcher({ program, source: OWN_COMMENT, kept });
  writeFileSync(outfile, `#!${interpreter}\n${start}${asComment(source)}`, { mode: 0o755 });
  writeFileSync(`${outfile}.v8`, kept);
}

/** The program is a comment at the end of its own file: V8 takes it from there as a script of its own, which can be kept compiled. */
const asComment = (source) => `//: ${source.replaceAll('\n', '\n//')}`;
const OWN_COMMENT = String.raw`readFileSync(__filename, 'utf8').replace(/^[^]*?\n\/\/: /, '').replaceAll('\n//', '\n')`;

/** ADD as far as it goes without a container: that is nearly all of it. */
function compiled(bundle) {
  const cluster = mkdtempSync(join(tmpdir(), 'tsnet-cni-'));
  const resource = (kind, name, spec) => ({ apiVersion: 'projectcalico.org/v3', kind, metadata: { name }, spec });
  const resources = [
    resource('ClusterInformation', 'default', { datastoreReady: true }),
    resource('Node', 'n1', { bgp: { ipv4Address: '10.0.0.1/24' } }),
    resource('IPPool', 'v4', { cidr: '10.65.0.0/16' }),
    resource('IPPool', 'v6', { cidr: 'fd00:65::/64' }),
  ];
  writeFileSync(join(cluster, 'resources.json'), resources.map((value) => JSON.stringify(value)).join('\n---\n'));
  const conf = {
    cniVersion: '1.0.0',
    name: 'warm',
    type: 'tsnet-cni',
    datastore_type: 'directory',
    directory: cluster,
    nodename: 'n1',
    nodename_file_optional: true,
    ipam: { type: 'tsnet-ipam', assign_ipv6: 'true' },
    ipam_lock_file: join(cluster, 'lock'),
  };
  const env = { CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'warm', CNI_NETNS: join(cluster, 'none'), CNI_IFNAME: 'eth0' };
  const kept = codeCache({ ...bundle, env, input: JSON.stringify(conf) });
  rmSync(cluster, { recursive: true });
  return kept;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  await bundleCni({ entry: join(root, 'dist/cni/main.js'), outfile: join(root, 'dist/cni-file/tsnet-cni') });
