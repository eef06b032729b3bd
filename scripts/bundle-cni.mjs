import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

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

/** zod's messages in sixty languages, of which the one in use is imported by itself. */
const noLocales = {
  name: 'no-locales',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /\/locales\/index\.js$/ }, () => ({ path: 'locales', namespace: 'none' }));
    onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: 'export {};' }));
  },
};

/**
 * tsnet-cni as one file that runs from any directory, with nothing of this project beside it (docs/adr/0010-tsnet-cni-file.md). `interpreter` is what
 * its first line names: a Node.js of its own for machines that have none in PATH.
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
    banner: { js: `#!${interpreter}` },
    logLevel: 'warning',
    plugins: [noDaemonClient, noLocales],
  });
  mkdirSync(dirname(outfile), { recursive: true });
  writeFileSync(outfile, made.outputFiles[0].text, { mode: 0o755 });
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  await bundleCni({ entry: join(root, 'dist/cni/main.js'), outfile: join(root, 'dist/cni-file/tsnet-cni') });
